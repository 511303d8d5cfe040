"""An outage of the database, said once when it begins and once when it is over, whoever of the threads meets it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from watcher.model import Event
from watcher.records.thread_jobs import call

if TYPE_CHECKING:
    import asyncio

    from watcher.ports import Clock, EventLog


class Outage:
    """For several threads. `loop` is where lines are written; nothing is said before there is one."""

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._met_by: set[str] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def lasting(self) -> bool:
        """Whether there is one now."""
        return self._since is not None

    def lasts(self, who: str, message: str, hint: str) -> None:
        """`who` cannot do its work; `message` says why."""
        with self._lock:
            self._met_by.add(who)
            if self._since is not None:
                return
            self._since = self._clock.monotonic()
        self.tell(Event.JOURNAL_UNAVAILABLE, message=message, hint=hint)

    def over(self, who: str) -> None:
        """`who` can do its work. Cheap where it always could."""
        if self._since is None:
            return
        with self._lock:
            self._met_by.discard(who)
            if self._met_by or self._since is None:
                return
            lasted, self._since = self._clock.monotonic() - self._since, None
        self.tell(Event.JOURNAL_RECOVERED, message="the journal can be written again", seconds=round(lasted, 3))

    def tell(self, event: Event, **fields: object) -> None:
        """Write a line, from any thread."""
        if self.loop is not None:
            call(self.loop, lambda: self._events.event(event, **fields))
