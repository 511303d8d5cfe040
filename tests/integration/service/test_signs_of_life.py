"""The watchdog's signs of life stand for real life: whichever part is stuck, they cease, and go on when it moves again.

That systemd restarts a service without them is shown in tests/system/service.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.daemon import wait_until
from tests.support.postgres import Postgres
from tests.support.records import sighting
from tests.support.tcp_proxy import TcpProxy
from watcher.app import App, started
from watcher.assembly import intake
from watcher.clock import SystemClock
from watcher.config.loading import load_settings
from watcher.config.schema import Settings
from watcher.intake import intake as intake_module
from watcher.intake.context import IntakeSettings
from watcher.intake.pools import Lane
from watcher.log import JsonLog
from watcher.model import FailedReason
from watcher.records import changes
from watcher.records import outbox as outbox_module
from watcher.records import threads as threads_module
from watcher.records.audit_file import AuditFile
from watcher.records.queries import NumberedEnding

ALLOWED_SECONDS = 1.0
"""WatchdogSec= of these tests; a sign is due every half of it."""


class Manager:
    """The service manager's end of the socket: notes when each sign of life came."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self.signs: list[float] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while (message := self._socket.recv(4096)) != b"end":
            if message == b"WATCHDOG=1":
                self.signs.append(time.monotonic())

    def is_content(self) -> bool:
        """Whether the last sign is young enough for the service not to be restarted."""
        return bool(self.signs) and time.monotonic() - self.signs[-1] < ALLOWED_SECONDS

    def close(self) -> None:
        """Stop listening."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A service manager that wants signs of life."""
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(round(ALLOWED_SECONDS * 1_000_000)))
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    yield manager
    manager.close()


def settings(tmp_path: Path) -> Settings:
    """A daemon whose API is not there; nothing is dropped."""
    (tmp_path / "drop").mkdir()
    return load_settings(
        {
            "state_dir": str(tmp_path / "state"),
            "compressor": {"url": "http://127.0.0.1:1/1.0", "api_key": "k"},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "store": {"id": "c", "bucket": "b", "region": "eu-central-003"},
            "folders": [{"path": str(tmp_path / "drop")}],
        },
        {},
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience with the daemon's parts is short."""
    monkeypatch.setattr(threads_module, "STUCK_SECONDS", 1.0)
    monkeypatch.setattr(outbox_module, "STUCK_SECONDS", 1.0)
    monkeypatch.setattr(outbox_module, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(intake_module, "GUARD_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(intake, "IntakeSettings", partial(IntakeSettings, guard=0.2))


@pytest.fixture
async def app(tmp_path: Path, manager: Manager, impatient: None) -> AsyncIterator[App]:
    """A daemon that is up, and whose patience with its parts is short."""
    async with started(settings(tmp_path), JsonLog(out=io.StringIO(), clock=time.time)) as app:
        app.ready()
        await until(manager.is_content)
        yield app


async def until(condition: Callable[[], bool]) -> None:
    """Wait, with the loop running, until the condition is true."""
    await asyncio.to_thread(wait_until, condition, 30)


def listening_descriptor(port: int | None) -> int:
    """This process's descriptor that listens on a port."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and found.family == socket.AF_INET and found.getsockname()[1] == port:
                return descriptor
    raise AssertionError(f"nobody listens on port {port}")


def is_forgotten(manager: Manager) -> Callable[[], bool]:
    """Whether systemd would have restarted the service by now."""
    return lambda: not manager.is_content()


async def test_signs_come_as_long_as_all_parts_move(app: App, manager: Manager) -> None:
    """Twice in the allowed time, for as long as one looks."""
    count = len(manager.signs)
    await until(lambda: len(manager.signs) >= count + 5)
    gaps = [later - earlier for earlier, later in zip(manager.signs, manager.signs[1:], strict=False)]
    assert max(gaps) < ALLOWED_SECONDS


async def test_a_stuck_loop_gives_none(app: App, manager: Manager) -> None:
    """While something holds up the event loop there is no sign; afterwards there is."""
    end = time.monotonic() + 2 * ALLOWED_SECONDS
    while time.monotonic() < end:
        time.sleep(0.05)
    assert not manager.is_content()
    await until(manager.is_content)


async def test_a_stuck_writer_of_the_journal_stops_them(
    app: App, manager: Manager, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk on which a write hangs: the daemon cannot keep a promise any more, and says which part it is."""
    disk = threading.Event()
    monkeypatch.setattr(changes, "interrupted", lambda *_, **__: disk.wait(30))
    stuck = asyncio.create_task(app.records.journal.interrupted("nobody", 0.0))
    await until(is_forgotten(manager))
    assert "stuck: the journal's writer" in capfd.readouterr().err
    disk.set()
    await stuck
    await until(manager.is_content)


async def test_a_stuck_watch_on_the_folders_stops_them(
    app: App, manager: Manager, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nobody looks after the observers any more (a round of the guard does not end), new drops could go unseen."""
    moves = asyncio.Event()

    class StuckClock(SystemClock):
        async def sleep(self, seconds: float) -> None:
            await moves.wait()
            await super().sleep(seconds)

    monkeypatch.setattr(app.intake, "_clock", StuckClock())
    await until(is_forgotten(manager))
    assert "stuck: the watch on the folders" in capfd.readouterr().err
    moves.set()
    await until(manager.is_content)


async def test_a_dead_disk_under_one_folder_stops_none(app: App, manager: Manager) -> None:
    """Threads of a folder that hang are that folder's business: the daemon is not restarted for it."""
    disk = threading.Event()
    (folder,) = app.context.settings.folders
    hanging = [asyncio.create_task(app.intake.pools.run(folder.path, lane, disk.wait)) for lane in Lane for _ in range(8)]
    end = time.monotonic() + 3 * ALLOWED_SECONDS
    while time.monotonic() < end:
        assert not manager.signs or manager.is_content()
        await asyncio.sleep(0.05)
    assert manager.is_content()
    disk.set()
    await asyncio.gather(*hanging)


async def test_a_database_that_is_away_stops_nothing(
    tmp_path: Path, manager: Manager, impatient: None, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would not bring it back, and who waits for it is alive."""
    monkeypatch.setattr(threads_module, "MAX_BACKOFF_SECONDS", 0.2)
    with TcpProxy(postgres.port) as proxy:
        url = postgres.url(postgres.database().rpartition("/")[2], proxy.port)
        shared = settings(tmp_path).model_copy(update={"journal": url})
        async with started(shared, JsonLog(out=io.StringIO(), clock=time.time)) as app:
            app.ready()
            await until(manager.is_content)
            proxy.refuse()
            await app.records.relay.reopen()
            await until(lambda: app.records.journal.is_away)
            end = time.monotonic() + 3 * ALLOWED_SECONDS
            while time.monotonic() < end:
                assert manager.is_content()
                await asyncio.sleep(0.05)
            proxy.flow()
            await until(lambda: not app.records.journal.is_away)


async def test_a_stuck_audit_file_stops_them(
    app: App, manager: Manager, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the write of an ending hangs, images would end and nobody would hear of it."""
    disk, append = threading.Event(), AuditFile.append

    def hanging(audit: AuditFile, endings: Sequence[NumberedEnding]) -> list[tuple[int, str | None]]:
        disk.wait(30)
        return append(audit, endings)

    monkeypatch.setattr(AuditFile, "append", hanging)
    await app.records.journal.give_up(sighting(), FailedReason.EMPTY, "empty", "")
    await until(is_forgotten(manager))
    assert "stuck: the audit file" in capfd.readouterr().err
    disk.set()
    await until(manager.is_content)
    assert "everything moves again" in capfd.readouterr().err


async def test_a_server_that_answers_nothing_stops_them(app: App, manager: Manager, capfd: pytest.CaptureFixture[str]) -> None:
    """The port is open and connections pile up unanswered: only a real request finds that out."""
    urls = app.publishing.urls
    assert urls is not None
    asyncio.get_running_loop().remove_reader(listening_descriptor(urlsplit(urls.local_url).port))
    assert urls.alive()
    said = list[str]()

    def is_said() -> bool:
        """The reason follows the silence: both fall due in the same instant, in either order."""
        said.append(capfd.readouterr().err)
        return "stuck: the server of temporary URLs" in "".join(said)

    await until(is_forgotten(manager))
    await until(is_said)
