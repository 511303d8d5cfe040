"""The heartbeat: comes while the daemon is well, stays out when it is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.fakes import StillClock
from tests.support.settled import settled
from watcher.config.receiver_settings import ReceiverSettings
from watcher.notify.heartbeat import FRESH_SECONDS, Heartbeat
from watcher.notify.plan import ReceiverPlan
from watcher.notify.sender import NotConfirmed


class Watchdog:
    """Counts beats, and refuses them for a while; hears what is said of it."""

    def __init__(self, clock: StillClock, *, refuses: int = 0, error: Exception | None = None) -> None:
        self.clock = clock
        self.refuses = refuses
        self.error = error or NotConfirmed("no")
        self.beats: list[float] = []
        self.said: list[tuple[Any, ...]] = []

    async def beat(self) -> str:
        self.beats.append(self.clock.moment)
        if len(self.beats) <= self.refuses:
            raise self.error
        return "ok"

    async def aclose(self) -> None:
        self.said.append(("closed",))

    def unavailable(self, name: str, message: str, hint: str) -> None:
        self.said.append(("unavailable", name))

    def recovered(self, name: str, seconds: float, lost: int) -> None:
        self.said.append(("recovered", seconds))


async def run(watchdog: Watchdog, seconds: float, *, healthy: bool = True) -> None:
    """Let a heartbeat beat once a minute for so long; a daemon that is well says so all the time."""
    plan = ReceiverPlan.of("alive", ReceiverSettings(url="http://checks/uuid", heartbeat="1m"))
    heartbeat = Heartbeat(plan, watchdog, watchdog, watchdog.clock)  # type: ignore[arg-type]
    heartbeat.healthy()
    end = watchdog.clock.moment + seconds
    running = asyncio.create_task(heartbeat.run())
    while watchdog.clock.moment < end:
        if healthy:
            heartbeat.healthy()
        await settled(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_beats_at_once_and_then_every_minute() -> None:
    """As long as the daemon says that it is well."""
    watchdog = Watchdog(StillClock())
    await run(watchdog, 200.0)

    assert [round(later - before) for before, later in zip(watchdog.beats, watchdog.beats[1:], strict=False)] == [60, 60, 60]
    assert watchdog.said == [("closed",)]


async def test_it_stays_out_when_the_daemon_says_nothing() -> None:
    """Nobody has to say that something is wrong: one that is stuck cannot."""
    watchdog = Watchdog(StillClock())
    await run(watchdog, 60.0 + 2 * FRESH_SECONDS, healthy=False)

    assert len(watchdog.beats) == 1


@pytest.mark.parametrize("error", [NotConfirmed("no"), ZeroDivisionError()], ids=["refused", "a fault of ours"])
async def test_a_beat_that_is_refused_is_not_made_up_for(error: Exception) -> None:
    """The next one comes in its time; that it works again is said."""
    watchdog = Watchdog(StillClock(), refuses=2, error=error)
    await run(watchdog, 130.0)

    assert len(watchdog.beats) == 3
    assert [what[0] for what in watchdog.said] == ["unavailable", "unavailable", "recovered", "closed"]
