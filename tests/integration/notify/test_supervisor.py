"""The daemon's side and the process of its receivers, with a real journal and real receivers between them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.receivers import SECRET, ReceivingServer
from tests.support.records import lines_of, open_journal, sighting, store_all, take_one
from watcher.config.receiver_settings import ReceiverSettings
from watcher.model import AuditLine, Event
from watcher.notify.plan import ReceiverPlan
from watcher.notify.supervisor import NotifierSupervisor
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay


class Scene:
    """A journal with its audit file, and the supervisor beside them."""

    def __init__(self, folder: Path, *, direct: bool = True) -> None:
        self.path = folder / "journal.db"
        self.clock, self.log = MovedClock(), RecordedLog()
        self.journal = open_journal(self.path, clock=self.clock, keep=100.0)
        self.relay = OutboxRelay(self.journal, AuditFile(folder / "audit.jsonl"), RecordedLog())
        self.audit = folder / "audit.jsonl"
        self.supervisor = self.new_supervisor(direct=direct)
        self._number = 0

    def new_supervisor(self, *, direct: bool = True) -> NotifierSupervisor:
        """As a new daemon makes it."""
        return NotifierSupervisor(str(self.path) if direct else None, self.journal.followers, self.log, self.clock)

    async def end_some(self, count: int) -> None:
        """So many endings in the audit file."""
        for _ in range(count):
            self._number += 1
            image = await take_one(self.journal, sighting(b"%d.jpg" % self._number, at=self.clock.now()))
            await store_all(self.journal, image, self.clock.now())
        await self.relay.flush()
        self.supervisor.look()

    async def close(self) -> None:
        """End all."""
        await self.supervisor.stop()
        await self.relay.stop()
        await self.journal.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A supervisor at work."""
    scene = Scene(tmp_path)
    await scene.relay.start()
    yield scene
    await scene.close()


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver that wants signatures."""
    with ReceivingServer(secret=SECRET) as server:
        yield server


def plan(receiver: ReceivingServer, name: str = "cms", **keys: Any) -> ReceiverPlan:
    """A receiver of endings."""
    return ReceiverPlan.of(name, ReceiverSettings(**{"url": receiver.url, "secret": SECRET, **keys}))


@pytest.mark.parametrize("direct", [True, False], ids=["file", "asked"])
async def test_endings_reach_the_receiver(tmp_path: Path, receiver: ReceivingServer, direct: bool) -> None:
    """Whether the process reads the journal's file itself, or asks for each line where only the daemon can read it."""
    scene = Scene(tmp_path, direct=direct)
    await scene.relay.start()
    await scene.end_some(2)
    await scene.supervisor.use([plan(receiver)])
    await scene.end_some(150)
    await wait_until(lambda: len(receiver.confirmed) >= 150)
    await scene.supervisor.settle(5.0)
    stands = await scene.journal.followers.begin("cms")
    await scene.close()

    assert [call.object for call in receiver.calls] == lines_of(scene.audit)[2:]
    assert stands == 152


async def test_a_process_that_dies_is_replaced(scene: Scene, receiver: ReceivingServer) -> None:
    """It is said, and what was not confirmed is told by the next one."""
    await scene.supervisor.use([plan(receiver)])
    await scene.end_some(3)
    await wait_until(lambda: len(receiver.confirmed) >= 3)
    receiver.hangs = True
    await scene.end_some(2)
    assert scene.supervisor.process_id is not None
    os.kill(scene.supervisor.process_id, signal.SIGKILL)
    await wait_until(lambda: bool(scene.log.of(Event.NOTIFY_UNAVAILABLE)))
    receiver.stop()
    receiver.hangs = False
    receiver.start()
    scene.clock.move(10.0)
    await wait_until(lambda: receiver.numbers()[-1:] == [5])

    assert "ended (status -9)" in scene.log.of(Event.NOTIFY_UNAVAILABLE)[0]["message"]
    assert list(dict.fromkeys(receiver.numbers())) == [1, 2, 3, 4, 5]


async def test_nothing_runs_where_nobody_is_to_be_told(scene: Scene, receiver: ReceivingServer) -> None:
    """The process begins with the first receiver, and ends with the last."""
    await scene.supervisor.use([])
    await scene.end_some(1)
    assert scene.supervisor.process_id is None

    await scene.supervisor.use([plan(receiver)])
    await wait_until(lambda: scene.supervisor.process_id is not None)
    await scene.supervisor.use([])
    assert scene.supervisor.process_id is None

    await scene.supervisor.use([plan(receiver)])
    await scene.end_some(1)
    await wait_until(lambda: len(receiver.confirmed) >= 1)
    assert receiver.numbers() == [2]


def test_the_process_loads_no_configuration() -> None:
    """What it wants comes through the pipe: the classes of the configuration cost a third of its start and 8 MB."""
    words = "import sys, watcher.assembly.notifier; print([name for name in sys.modules if name.endswith('_settings')])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_the_process_loads_what_its_receivers_need() -> None:
    """Programs are run without HTTP clients: half of the start, and 18 MB."""
    words = (
        "import sys, watcher.assembly.notifier\n"
        "from watcher.clock import SystemClock\n"
        "from watcher.network.proxies import Proxies\n"
        "from watcher.notify.plan import ReceiverPlan\n"
        "from watcher.notify.receivers import Ways\n"
        "ways = Ways(Proxies.of_environment({}), {})\n"
        "def make(**fields):\n"
        "    ways.sender(ReceiverPlan('one', target='', **fields), SystemClock())\n"
        "    return [name for name in ('pydantic', 'httpx', 'aiohttp') if name in sys.modules]\n"
        "print(make(kind='program', command=('true',)), make(kind='apprise', apprise='json://host'), make(kind='url', url='http://host'))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)

    assert done.stdout == "[] [] ['httpx', 'aiohttp']\n", done.stderr


async def test_a_reload_tries_at_once(scene: Scene, receiver: ReceivingServer) -> None:
    """Whoever mended a receiver need not wait for the next try, which may be five minutes away."""
    receiver.answer_headers, receiver.status = {"Retry-After": "300"}, 503
    await scene.supervisor.use([plan(receiver)])
    await scene.end_some(1)
    await wait_until(lambda: bool(scene.log.of(Event.NOTIFY_UNAVAILABLE)))
    receiver.status = 200
    await scene.supervisor.use([plan(receiver)])
    await wait_until(lambda: len(receiver.confirmed) >= 1)

    await wait_until(lambda: [state.state for state in scene.supervisor.states] == ["ok"])


async def test_what_was_let_go_of_is_said(scene: Scene, receiver: ReceivingServer) -> None:
    """A receiver that was away for longer than `keep` hears how many endings it will never get."""
    await scene.supervisor.use([plan(receiver)])
    await scene.supervisor.stop()
    await scene.end_some(4)
    scene.clock.move(1000.0)
    await scene.journal.prune(scene.clock.now())
    scene.supervisor = scene.new_supervisor()
    await scene.supervisor.use([plan(receiver)])
    await scene.end_some(1)
    await wait_until(lambda: bool(scene.log.of(Event.NOTIFY_RECOVERED)))

    assert receiver.numbers() == [5]
    (said,) = scene.log.of(Event.NOTIFY_RECOVERED)
    assert (said["receiver"], said["lost"]) == ("cms", 4)


async def test_one_that_changes_goes_on_where_it_was(scene: Scene, receiver: ReceivingServer) -> None:
    """A new secret, a new address, other events: nothing is told twice for it, and nothing left out."""
    with ReceivingServer() as elsewhere:
        await scene.supervisor.use([plan(receiver)])
        await scene.end_some(3)
        await wait_until(lambda: len(receiver.confirmed) >= 3)
        await scene.supervisor.use([plan(elsewhere)])
        await scene.end_some(2)
        await wait_until(lambda: len(elsewhere.confirmed) >= 2)

    assert (receiver.numbers(), elsewhere.numbers()) == ([1, 2, 3], [4, 5])


class Stuck:
    """Followers of a journal that takes nothing: its disk is full, or its database away."""

    async def begin(self, name: str) -> int:
        return await asyncio.get_running_loop().create_future()

    async def advance(self, name: str, seq: int, before: int) -> bool:
        return await asyncio.get_running_loop().create_future()

    async def keep_only(self, names: object) -> None:
        await asyncio.get_running_loop().create_future()

    async def lines_after(self, seq: int, limit: int) -> list[AuditLine]:
        return []


async def test_a_journal_that_takes_nothing_is_told_of_all_the_same(receiver: ReceivingServer) -> None:
    """It is just what receivers of outages want to hear; and the end of the daemon does not wait for it."""
    supervisor = NotifierSupervisor(None, Stuck(), RecordedLog(), MovedClock())
    ops = plan(receiver, "ops", events=("outage",))
    supervisor.heard(Event.JOURNAL_UNAVAILABLE, {"message": "before there was anybody to tell"})
    using = asyncio.create_task(supervisor.use([ops, plan(receiver, "cms")]))
    await wait_until(lambda: supervisor.process_id is not None)
    supervisor.heard(Event.JOURNAL_UNAVAILABLE, {"message": "the disk is full"})
    await wait_until(lambda: len(receiver.confirmed) >= 1)
    using.cancel()
    began = time.monotonic()
    await supervisor.settle(1.0)
    await supervisor.stop()

    assert time.monotonic() - began < 8
    assert [call.object["message"] for call in receiver.confirmed] == ["the disk is full"]
