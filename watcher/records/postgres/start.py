"""Beginning with a server that may be away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from watcher.backoff import exponential
from watcher.errors import Away
from watcher.records.threads import FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.outage import Outage

Answer = TypeVar("Answer")


async def once_there(prepare: Callable[[], Answer], outage: Outage, clock: Clock, waits: Callable[[Away], None]) -> Answer:
    """Try until the server is there. That it is not is said once, as in any outage; each try that failed is told to `waits`."""
    tries = 0
    while True:
        try:
            made = await asyncio.to_thread(prepare)
        except Away as error:
            tries += 1
            outage.lasts("start", error.message, error.hint)
            waits(error)
            await clock.sleep(exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, tries))
        else:
            outage.over("start")
            return made
