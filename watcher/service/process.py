"""The process around the daemon: its event loop, and what the machine must have."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Unavailable
from watcher.service.event_loop import DaemonLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

YOUNG_OBJECTS: Final = 20_000
"""So many new objects are made before the collector looks for cycles among them; each image makes some thousand, and hardly any
cycle. Python's own measure is 700."""


def run_to_the_end(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine in a loop of its own. Unlike `asyncio.run` it does not wait for threads that hang in a disk or a share."""
    loop = DaemonLoop()
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


def spare_collector() -> None:
    """What is there once everything is started stays: the collector passes it by, and looks at what is new less often."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def require_proc() -> None:
    """Raises Unavailable where /proc is missing: files are told apart and served through it."""
    if not os.path.lexists("/proc/self/fd"):
        raise Unavailable("/proc is not mounted", "mount it: mount -t proc proc /proc (a container or chroot has to give it)")
