"""Spaces requests evenly: one host by itself, or several that share the places in time which the journal gives out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from watcher.ports import Clock

CATCH_UP_SECONDS: Final = 0.1
"""A pace that was missed for so long is made up for; longer ones are not, so that no burst breaks a rate limit."""
BLOCK_SECONDS: Final = 0.5
"""So much time one host takes places for at most: the others have theirs behind it."""


@dataclass(slots=True)
class Pace:
    """Of one host: `per_second` requests, None for as many as come."""

    per_second: float | None
    _free_at: float = float("-inf")

    def reserve(self, now: float) -> float:
        """Take the next place and give the seconds until it (zero or less: go)."""
        if self.per_second is None:
            return 0.0
        place = max(self._free_at, now - CATCH_UP_SECONDS)
        self._free_at = place + 1.0 / self.per_second
        return place - now


class SharedPace:
    """Of one host among several: places are taken for as many requests as wait, in blocks. None is given out twice."""

    def __init__(self, take: Callable[[int, float], Awaitable[float]], own: Pace, clock: Clock) -> None:
        """`take` reserves so many places of so many seconds each, for all hosts, and gives the seconds until the first.

        `own` has the limit; it paces alone where places cannot be had.
        """
        self._take = take
        self._own = own
        self._clock = clock
        self._lock = asyncio.Lock()
        self._wanted = 0
        self._left = 0
        self._next = 0.0

    async def reserve(self) -> float:
        """Take the next place and give the seconds until it (zero or less: go)."""
        per_second = self._own.per_second
        if per_second is None:
            return 0.0
        self._wanted += 1
        try:
            async with self._lock:
                if not self._left:
                    await self._take_block(per_second)
                self._left -= 1
                place, self._next = self._next, self._next + 1.0 / per_second
        except Unavailable:  # at a stop; nothing is sent without the journal
            return self._own.reserve(self._clock.monotonic())
        finally:
            self._wanted -= 1
        return place - self._clock.monotonic()

    async def _take_block(self, per_second: float) -> None:
        places = max(1, min(self._wanted, int(per_second * BLOCK_SECONDS)))
        wait = await self._take(places, 1.0 / per_second)
        self._left, self._next = places, self._clock.monotonic() + wait
