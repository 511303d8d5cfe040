"""Work handed from the event loop to a thread, and answers handed back: one wake-up of the loop for many of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from watcher.records.dialect import Connection

Answer = TypeVar("Answer")


class Connected(Protocol):
    """Has a function of the connection called in the thread that owns it, and gives its answer."""

    def __call__(self, work: Callable[[Connection], Answer], /) -> Awaitable[Answer]:
        """What the function gave; a change is durable by then."""


@dataclass(slots=True)
class ThreadJob:
    """What is to be done with the connection, who waits for it, and how it went."""

    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    made: Callable[[], None] | None = None
    """Called in the loop once the work is done well, whether or not anybody still waits for it."""
    result: Any = None
    error: BaseException | None = None


def deliver(jobs: Iterable[ThreadJob]) -> None:
    """Tell everybody, from the thread, how their job went."""
    by_loop: dict[asyncio.AbstractEventLoop, list[ThreadJob]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, theirs in by_loop.items():
        call(loop, _resolver(theirs))


def _resolver(jobs: list[ThreadJob]) -> Callable[[], None]:
    def resolve() -> None:
        for job in jobs:
            if job.made is not None and job.error is None:
                job.made()
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    return resolve


def call(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Have the loop call something; a loop that is closed is left alone."""
    if loop.is_closed():
        return
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        # the loop was closed in between: what was asked for is done, and nobody waits for the word any more
        return
