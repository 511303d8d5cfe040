"""Calls that a dead share may keep forever: each in a thread of its own, and given up after a while.

The threads are daemon threads, so that one that hangs keeps no process from ending. For the loop of the daemon there are the
folders' own threads (`watcher.intake.pools`); this is for what comes before it, beside it and without it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from watcher.errors import NotAnswering

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

Key = TypeVar("Key", bound="Hashable")
T = TypeVar("T")

PATIENCE_SECONDS: Final = 2.0
"""So long a call is waited for."""


class _Call(Generic[T]):
    """One call, and what came of it once `done` is set."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make it."""
        try:
            self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits for the call
            self.error = error
        finally:
            self.done.set()


_hanging: dict[Hashable, _Call[object]] = {}
"""The calls that were given up and have not come back: the same question is not asked by another thread meanwhile."""


def answered(calls: Mapping[Key, Callable[[], T]], seconds: float = PATIENCE_SECONDS) -> dict[Key, T]:
    """Make the calls at the same time; gives the results of those that came back within so many seconds.

    A call is known by its key in the whole process: one that still hangs from before is not made again. Raises what a call
    raised.
    """
    begun = {key: _begin(work) for key, work in calls.items() if not _still_hangs(key)}
    deadline = time.monotonic() + seconds
    results: dict[Key, T] = {}
    for key, call in begun.items():
        if not call.done.wait(max(0.0, deadline - time.monotonic())):
            _hanging[key] = call  # type: ignore[assignment]
        elif call.error is not None:
            raise call.error
        else:
            results[key] = call.result  # type: ignore[assignment]
    return results


def ask(what: object, work: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """One call. `what` is asked, and names it for people. Raises NotAnswering where it does not come back in time."""
    results = answered({what: work}, seconds)
    if what not in results:
        raise NotAnswering.of(what)
    return results[what]


def _begin(work: Callable[[], T]) -> _Call[T]:
    call = _Call(work)
    threading.Thread(target=call.run, name="call in time", daemon=True).start()
    return call


def _still_hangs(key: Hashable) -> bool:
    call = _hanging.get(key)
    if call is None:
        return False
    if call.done.is_set():
        del _hanging[key]
        return False
    return True


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """The same for a loop, without an end to the patience: the future has what comes of the call, whenever that is."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    call = _Call(work)

    def settle() -> None:
        if future.done():
            return
        if call.error is not None:
            future.set_exception(call.error)
        else:
            future.set_result(call.result)  # type: ignore[arg-type]

    def run() -> None:
        call.run()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=run, name="call in time", daemon=True).start()
    return future
