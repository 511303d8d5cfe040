"""A limit on how many are in at once, which may be changed while they are."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self


class Limit:
    """`async with limit:` waits its turn, first come, first served. For one event loop."""

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
