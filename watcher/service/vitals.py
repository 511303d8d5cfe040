"""Signs of life for the service manager's watchdog: given while every part moves, withheld while one is stuck."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.ports import Clock
    from watcher.service.systemd import Notifier

Check = Callable[[], bool | Awaitable[bool]]
"""Whether a part moves. One that does not answer in time does not."""


class Vitals:
    """Asks the parts in turn, in the loop that is itself one of them: a stuck loop gives no sign either."""

    def __init__(self, parts: Mapping[str, Check], notifier: Notifier, clock: Clock) -> None:
        """`parts`: what has to move, by a name for people."""
        self._parts = parts
        self._notifier = notifier
        self._clock = clock
        self._told: list[str] = []

    async def keep_giving(self) -> None:
        """Give a sign of life as often as the manager wants one, as long as nothing is stuck. Ends at once if it wants none."""
        while interval := self._notifier.watchdog_interval:
            stuck = await self.stuck(interval)
            if not stuck:
                self._notifier.alive()
            self._tell(stuck)
            await self._clock.sleep(interval)

    async def stuck(self, patience: float) -> list[str]:
        """The parts that do not move, or do not say so within `patience` seconds, all together."""
        answers = await asyncio.gather(*(_moves(check, patience) for check in self._parts.values()))
        return [name for name, moves in zip(self._parts, answers, strict=True) if not moves]

    def _tell(self, stuck: list[str]) -> None:
        """Say on standard error which parts are stuck, once: the restart that follows would not tell."""
        if stuck != self._told:
            self._told = stuck
            what = f"stuck: {', '.join(stuck)}; no sign of life goes to the watchdog" if stuck else "everything moves again"
            print(f"compressor-watcher: {what}", file=sys.stderr, flush=True)  # noqa: T201 - for people; no event of the log's catalogue


async def _moves(check: Check, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            answer = check()
            return await answer if inspect.isawaitable(answer) else answer
    except TimeoutError:
        return False
