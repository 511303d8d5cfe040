"""The real clock; everything else is given one."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `watcher.ports.Clock`."""

    def __init__(self) -> None:
        self._ahead = float("-inf")
        """By how much the furthest time that was ever shown is ahead of the monotonic one."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def steady(self) -> float:
        """Unix seconds that never go back, whatever is done to the clock."""
        monotonic = time.monotonic()
        self._ahead = max(self._ahead, time.time() - monotonic)
        return monotonic + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
