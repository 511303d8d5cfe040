"""An outage of the journal: said once when it begins, and once when it is over."""

from __future__ import annotations

import asyncio

from tests.support.fakes import StillClock
from tests.support.publishing import RecordedLog
from tests.support.settled import settled
from watcher.model import Event
from watcher.records.outage import STEADY_SECONDS, Outage


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


async def test_one_that_comes_and_goes_is_said_once() -> None:
    """What goes through on a full disk ends nothing before all went well for a while; the time without is not counted."""
    log, clock = RecordedLog(), StillClock()
    outage = Outage(log, clock)
    outage.loop = asyncio.get_running_loop()
    for _ in range(3):
        outage.lasts("writer", "the disk is full", "make room", comes_and_goes=True)
        clock.moment += 1.0
        outage.over("writer")
        clock.moment += STEADY_SECONDS - 0.5
        outage.look()
        assert outage.lasting
    clock.moment += 0.5
    outage.look()
    assert not outage.lasting
    await settled()
    begun, over = log.lines
    assert (begun[0], over[0]) == (Event.JOURNAL_UNAVAILABLE, Event.JOURNAL_RECOVERED)
    assert over[1]["seconds"] == 3.0 + 2 * (STEADY_SECONDS - 0.5)


async def test_one_that_comes_and_goes_does_not_make_the_next_one_last() -> None:
    """Another reason ends when it ends."""
    log, clock = RecordedLog(), StillClock()
    outage = Outage(log, clock)
    outage.lasts("writer", "the disk is full", "make room", comes_and_goes=True)
    outage.over("writer")
    clock.moment += STEADY_SECONDS
    outage.over("writer")
    outage.lasts("writer", "nobody answers", "look at it")
    outage.over("writer")
    assert not outage.lasting


def test_before_there_is_a_loop_nothing_is_said() -> None:
    """And nothing breaks."""
    log = RecordedLog()
    outage = Outage(log, StillClock())
    outage.lasts("writer", "the disk is full", "make room")
    outage.over("writer")
    assert log.lines == []
