"""An event that can be set at once or for a later time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.ports import Clock


class Alarm:
    """Wakes one waiter. Many settings before it comes are one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self._sleeper: asyncio.Task[None] | None = None
        self._rings_at = float("inf")

    def ring(self) -> None:
        """Wake now."""
        self._event.set()

    def ring_at(self, when: float) -> None:
        """Wake at a time (monotonic seconds), if no earlier one is set."""
        if when < self._rings_at:
            self.cancel()
            self._rings_at = when
            self._sleeper = asyncio.create_task(self._sleep(when))

    def is_ringing(self) -> bool:
        """Whether a waiter would not have to wait."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Until it rings; after that it is silent again."""
        await self._event.wait()
        self._event.clear()

    def cancel(self) -> None:
        """Forget the later time."""
        if self._sleeper is not None:
            self._sleeper.cancel()
            self._sleeper = None
        self._rings_at = float("inf")

    async def _sleep(self, when: float) -> None:
        await self._clock.sleep(max(0.0, when - self._clock.monotonic()))
        self._rings_at = float("inf")
        self._sleeper = None
        self._event.set()
