"""Who waits for whom: a limit on the requests in flight, and one writer a key. For one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self


class Limit:
    """A limit on how many are in at once, which may be changed while they are.

    `async with limit:` waits its turn, first come, first served.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def change(self, most: int) -> None:
        """Let so many in from now on. A smaller limit sends nobody out: whoever is in is waited for."""
        self._most = most
        self._let_in()

    async def __aenter__(self) -> Self:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was let in, and called off before it noticed
                self._leave()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._inside < self._most:
            turn = self._waiting.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)


class KeyLocks:
    """One writer a key: whoever comes later waits, in the order of coming."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    def hold(self, bucket: str, key: str) -> _Hold:
        """`async with` holds the key."""
        return _Hold(self._locks, (bucket, key))


class _Hold:
    """One who holds a key or waits for it."""

    __slots__ = ("_lock", "_locks", "_place")

    def __init__(self, locks: dict[tuple[str, str], tuple[asyncio.Lock, int]], place: tuple[str, str]) -> None:
        self._locks = locks
        self._place = place

    async def __aenter__(self) -> None:
        found = self._locks.get(self._place)
        self._lock, users = found if found is not None else (asyncio.Lock(), 0)
        self._locks[self._place] = (self._lock, users + 1)
        try:
            await self._lock.acquire()
        except BaseException:  # called off while it waited
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        _, users = self._locks[self._place]
        if users == 1:
            del self._locks[self._place]
        else:
            self._locks[self._place] = (self._lock, users - 1)
