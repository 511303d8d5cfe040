"""An alarm: set at once or for later, many settings one call."""

from __future__ import annotations

import asyncio

from tests.support.fakes import NOW, StillClock
from tests.support.settled import settled
from watcher.intake.alarm import Alarm


async def test_it_wakes_once_however_often_it_was_set() -> None:
    """Then it is silent again."""
    alarm = Alarm(StillClock())
    for _ in range(3):
        alarm.ring()
    assert alarm.is_ringing()
    await asyncio.wait_for(alarm.wait(), 5)
    assert not alarm.is_ringing()


async def test_the_earliest_time_counts() -> None:
    """A later one does not put it off."""
    clock = StillClock()
    alarm = Alarm(clock)
    alarm.ring_at(NOW + 60.0)
    alarm.ring_at(NOW + 10.0)
    alarm.ring_at(NOW + 30.0)
    await asyncio.wait_for(alarm.wait(), 5)
    await settled()
    assert clock.moment == NOW + 10.0
    assert not alarm.is_ringing()


async def test_a_time_that_is_over_wakes_at_once() -> None:
    """No time passes."""
    clock = StillClock()
    alarm = Alarm(clock)
    alarm.ring_at(NOW - 5.0)
    await asyncio.wait_for(alarm.wait(), 5)
    assert clock.moment == NOW


async def test_a_later_time_can_be_forgotten() -> None:
    """And a new one be set."""
    clock = StillClock()
    alarm = Alarm(clock)
    alarm.ring_at(NOW + 10.0)
    alarm.cancel()
    await settled()
    assert (alarm.is_ringing(), clock.moment) == (False, NOW)
    alarm.ring_at(NOW + 20.0)
    await asyncio.wait_for(alarm.wait(), 5)
    assert clock.moment == NOW + 20.0
