"""Promise 7 against all that API and store can do wrong: the pause, the one line, the recovery, the work going on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.fronts import NameService, TlsFront, make_certificate
from tests.support.lives import Nursery
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess
from tests.support.world import ENDINGS, KEY, World

EPISODES = ("api.unavailable", "api.unauthorized", "api.quota", "api.throttled", "api.recovered")
MAX_ATTEMPTS = 2
SETTLING_SECONDS = 0.2
QUIET_SECONDS = 0.4
"""So long nothing more may come."""


@dataclass
class Bench:
    """A running daemon, its API, and what was said since the test began."""

    world: World
    all_lines: Callable[[], list[dict[str, Any]]]
    status: Callable[[], int | None]
    since: int = 0

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of this test."""
        return self.all_lines()[self.since :]

    @property
    def standin(self) -> StandinProcess:
        """The API."""
        return self.world.standin

    def put(self, *names: str) -> list[str]:
        """Drop images; gives their paths as the lines tell them."""
        return [str(self.world.put(name)) for name in names]

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of an event whose fields have these values."""
        lines = [line for line in self.lines if line["event"] == event]
        return [line for line in lines if all(line.get(key) == value for key, value in fields.items())]

    def wait(self, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Until there are so many lines; gives them."""

        def found() -> list[dict[str, Any]]:
            assert self.status() is None, f"the daemon ended with {self.status()}: {self.lines[-5:]}"
            return said if len(said := self.said(event, **fields)) >= count else []

        return wait_until(found)

    def stored(self, *files: str) -> list[dict[str, Any]]:
        """The lines of image.stored, one for each file."""
        return [self.ending("image.stored", file) for file in files]

    def ending(self, event: str, file: str) -> dict[str, Any]:
        """The one ending of a file."""
        (line,) = self.wait(event, file=file)
        return line

    def retries(self, file: str) -> list[str]:
        """What was said of a file's further turns."""
        return [line["message"] for line in self.said("image.retry", file=file)]

    def told(self) -> list[str]:
        """What was said of the API, in order."""
        return [line["event"] for line in self.lines if line["event"] in EPISODES]

    def asked(self, *files: str) -> list[int]:
        """How many requests came for each file."""
        asked = self.standin.report()["asked"]
        return [asked.get(Path(file).name, 0) for file in files]

    def paid(self, *files: str) -> list[int]:
        """How often the work was done for each file."""
        paid = self.standin.report()["paid"]
        return [paid.get(Path(file).name, 0) for file in files]

    def holds(self, *files: str) -> None:
        """What was let in before the way closed has been answered; from then on nothing is sent, and nothing is stored."""
        wait_until(lambda: not self._sends(SETTLING_SECONDS))
        assert not self._sends(QUIET_SECONDS)
        assert [] == [line for line in self.said("image.stored") if line["file"] in files]

    def _sends(self, seconds: float) -> bool:
        """Whether any request comes in this time."""
        before = self.standin.report()["calls"].get("fetch", 0)
        time.sleep(seconds)
        return bool(self.standin.report()["calls"].get("fetch", 0) != before)


@contextmanager
def installed(world: World, within: Sequence[str] = ()) -> Iterator[Bench]:
    """The installed command as a process; at its end, one audit line for every ending."""
    with Daemon(world.config, KEY, within=within) as daemon:
        yield Bench(world, lambda: list(daemon.lines), daemon.process.poll)
    assert 0 == daemon.process.returncode
    assert_endings_are_audited(world, daemon.lines)


@contextmanager
def forked(world: World, nursery: Nursery, **environment: str) -> Iterator[Bench]:
    """The same, begun at little cost."""
    life = nursery.begin("run", "--config", world.config, log=world.log, environment={**KEY, **environment})
    life.wait_for("service.ready")
    yield Bench(world, life.lines, life.poll)
    assert 0 == life.stop(), life.errors()
    assert_endings_are_audited(world, life.lines())


def assert_endings_are_audited(world: World, lines: list[dict[str, Any]]) -> None:
    """What a life has logged of endings is what the audit file holds last, in this order."""
    endings = [line["id"] for line in lines if line["event"] in ENDINGS]
    assert endings == [line["id"] for line in world.audit()][-len(endings) :]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where lives of the daemon are begun."""
    with Nursery() as process:
        yield process


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in, as a process of its own."""
    with StandinProcess() as process:
        yield process


@pytest.fixture(scope="module")
def long_lived(standin: StandinProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One life of the daemon through one failure after the other."""
    path = tmp_path_factory.mktemp("bench")
    with installed(World(path, standin, changes={"compressor": {"max_attempts": MAX_ATTEMPTS}})) as bench:
        yield bench


@pytest.fixture
def bench(long_lived: Bench) -> Iterator[Bench]:
    """The daemon, from now on; in the end the API works again, and one more image goes straight through."""
    long_lived.since = len(long_lived.all_lines())
    long_lived.standin.set_faults()
    yield long_lived
    long_lived.standin.set_faults()
    long_lived.standin.set_options(api_key=DEFAULT_KEY)
    (line,) = long_lived.stored(*long_lived.put(f"last-{long_lived.since}.jpg"))
    assert 1 == line["attempts"]


@pytest.fixture
def lonely(standin: StandinProcess, tmp_path: Path) -> Callable[..., World]:
    """A state of its own, for a daemon that is configured otherwise."""
    standin.set_faults()
    return lambda **changes: World(tmp_path, standin, tmp_path.name.replace("_", "-"), changes)


def seconds_between(first: dict[str, Any], second: dict[str, Any]) -> float:
    """By the timestamps of two lines."""
    return (datetime.fromisoformat(second["timestamp"]) - datetime.fromisoformat(first["timestamp"])).total_seconds()


# --- nobody gets through ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoints", "html"), [(("fetch", "account"), False), (("fetch",), True)], ids=["all", "all but account"]
)
def test_5xx_to_all_is_one_outage_and_nobodys_attempt(bench: Bench, endpoints: tuple[str, ...], html: bool) -> None:
    """Said once, recovered once, and every image is stored with its first attempt although two are all it has."""
    bench.standin.set_faults(Fault("status", status=500, on=endpoints, html=html))
    files = bench.put(*(f"outage-{len(endpoints)}-{number}.jpg" for number in range(5)))
    (line,) = bench.wait("api.unavailable")
    time.sleep(1.5)  # the first probe fails as well
    bench.standin.set_faults()

    (recovered,) = bench.wait("api.recovered")
    assert {1} == {each["attempts"] for each in bench.stored(*files)}
    assert ["api.unavailable", "api.recovered"] == bench.told()
    assert "500" in line["message"]
    assert "api.unavailable" == recovered["after"]
    assert sum(bench.asked(*files)) <= 3 * len(files)  # the first and the last ones, and one trial at a time between
    assert [1] * 5 == bench.paid(*files)


def test_one_image_that_always_fails_ends_and_holds_nobody_up(bench: Bench) -> None:
    """It uses up its attempts while the others pass; nobody speaks of an outage."""
    bench.standin.set_faults(Fault("status", status=500, file="always-*"))
    (bad,) = bench.put("always-fails.jpg")
    others: list[str] = []
    while not bench.said("image.failed", file=bad):
        others += bench.put(f"passes-{len(others)}.jpg")
        bench.stored(others[-1])

    line = bench.ending("image.failed", bad)
    assert ("attempts_exhausted", MAX_ATTEMPTS, 500) == (line["reason"], line["attempts"], line["status"])
    assert line["hint"]
    assert [] == bench.told()
    assert [0] == bench.paid(bad)
    assert {1} == {each["attempts"] for each in bench.stored(*others)}


# --- the way from the API to the originals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["way_is_out", "way_is_out_for_job", "source_answers"])
def test_a_way_to_us_that_is_out_is_an_outage_and_nobodys_attempt(bench: Bench, fault: str) -> None:
    """The API works, and cannot fetch: told at once, by a job, or as what a proxy answers. Nobody had come for the originals."""
    bench.standin.set_faults(Fault(fault, status=502))
    files = bench.put(*(f"{fault}-{number}.jpg" for number in range(5)))
    (line,) = bench.wait("api.unavailable")
    time.sleep(1.5)  # the first trial fails as well
    asked = sum(bench.asked(*files))
    bench.standin.set_faults()

    (recovered,) = bench.wait("api.recovered")
    assert {1} == {each["attempts"] for each in bench.stored(*files)}
    assert ["api.unavailable", "api.recovered"] == bench.told()
    assert all(word in line["message"] for word in ("public_url", "proxy", "tunnel", "firewall"))
    assert 422 == line["status"]
    assert "public_url" in line["hint"]
    assert "api.unavailable" == recovered["after"]
    assert asked <= 3 * len(files)
    assert [1] * 5 == bench.paid(*files)


def test_one_image_whose_way_alone_is_out_ends_and_holds_nobody_up(bench: Bench) -> None:
    """A firewall that dislikes its name: it uses up its attempts while the others are fetched; nobody speaks of an outage."""
    bench.standin.set_faults(Fault("way_is_out", file="drop table*"))
    (bad,) = bench.put("drop table.jpg")
    others: list[str] = []
    while not bench.said("image.failed", file=bad):
        others += bench.put(f"allowed-{len(others)}.jpg")
        bench.stored(others[-1])

    line = bench.ending("image.failed", bad)
    assert ("attempts_exhausted", MAX_ATTEMPTS, 422) == (line["reason"], line["attempts"], line["status"])
    assert "nobody came for the original" in line["message"]
    assert [] == bench.told()
    assert {1} == {each["attempts"] for each in bench.stored(*others)}


# --- everybody waits ----------------------------------------------------------------------------------------------------------


def in_seconds(seconds: int) -> str:
    """A date of HTTP so many seconds from now."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "retry_after", "least"),
    [(429, lambda: "2", 2.0), (429, lambda: in_seconds(3), 1.0), (503, lambda: "2", 2.0)],
    ids=["429 with seconds", "429 with a date", "503 with seconds"],
)
def test_retry_after_is_waited_for_by_all(bench: Bench, status: int, retry_after: Callable[[], str], least: float) -> None:
    """One line with the wait, nothing sent meanwhile, one line afterwards, and no attempt used."""
    bench.standin.set_faults(Fault("status", status=status, retry_after=retry_after(), times=1))
    name = f"throttled-{bench.since}"
    (first,) = bench.put(f"{name}-0.jpg")
    (line,) = bench.wait("api.throttled")
    others = bench.put(f"{name}-1.jpg", f"{name}-2.jpg")
    bench.holds(first, *others)

    (recovered,) = bench.wait("api.recovered")
    assert {1} == {each["attempts"] for each in bench.stored(first, *others)}
    assert ["api.throttled", "api.recovered"] == bench.told()
    assert status == line["status"]
    assert least <= line["wait"] <= 3.0
    assert "capped" not in line
    assert line["wait"] - 0.1 <= seconds_between(line, recovered)
    assert recovered["waited"] >= 1
    assert [2, 1, 1] == bench.asked(first, *others)


def test_retry_after_far_in_the_future_is_capped_and_said(nursery: Nursery, lonely: Callable[..., World]) -> None:
    """A quarter of an hour at most, with what had been asked for, in either form; a restart tries at once."""
    world, files = lonely(), list[str]()
    for far in ("86400", in_seconds(10 * 86400)):
        world.standin.set_faults(Fault("status", status=429, retry_after=far))
        with forked(world, nursery) as bench:
            files += bench.put(f"far-{len(files)}.jpg")
            (line,) = bench.wait("api.throttled")
            bench.holds(*files)
            assert ["api.throttled"] == bench.told()
        assert (True, 900.0) == (line["capped"], line["wait"])
        assert line["retry_after"] > 86_000
    world.standin.set_faults()
    with forked(world, nursery) as bench:
        assert {1} == {each["attempts"] for each in bench.stored(*files)}
        assert [] == bench.told()


# --- blocked ------------------------------------------------------------------------------------------------------------------


def test_a_key_revoked_while_running_and_right_again(bench: Bench) -> None:
    """All sending stops with one line and what to do; with the key right again it goes on by itself."""
    bench.stored(*bench.put("before-the-key-was-revoked.jpg"))
    bench.standin.set_options(api_key="another-key")
    files = bench.put(*(f"revoked-{number}.jpg" for number in range(3)))
    (line,) = bench.wait("api.unauthorized")
    bench.holds(*files)
    bench.standin.set_options(api_key=DEFAULT_KEY)

    bench.wait("api.recovered")
    assert {1} == {each["attempts"] for each in bench.stored(*files)}
    assert ["api.unauthorized", "api.recovered"] == bench.told()
    assert 401 == line["status"]
    assert "WATCHER_COMPRESSOR__API_KEY" in line["hint"]
    assert [1] * 3 == bench.paid(*files)


@pytest.mark.parametrize(
    ("status", "endpoints"), [(402, ("fetch", "account")), (403, ("fetch",))], ids=["402", "403 while the account answers"]
)
def test_a_spent_quota_blocks_until_it_is_raised(bench: Bench, status: int, endpoints: tuple[str, ...]) -> None:
    """One line of api.quota with what to do, nothing sent, and everything stored when there is quota again."""
    bench.standin.set_faults(Fault("status", status=status, message="Your quota is spent", on=endpoints))
    files = bench.put(*(f"quota-{status}-{number}.jpg" for number in range(3)))
    (line,) = bench.wait("api.quota")
    bench.holds(*files)
    bench.standin.set_faults()

    bench.wait("api.recovered")
    assert {1} == {each["attempts"] for each in bench.stored(*files)}
    assert ["api.quota", "api.recovered"] == bench.told()
    assert (status, True) == (line["status"], "Your quota is spent" in line["message"])
    assert "quota" in line["hint"]


@pytest.mark.parametrize("status", [402, 403])
def test_one_image_without_permission_disturbs_nobody(bench: Bench, status: int) -> None:
    """It ends by its attempts while the others get through at once; no line speaks of the API."""
    bench.standin.set_faults(Fault("status", status=status, file="forbidden-*", message="this connector is not yours"))
    (bad,) = bench.put(f"forbidden-{status}.jpg")
    others: list[str] = []
    while not bench.said("image.failed", file=bad):
        others += bench.put(f"allowed-beside-{status}-{len(others)}.jpg")
        bench.stored(others[-1])

    line = bench.ending("image.failed", bad)
    assert ("attempts_exhausted", MAX_ATTEMPTS, status) == (line["reason"], line["attempts"], line["status"])
    assert "not yours" in line["message"]
    stored = bench.stored(*others)
    assert {1} == {each["attempts"] for each in stored}
    assert max(each["seconds"] for each in stored) < 3.0
    assert [] == bench.told()


# --- answers that cannot be believed, or did not come -------------------------------------------------------------------------

LOST = {
    "not JSON": (Fault("body_after", status=200, body="OK"), "not a JSON object"),
    "JSON that is no answer": (Fault("body_after", status=200, body='{"hello": "world"}'), "neither `url` nor"),
    "truncated": (Fault("truncated"), ""),
    "HTML": (Fault("body_after", status=200, body="<html>sign in</html>", html=True), "HTML page"),
    "a gateway's 502": (Fault("status_after", status=502, html=True), "502"),
    "connection lost after the work": (Fault("reset_after"), "connection was lost"),
}


@pytest.mark.parametrize("how", LOST)
def test_an_answer_that_is_lost_is_asked_of_the_store(bench: Bench, how: str) -> None:
    """Work that was done is found in the store: told once, recovered, paid once, never sent again."""
    fault, words = LOST[how]
    fault.times = 1
    bench.standin.set_faults(fault)
    (file,) = bench.put(f"lost-{list(LOST).index(how)}.jpg")

    (line,) = bench.stored(file)
    assert (True, 1) == (line["recovered"], line["attempts"])
    (told,) = bench.retries(file)
    assert words in told
    assert ([1], [1]) == (bench.asked(file), bench.paid(file))
    assert [] == bench.told()


def test_a_refusal_under_200_is_a_refusal(bench: Bench) -> None:
    """`success: false` ends the image by the `code` in the body, whatever the status line says."""
    refusal = {"success": False, "code": 422, "id": "6", "message": "No such connector"}
    bench.standin.set_faults(Fault("body", status=200, body=json.dumps(refusal), times=1))
    (file,) = bench.put("refused-under-200.jpg")

    line = bench.ending("image.failed", file)
    assert ("rejected", 1, 422) == (line["reason"], line["attempts"], line["status"])
    assert "No such connector" in line["message"]
    assert ([1], []) == (bench.asked(file), bench.told())


def test_a_breakdown_told_under_200_is_tried_again(bench: Bench) -> None:
    """`success: false` with the code of a breakdown is one: another turn, and stored."""
    breakdown = {"success": False, "code": 500, "id": "6", "message": "Try again"}
    bench.standin.set_faults(Fault("body", status=200, body=json.dumps(breakdown), times=1))
    (file,) = bench.put("broken-under-200.jpg")

    (line,) = bench.stored(file)
    assert not line["recovered"]
    (told,) = bench.retries(file)
    assert "Try again" in told
    assert [1] == bench.paid(file)


@pytest.mark.parametrize("fault", ["wrong_sha1", "wrong_size"])
def test_work_on_other_bytes_is_never_called_stored(bench: Bench, fault: str) -> None:
    """An `input` that is not ours is sent again; where it stays so, the image fails and says how it differs."""
    bench.standin.set_faults(Fault(fault, file="once-*", times=1), Fault(fault, file="ever-*"))
    once, ever = bench.put(f"once-{fault}.jpg", f"ever-{fault}.jpg")

    (line,) = bench.stored(once)
    assert (2, False) == (line["attempts"], line["recovered"])
    failed = bench.ending("image.failed", ever)
    assert ("input_mismatch", MAX_ATTEMPTS) == (failed["reason"], failed["attempts"])
    assert "other bytes" in failed["message"]
    assert failed["hint"]
    assert all("other bytes" in message for message in bench.retries(once) + bench.retries(ever))
    assert [] == bench.told()


def test_a_url_without_its_folder_is_marked(bench: Bench) -> None:
    """The vendor page's short form of `url` is passed on as it came, and `url_mismatch` says that it is not B2's address."""
    bench.standin.set_faults(Fault("short_url", file="short.jpg"))
    files = bench.put("deep/short.jpg", "deep/full.jpg")

    short, full = bench.stored(*files)
    address = "https://my-bucket.s3.eu-central-003.backblazeb2.com"
    assert (True, f"{address}/short.jpg") == (short["url_mismatch"], short["url"])
    assert (False, f"{address}/products/deep/full.jpg") == (full["url_mismatch"], full["url"])
    assert "products/deep/short.jpg" == short["key"]


# --- jobs ---------------------------------------------------------------------------------------------------------------------


def test_a_job_that_fails_ends_its_image(bench: Bench) -> None:
    """With the API's own words, and nothing is sent again."""
    bench.standin.set_faults(Fault("job_failed", polls=0))
    (file,) = bench.put("job-fails.jpg")

    line = bench.ending("image.failed", file)
    assert ("job_failed", True) == (line["reason"], "made to fail" in line["message"])
    assert ([1], []) == (bench.asked(file), bench.told())


def test_a_job_that_vanishes_is_asked_of_the_store(bench: Bench) -> None:
    """An id that the API does not know any more: the store tells that the work is done."""
    bench.standin.set_faults(Fault("job_lost"))
    (file,) = bench.put("job-vanishes.jpg")

    (line,) = bench.stored(file)
    assert line["recovered"]
    assert 1 == len(bench.said("image.enqueued", file=file)) == len(bench.retries(file))
    assert ([1], [1], []) == (bench.asked(file), bench.paid(file), bench.told())


def test_looks_at_a_job_that_fail_are_no_attempts(bench: Bench) -> None:
    """A poll that is answered 500, or not at all, is made again; the image keeps its first attempt."""
    bench.standin.set_faults(
        Fault("enqueue", polls=1), Fault("status", on=("job",), status=500, times=1), Fault("reset", on=("job",), times=1)
    )
    (file,) = bench.put("job-looked-at.jpg")

    (line,) = bench.stored(file)
    assert (1, False) == (line["attempts"], line["recovered"])
    assert ([1], [1]) == (bench.asked(file), bench.paid(file))


def test_jobs_and_answers_that_take_too_long(nursery: Nursery, lonely: Callable[..., World]) -> None:
    """A job that never ends and an answer after the timeout are asked of the store; one that never comes is sent again."""
    world = lonely(compressor={"timeout": "2s", "max_attempts": MAX_ATTEMPTS}, publish={"serve": {"ttl": "3s"}})
    world.changes["publish"]["serve"]["listen"] = "127.0.0.1:0"
    world.write_config()
    world.standin.set_faults(
        Fault("job_stuck", file="stuck.jpg"),
        Fault("delay_after", file="late.jpg", seconds=4.0, times=1),
        Fault("never", file="silent.jpg", times=1),
    )
    with forked(world, nursery) as bench:
        stuck, late, silent = files = bench.put("stuck.jpg", "late.jpg", "silent.jpg")
        lines = bench.stored(*files)
        assert [True, True, False] == [line["recovered"] for line in lines]
        assert ([1, 1, 2], [1, 1, 1]) == (bench.asked(*files), bench.paid(*files))
        assert "did not end" in bench.retries(stuck)[0]
        assert all("took too long" in bench.retries(file)[0] for file in (late, silent))


# --- the store ----------------------------------------------------------------------------------------------------------------


def test_an_unknown_answer_waits_for_a_store_that_is_out(bench: Bench) -> None:
    """While the store does not answer nothing is sent again; when it does, the work is found."""
    bench.standin.set_faults(Fault("reset_after", file="store-is-out.jpg"), Fault("status", on=("bucket",), status=503))
    file, other = bench.put("store-is-out.jpg", "passes-meanwhile.jpg")
    wait_until(lambda: any("store cannot be reached" in message for message in bench.retries(file)))
    bench.stored(other)
    assert [1] == bench.asked(file)
    bench.standin.set_faults()

    (line,) = bench.stored(file)
    assert line["recovered"]
    assert ([1], [1], []) == (bench.asked(file), bench.paid(file), bench.told())


def test_a_store_that_does_not_say_costs_a_payment_and_is_told_once(bench: Bench) -> None:
    """A private bucket without credentials: sent again, with one hint to [verify] for the bucket."""
    bench.standin.set_faults(
        *(Fault("reset_after", file=name, times=1) for name in ("private-0.jpg", "private-1.jpg")),
        Fault("status", on=("bucket",), status=403),
    )
    files = bench.put("private-0.jpg", "private-1.jpg")

    assert [False, False] == [line["recovered"] for line in bench.stored(*files)]
    assert ([2, 2], [2, 2]) == (bench.asked(*files), bench.paid(*files))
    (hint,) = [line["hint"] for line in bench.said("image.retry") if "[verify]" in line.get("hint", "")]
    assert "key_id" in hint


def test_always_asking_the_store(nursery: Nursery, lonely: Callable[..., World]) -> None:
    """Every answer is held against the store: one that it bears out is stored, one that it does not ends as store_mismatch."""
    world = lonely(verify={"mode": "always"}, compressor={"max_attempts": MAX_ATTEMPTS})
    world.standin.set_faults(
        Fault("status", file="*/missing.jpg", on=("bucket",), status=404),
        Fault("status", file="*/out.jpg", on=("bucket",), status=503, times=1),
    )
    with forked(world, nursery) as bench:
        good, out, missing = bench.put("good.jpg", "out.jpg", "missing.jpg")
        lines = bench.stored(good, out)
        failed = bench.ending("image.failed", missing)
        assert ("store_mismatch", MAX_ATTEMPTS) == (failed["reason"], failed["attempts"])
        assert "the store does not hold" in failed["message"]
        assert [1, 1] == [line["attempts"] for line in lines] == bench.paid(good, out)
        assert ("present", f"{world.bucket}/products/good.jpg") in world.standin.trace()


def test_never_asking_the_store(nursery: Nursery, lonely: Callable[..., World]) -> None:
    """No question, no metadata of ours; what was lost is sent again, and paid again."""
    world = lonely(verify={"mode": "never"})
    world.standin.set_faults(Fault("reset_after", times=1))
    with forked(world, nursery) as bench:
        questions = world.standin.report()["calls"].get("bucket", 0)
        (file,) = bench.put("lost-and-not-asked-for.jpg")
        (line,) = bench.stored(file)
        assert (False, 2, [2]) == (line["recovered"], bench.asked(file)[0], bench.paid(file))
        assert questions == world.standin.report()["calls"].get("bucket", 0)
        assert "metadata" not in world.standin.report()["last_bodies"][-1]["store"]


# --- the way there ------------------------------------------------------------------------------------------------------------


def test_a_name_that_cannot_be_resolved(lonely: Callable[..., World], tmp_path: Path) -> None:
    """One line that names the cause and what to look at; with DNS back it goes on by itself."""
    names = NameService(tmp_path, "api.localhost")
    world = lonely()
    world.write_config(compressor={"url": f"http://api.localhost:{world.standin.port}/1.0"})
    with installed(world, names.within) as bench:
        files = bench.put("name-0.jpg", "name-1.jpg")
        (line,) = bench.wait("api.unavailable")
        bench.holds(*files)
        names.know_it()
        bench.wait("api.recovered")
        assert {1} == {each["attempts"] for each in bench.stored(*files)}
        assert ["api.unavailable", "api.recovered"] == bench.told()
    assert "cannot be resolved" in line["message"]
    assert "DNS" in line["hint"]


def test_a_certificate_that_is_not_trusted(nursery: Nursery, lonely: Callable[..., World], tmp_path: Path) -> None:
    """One line with the hint to the clock, to what inspects TLS and to SSL_CERT_FILE; with the right one it goes on by itself."""
    unknown, trusted = make_certificate(tmp_path, "unknown"), make_certificate(tmp_path, "trusted")
    world = lonely()
    with TlsFront(world.standin.port, *unknown) as front:
        world.write_config(compressor={"url": f"https://127.0.0.1:{front.port}/1.0"})
        with forked(world, nursery, SSL_CERT_FILE=str(trusted[0])) as bench:
            files = bench.put("tls-0.jpg", "tls-1.jpg")
            (line,) = bench.wait("api.unavailable")
            bench.holds(*files)
            front.show(*trusted)
            bench.wait("api.recovered")
            assert {1} == {each["attempts"] for each in bench.stored(*files)}
            assert ["api.unavailable", "api.recovered"] == bench.told()
    assert "TLS" in line["message"]
    assert "SSL_CERT_FILE" in line["hint"]
