"""The admin port over a real socket."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.publishing import MovedClock
from watcher.errors import CallFailed, Unavailable
from watcher.model import Event, Failure, FailureKind
from watcher.service.admin import AdminServer, Health
from watcher.service.metrics import Metrics
from watcher.service.observed_api import ObservedApi
from watcher.service.password import PasswordCheck
from watcher.shown.figures import Counts, DaemonFigures, JournalFigures, Status
from watcher.shown.report import ApiFigures, DaemonReport, FolderState

REPORT = DaemonReport(ApiFigures("reachable"), (FolderState("products", "/srv", "watching"), FolderState("shop", "/s", "lost")))
JOURNAL = JournalFigures({"products": Counts(3, 2, 1, {"stored": 40})}, unwritten_audit_lines=4)


class Shown:
    """What the port shows; tests change it."""

    def __init__(self) -> None:
        self.now = Health(alive=True)

    def health(self) -> Health:
        return self.now

    async def status_of_host(self, host: str) -> Status | None:
        if host == "away":
            raise Unavailable("the journal cannot be read")
        figures = JournalFigures({"products": Counts(1, 0, 0)})
        return Status.of(DaemonFigures("", host=host), REPORT, figures, at_work=True) if host == "scanner-1" else None

    async def status(self) -> Status:
        return Status.of(DaemonFigures("/state", 7, 0.0), REPORT, JOURNAL)


class Port:
    """A running port."""

    def __init__(self, password: str | None = None) -> None:
        self.shown, self.clock, self.metrics = Shown(), MovedClock(), Metrics("1.2.3", ["products", "shop"])
        self.server = AdminServer(self.shown, self.metrics, PasswordCheck(lambda: password, self.clock))
        self.base = ""

    async def get(self, path: str, password: str | None = None) -> tuple[int, str]:
        text = base64.b64encode(f"anybody:{password}".encode()).decode()
        headers = {} if password is None else {"Authorization": f"Basic {text}"}
        async with aiohttp.ClientSession() as session, session.get(self.base + path, headers=headers) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            return answer.status, await answer.text()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    opened = Port()
    opened.base = f"http://127.0.0.1:{await opened.server.start('127.0.0.1', 0)}"
    yield opened
    await opened.server.stop()


@pytest.fixture
async def closed_port() -> AsyncIterator[Port]:
    opened = Port("s3cret: for us")
    opened.base = f"http://127.0.0.1:{await opened.server.start('127.0.0.1', 0)}"
    yield opened
    await opened.server.stop()


async def test_health_and_readiness(port: Port) -> None:
    """Alive and ready are two things: an API that is out is waited for, and no reason for a restart."""
    assert (await port.get("/healthz"), await port.get("/readyz")) == ((200, "ok\n"), (200, "ready\n"))

    port.shown.now = Health(alive=True, problems=("the API: key refused", "1 of 2 folders are away"))
    assert (await port.get("/healthz"))[0] == 200
    assert await port.get("/readyz") == (503, "the API: key refused\n1 of 2 folders are away\n")

    port.shown.now = Health(alive=False)
    assert (await port.get("/healthz"))[0] == 503


async def test_gauges_are_the_figures_of_status(port: Port) -> None:
    """The same numbers, whoever asks."""
    _, text = await port.get("/metrics")

    assert "compressor_watcher_waiting 3.0\n" in text
    assert "compressor_watcher_in_flight 2.0\n" in text
    assert "compressor_watcher_failed 1.0\n" in text
    assert 'compressor_watcher_folder_images{folder="products",state="waiting"} 3.0\n' in text
    assert 'compressor_watcher_folder_available{folder="shop"} 0.0\n' in text
    assert 'compressor_watcher_api_state{state="reachable"} 1.0\n' in text
    assert "compressor_watcher_audit_unwritten_lines 4.0\n" in text
    assert 'compressor_watcher_build_info{version="1.2.3"} 1.0\n' in text


async def test_of_one_host_are_its_own_figures_only(port: Port) -> None:
    """What this process counts is not that host's; the next scrape of all has all again."""
    status, text = await port.get("/metrics?host=scanner-1")
    assert status == 200
    assert "compressor_watcher_waiting 1.0\n" in text
    assert "compressor_watcher_up 0.0\n" in text
    assert "_total" not in text
    assert "process_" not in text
    assert "compressor_watcher_waiting 3.0\n" in (await port.get("/metrics?host="))[1]
    assert (await port.get("/metrics?host=nobody"))[0] == 404
    assert (await port.get("/metrics?host=away"))[0] == 503


async def test_counters_follow_the_log(port: Port) -> None:
    """What was logged is counted, at zero from the start."""
    before = (await port.get("/metrics"))[1]
    assert 'compressor_watcher_endings_total{ending="stored",folder="products",reason=""} 0.0\n' in before

    count = port.metrics.event
    count(Event.IMAGE_STORED, {"folder": "products", "output": {"size": 400}, "saved_bytes": 600, "seconds": 0.7})
    count(Event.IMAGE_FAILED, {"folder": "products", "reason": "truncated"})
    count(Event.IMAGE_RETRY, {"folder": "products"})
    count(Event.SCAN_FINISHED, {"folder": "shop"})
    count(Event.WATCH_OVERFLOW, {"folders": ["products", "shop"]})
    count(Event.SERVE_DENIED, {"reason": "expired", "count": 7})
    count(Event.JOURNAL_UNAVAILABLE, {"what": "audit"})
    text = (await port.get("/metrics"))[1]

    for line in (
        'endings_total{ending="stored",folder="products",reason=""} 1.0',
        'endings_total{ending="failed",folder="products",reason="truncated"} 1.0',
        'input_bytes_total{folder="products"} 1000.0',
        'output_bytes_total{folder="products"} 400.0',
        'stored_seconds_bucket{folder="products",le="1.0"} 1.0',
        'retries_total{folder="products"} 1.0',
        'scans_total{folder="shop"} 1.0',
        'watch_overflows_total{folder="shop"} 1.0',
        'denied_fetches_total{reason="expired"} 7.0',
        "audit_available 0.0",
        "journal_available 1.0",
    ):
        assert f"compressor_watcher_{line}\n" in text


async def test_calls_of_the_api_are_counted_by_their_status(port: Port) -> None:
    """An answer, a refusal, and no answer at all."""

    class Api:
        failure: Failure | None = None

        async def account(self) -> None:
            if self.failure is not None:
                raise CallFailed(self.failure)

    api = Api()
    observed = ObservedApi(api, port.metrics.call, port.clock)  # type: ignore[arg-type]
    await observed.account()
    for status in (503, None):
        api.failure = Failure(FailureKind.TRANSIENT, "no", status=status)
        with pytest.raises(CallFailed):
            await observed.account()

    text = (await port.get("/metrics"))[1]
    for status in ("200", "503", "none"):
        assert f'compressor_watcher_api_answers_total{{call="account",status="{status}"}} 1.0\n' in text
    assert 'compressor_watcher_api_call_seconds_count{call="account"} 3.0\n' in text


async def test_promtool_has_nothing_to_say(port: Port) -> None:
    """Names, help texts and types are as the convention has them."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = (await port.get("/metrics"))[1]
    ours = "".join(line + "\n" for line in text.splitlines() if "process_" not in line)
    found = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False)

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


class TestPassword:
    """Everything but health and readiness asks for it."""

    async def test_it_is_asked_for(self, closed_port: Port) -> None:
        """Any user name will do; the password may hold a colon."""
        assert (await closed_port.get("/metrics"))[0] == 401
        assert (await closed_port.get("/nowhere"))[0] == 401
        assert (await closed_port.get("/metrics", "wrong"))[0] == 401
        assert (await closed_port.get("/metrics", "s3cret: for us"))[0] == 200
        assert [(await closed_port.get(path))[0] for path in ("/healthz", "/readyz")] == [200, 200]

    async def test_who_guesses_is_not_listened_to(self, closed_port: Port) -> None:
        """After ten wrong ones even the right one is refused, for a while."""
        for _ in range(10):
            assert (await closed_port.get("/metrics", "guess"))[0] == 401
        assert (await closed_port.get("/metrics", "s3cret: for us"))[0] == 429
        assert (await closed_port.get("/metrics"))[0] == 401
        assert (await closed_port.get("/healthz"))[0] == 200

        closed_port.clock.move(60.0)
        assert (await closed_port.get("/metrics", "s3cret: for us"))[0] == 200


async def test_a_taken_address_is_told(port: Port) -> None:
    """The message names the address and what to do."""
    taken = port.base.rpartition(":")[2]
    with pytest.raises(Unavailable, match=taken):
        await Port().server.start("127.0.0.1", int(taken))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6 and IPv4")
async def test_all_addresses_are_those_of_both_families() -> None:
    """`[::]` means all of them, as at the port of temporary URLs."""
    opened = Port()
    port = await opened.server.start("::", 0)
    try:
        for origin in (f"http://127.0.0.1:{port}", f"http://[::1]:{port}"):
            opened.base = origin
            assert 200 == (await opened.get("/healthz"))[0]
    finally:
        await opened.server.stop()
