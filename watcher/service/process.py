"""The process around the daemon: its event loop, and what the machine must have."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from watcher.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Coroutine


def run_to_the_end(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in a loop of its own. Unlike `asyncio.run` it does not wait for threads that hang in a disk or a share."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        _cancel_all(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def require_proc() -> None:
    """Raises Unavailable where /proc is missing: files are told apart and served through it."""
    if not os.path.lexists("/proc/self/fd"):
        raise Unavailable("/proc is not mounted", "mount it: mount -t proc proc /proc (a container or chroot has to give it)")
