"""An outage of the journal: said once when it begins, and once when it is over."""

from __future__ import annotations

import asyncio

from tests.support.fakes import StillClock
from tests.support.publishing import RecordedLog
from tests.support.settled import settled
from watcher.model import Event
from watcher.records.outage import Outage


async def test_whoever_meets_it_it_is_said_once() -> None:
    """It is over when all who met it can do their work again."""
    log, clock = RecordedLog(), StillClock()
    outage = Outage(log, clock)
    outage.loop = asyncio.get_running_loop()
    outage.over("reader")
    outage.lasts("writer", "the disk is full", "make room")
    outage.lasts("reader", "the disk is broken", "look at it")
    outage.lasts("writer", "the disk is full", "make room")
    clock.moment += 12.5
    outage.over("writer")
    assert outage.lasting
    outage.over("reader")
    outage.over("reader")
    assert not outage.lasting
    await settled()
    begun, over = log.lines
    assert begun == (Event.JOURNAL_UNAVAILABLE, {"message": "the disk is full", "hint": "make room"})
    assert (over[0], over[1]["seconds"]) == (Event.JOURNAL_RECOVERED, 12.5)


async def test_the_next_one_is_said_again() -> None:
    """Each by itself."""
    log = RecordedLog()
    outage = Outage(log, StillClock())
    outage.loop = asyncio.get_running_loop()
    for _ in range(2):
        outage.lasts("writer", "the disk is full", "make room")
        outage.over("writer")
    await settled()
    assert [event for event, _ in log.lines] == [Event.JOURNAL_UNAVAILABLE, Event.JOURNAL_RECOVERED] * 2


def test_before_there_is_a_loop_nothing_is_said() -> None:
    """And nothing breaks."""
    log = RecordedLog()
    outage = Outage(log, StillClock())
    outage.lasts("writer", "the disk is full", "make room")
    outage.over("writer")
    assert log.lines == []
