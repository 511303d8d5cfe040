"""An outage of the database, said once when it begins and once when it is over, whoever of the threads meets it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from watcher.model import Event
from watcher.records.thread_jobs import call

if TYPE_CHECKING:
    import asyncio

    from watcher.ports import Clock, EventLog

STEADY_SECONDS: Final = 10.0
"""An outage that comes and goes is over when all went well for so long."""


class Outage:
    """For several threads. `loop` is where lines are written; nothing is said before there is one."""

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._well_since: float | None = None
        self._comes_and_goes = False
        self._met_by: set[str] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def lasting(self) -> bool:
        """Whether there is one now."""
        return self._since is not None

    def lasts(self, who: str, message: str, hint: str, *, comes_and_goes: bool = False) -> None:
        """`who` cannot do its work; `message` says why. `comes_and_goes`: now and then it can, and that is not the end of it."""
        with self._lock:
            self._met_by.add(who)
            self._well_since = None
            self._comes_and_goes |= comes_and_goes
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
            now = self._clock.monotonic()
            self._well_since = now if self._well_since is None else self._well_since
            if self._comes_and_goes and now - self._well_since < STEADY_SECONDS:
                return
            lasted = self._well_since - self._since
            self._since, self._well_since, self._comes_and_goes = None, None, False
        self.tell(Event.JOURNAL_RECOVERED, message="the journal can be written again", seconds=round(lasted, 3))

    def look(self) -> None:
        """Whether it is over by now, though nobody has any work. To be called now and then."""
        if self._well_since is not None:
            self.over("")

    def tell(self, event: Event, **fields: object) -> None:
        """Write a line, from any thread."""
        if self.loop is not None:
            call(self.loop, lambda: self._events.event(event, **fields))
