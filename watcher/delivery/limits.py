"""Who waits for whom: a limit on the requests in flight, and one writer a key. For one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from watcher.model import FileRef, Subtree

LOOK_SECONDS: Final = 0.2
"""Between two looks at whether those who are in are held up, while others wait."""


class Limit:
    """A limit on how many are in at once, which may be changed while they are.

    `async with limit.hold(file):` waits its turn, first come, first served. Whoever is in for a file that is not available at the
    moment, since its share hangs, does not count: others are let in beyond the limit meanwhile.
    """

    def __init__(self, most: int, out_of_reach: Callable[[], Collection[Subtree]] = tuple) -> None:
        """`out_of_reach` says what is not available now; it is asked every LOOK_SECONDS while anybody waits."""
        self._most = most
        self._out_of_reach = out_of_reach
        self._inside: set[_Turn] = set()
        self._waiting: deque[_Turn] = deque()
        self._held_up = False
        self._timer: asyncio.TimerHandle | None = None

    def change(self, most: int) -> None:
        """Let so many in from now on. A smaller limit sends nobody out: whoever is in is waited for."""
        self._most = most
        self._let_in()

    def hold(self, file: FileRef) -> _Turn:
        """`async with` waits for a turn, and has it."""
        return _Turn(self, file)

    def look(self) -> None:
        """Let others in for those who are held up, but nobody who would be held up as well."""
        away = self._out_of_reach()
        held_up = sum(1 for turn in self._inside if turn.is_in(away))
        self._held_up = held_up > 0
        room = self._most + held_up - len(self._inside)
        if held_up and room > 0:
            able = [turn for turn in self._waiting if not turn.is_in(away)]
            for turn in able[:room]:
                self._waiting.remove(turn)
                self._admit(turn)

    def _tick(self) -> None:
        self._timer = None
        self.look()
        self._let_in()

    def come(self, turn: _Turn) -> None:
        """One more waits."""
        self._waiting.append(turn)
        self._let_in()

    def leave(self, turn: _Turn) -> None:
        """It is not here any more, neither in nor waiting."""
        if turn in self._inside:
            self._inside.remove(turn)
        else:
            with suppress(ValueError):
                self._waiting.remove(turn)
        if self._held_up:
            self.look()
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._inside) < self._most:
            self._admit(self._waiting.popleft())
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._tick)

    def _admit(self, turn: _Turn) -> None:
        if not turn.begun.done():  # else it was called off a moment ago
            self._inside.add(turn)
            turn.begun.set_result(None)


class _Turn:
    """One who is in, or waits for it, because of a file."""

    __slots__ = ("_file", "_limit", "begun")

    def __init__(self, limit: Limit, file: FileRef) -> None:
        self._limit = limit
        self._file = file
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def is_in(self, away: Collection[Subtree]) -> bool:
        """Whether its file lies in one of these."""
        return any(subtree.holds(self._file) for subtree in away)

    async def __aenter__(self) -> None:
        self._limit.come(self)
        try:
            await self.begun
        except asyncio.CancelledError:  # also where it was let in, and called off before it noticed
            self._limit.leave(self)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._limit.leave(self)


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
