"""What parts have to do with the daemon's life: how each is stopped, what it takes from a reload, what runs beside it."""

from __future__ import annotations

import asyncio
import inspect
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from watcher.service.tasks import Supervisor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from watcher.config.schema import Settings

PART_SECONDS: Final = 30.0
"""A part that has not stopped after so long hangs. Each gives up by itself before that."""


class Lifecycle:
    """Stops what was started, in reverse order. A part registers here while it is built."""

    def __init__(self, on_death: Callable[[str], None]) -> None:
        """`on_death` is called with the name of a task that broke."""
        self._stops = AsyncExitStack()
        self._tasks = Supervisor(on_death)
        self._reopens: list[Callable[[], Awaitable[object] | object]] = []
        self._reloads: list[Callable[[Settings], Awaitable[object] | object]] = []

    @property
    def failure(self) -> BaseException | None:
        """What broke a task, if one broke."""
        return self._tasks.failure

    def run(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task beside the rest until `end_tasks`."""
        return self._tasks.start(work, name)

    async def end_tasks(self) -> None:
        """Cancel the tasks that still run."""
        await self._tasks.end()

    def on_stop(self, stop: Callable[[], Awaitable[object] | object], patience: float | None = PART_SECONDS) -> None:
        """Call `stop` at the end, before what was registered earlier. One that hangs is left behind after so many seconds."""
        self._stops.push_async_callback(_call_in_time, stop, patience)

    def on_reopen(self, reopen: Callable[[], Awaitable[object] | object]) -> None:
        """Call `reopen` at each reload, also where the configuration is refused: for files that were renamed or replaced."""
        self._reopens.append(reopen)

    def on_reload(self, take: Callable[[Settings], Awaitable[object] | object]) -> None:
        """Call `take` with the new settings at each reload, after what was registered earlier."""
        self._reloads.append(take)

    async def stop(self) -> None:
        """Stop all parts. One that fails to stop does not keep the others from it."""
        await self._stops.aclose()

    async def reopen(self) -> None:
        """Have files opened anew."""
        for reopen in self._reopens:
            await _call(reopen)

    async def reload(self, settings: Settings) -> None:
        """Have each part take what is its own from the settings."""
        for take in self._reloads:
            await _call(take, settings)


async def _call_in_time(stop: Callable[[], Awaitable[object] | object], patience: float | None) -> None:
    try:
        async with asyncio.timeout(patience) as scope:
            await _call(stop)
    except TimeoutError:
        if not scope.expired():
            raise
        name = getattr(stop, "__qualname__", repr(stop))
        sys.stderr.write(f"compressor-watcher: a part did not stop within {patience:g} s and is left behind: {name}\n")


async def _call(function: Callable[..., Awaitable[object] | object], *arguments: object) -> None:
    result = function(*arguments)
    if inspect.isawaitable(result):
        await result
