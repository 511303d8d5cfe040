"""The daemon's side and the process of its receivers, with a real journal and real receivers between them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.receivers import SECRET, ReceivingServer
from tests.support.records import lines_of, open_journal, sighting, store_all, take_one
from watcher.config.receivers import ReceiverSettings
from watcher.model import AuditLine, Event
from watcher.notify.office import Office
from watcher.notify.plan import Plan
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay


class Desk:
    """A journal with its audit file, and the office beside them."""

    def __init__(self, folder: Path, *, direct: bool = True) -> None:
        self.path = folder / "journal.db"
        self.clock, self.log = MovedClock(), RecordedLog()
        self.journal = open_journal(self.path, clock=self.clock, keep=100.0)
        self.relay = OutboxRelay(self.journal, AuditFile(folder / "audit.jsonl"), RecordedLog())
        self.audit = folder / "audit.jsonl"
        self.office = self.new_office(direct=direct)
        self._number = 0

    def new_office(self, *, direct: bool = True) -> Office:
        """As a new daemon makes it."""
        return Office(str(self.path) if direct else None, self.journal.followers, self.log, self.clock)

    async def end_some(self, count: int) -> None:
        """So many endings in the audit file."""
        for _ in range(count):
            self._number += 1
            image = await take_one(self.journal, sighting(b"%d.jpg" % self._number, at=self.clock.now()))
            await store_all(self.journal, image, self.clock.now())
        await self.relay.flush()
        self.office.look()

    async def close(self) -> None:
        """End all."""
        await self.office.stop()
        await self.relay.stop()
        await self.journal.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk at work."""
    desk = Desk(tmp_path)
    await desk.relay.start()
    yield desk
    await desk.close()


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver that wants signatures."""
    with ReceivingServer(secret=SECRET) as server:
        yield server


def plan(receiver: ReceivingServer, name: str = "cms", **keys: Any) -> Plan:
    """A receiver of endings."""
    return Plan.of(name, ReceiverSettings(**{"url": receiver.url, "secret": SECRET, **keys}))


@pytest.mark.parametrize("direct", [True, False], ids=["file", "asked"])
async def test_endings_reach_the_receiver(tmp_path: Path, receiver: ReceivingServer, direct: bool) -> None:
    """Whether the process reads the journal's file itself, or asks for each line where only the daemon can read it."""
    desk = Desk(tmp_path, direct=direct)
    await desk.relay.start()
    await desk.end_some(2)
    await desk.office.use([plan(receiver)])
    await desk.end_some(150)
    await wait_until(lambda: len(receiver.confirmed) >= 150)
    await desk.office.settle(5.0)
    stands = await desk.journal.followers.begin("cms")
    await desk.close()

    assert [call.object for call in receiver.calls] == lines_of(desk.audit)[2:]
    assert stands == 152


async def test_a_process_that_dies_is_replaced(desk: Desk, receiver: ReceivingServer) -> None:
    """It is said, and what was not confirmed is told by the next one."""
    await desk.office.use([plan(receiver)])
    await desk.end_some(3)
    await wait_until(lambda: len(receiver.confirmed) >= 3)
    receiver.hangs = True
    await desk.end_some(2)
    assert desk.office.process_id is not None
    os.kill(desk.office.process_id, signal.SIGKILL)
    await wait_until(lambda: bool(desk.log.of(Event.NOTIFY_UNAVAILABLE)))
    receiver.stop()
    receiver.hangs = False
    receiver.start()
    desk.clock.move(10.0)
    await wait_until(lambda: receiver.numbers()[-1:] == [5])

    assert "ended (status -9)" in desk.log.of(Event.NOTIFY_UNAVAILABLE)[0]["message"]
    assert list(dict.fromkeys(receiver.numbers())) == [1, 2, 3, 4, 5]


async def test_nothing_runs_where_nobody_is_to_be_told(desk: Desk, receiver: ReceivingServer) -> None:
    """The process begins with the first receiver, and ends with the last."""
    await desk.office.use([])
    await desk.end_some(1)
    assert desk.office.process_id is None

    await desk.office.use([plan(receiver)])
    await wait_until(lambda: desk.office.process_id is not None)
    await desk.office.use([])
    assert desk.office.process_id is None

    await desk.office.use([plan(receiver)])
    await desk.end_some(1)
    await wait_until(lambda: len(receiver.confirmed) >= 1)
    assert receiver.numbers() == [2]


async def test_a_reload_tries_at_once(desk: Desk, receiver: ReceivingServer) -> None:
    """Whoever mended a receiver need not wait for the next try, which may be five minutes away."""
    receiver.answer_headers, receiver.status = {"Retry-After": "300"}, 503
    await desk.office.use([plan(receiver)])
    await desk.end_some(1)
    await wait_until(lambda: bool(desk.log.of(Event.NOTIFY_UNAVAILABLE)))
    receiver.status = 200
    await desk.office.use([plan(receiver)])
    await wait_until(lambda: len(receiver.confirmed) >= 1)

    assert [state.state for state in desk.office.states] == ["ok"]


async def test_what_was_let_go_of_is_said(desk: Desk, receiver: ReceivingServer) -> None:
    """A receiver that was away for longer than `keep` hears how many endings it will never get."""
    await desk.office.use([plan(receiver)])
    await desk.office.stop()
    await desk.end_some(4)
    desk.clock.move(1000.0)
    await desk.journal.prune(desk.clock.now())
    desk.office = desk.new_office()
    await desk.office.use([plan(receiver)])
    await desk.end_some(1)
    await wait_until(lambda: bool(desk.log.of(Event.NOTIFY_RECOVERED)))

    assert receiver.numbers() == [5]
    (said,) = desk.log.of(Event.NOTIFY_RECOVERED)
    assert (said["receiver"], said["lost"]) == ("cms", 4)


async def test_one_that_changes_goes_on_where_it_was(desk: Desk, receiver: ReceivingServer) -> None:
    """A new secret, a new address, other events: nothing is told twice for it, and nothing left out."""
    with ReceivingServer() as elsewhere:
        await desk.office.use([plan(receiver)])
        await desk.end_some(3)
        await wait_until(lambda: len(receiver.confirmed) >= 3)
        await desk.office.use([plan(elsewhere)])
        await desk.end_some(2)
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
    office = Office(None, Stuck(), RecordedLog(), MovedClock())
    ops = plan(receiver, "ops", events=("outage",))
    office.heard(Event.JOURNAL_UNAVAILABLE, {"message": "before there was anybody to tell"})
    using = asyncio.create_task(office.use([ops, plan(receiver, "cms")]))
    await wait_until(lambda: office.process_id is not None)
    office.heard(Event.JOURNAL_UNAVAILABLE, {"message": "the disk is full"})
    await wait_until(lambda: len(receiver.confirmed) >= 1)
    using.cancel()
    began = time.monotonic()
    await office.settle(1.0)
    await office.stop()

    assert time.monotonic() - began < 8
    assert [call.object["message"] for call in receiver.confirmed] == ["the disk is full"]
