"""What was heard of a watched tree until it is read, the two halves of a rename put together. Stands for watchdog's own queue.

watchdog's looks through everything that waits, twice for each file that was moved to here: of 3,000 files that are moved in at
once each costs four times what it costs when it is moved alone. Here a first half is found by the number that both halves have.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.inotify_move_event_grouper import GroupedInotifyEvent, PathedInotifyEvent


class RenameHalves:
    """Has the methods of watchdog's InotifyMoveEventGrouper. A first half waits for the other one for `delay` seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._changed = threading.Condition(threading.Lock())
        self._waiting: OrderedDict[int, tuple[GroupedInotifyEvent, float, int]] = OrderedDict()
        """In the order in which they came; with each, when it may be read (0 for at once), and its cookie."""
        self._count = 0
        self._first_halves: dict[int, tuple[int, PathedInotifyEvent]] = {}
        """By their cookie: those of them that have no other half yet."""
        self._closed = False

    def put_event(self, event: PathedInotifyEvent) -> None:
        """Add an event; a second half together with the first one, where that still waits."""
        grouped: GroupedInotifyEvent = event
        cookie, ready_at = event.ev.cookie, 0.0
        with self._changed:
            self._count += 1
            if event.ev.is_moved_from:
                self._first_halves[cookie] = self._count, event
                ready_at = time.monotonic() + self._delay
            elif event.ev.is_moved_to and cookie in self._first_halves:
                number, first = self._first_halves.pop(cookie)
                del self._waiting[number]
                grouped = first, event
            self._waiting[self._count] = grouped, ready_at, cookie
            self._changed.notify()

    def get_queued_moved_from_event(self, cookie: int) -> PathedInotifyEvent | None:
        """The first half with this cookie, where it still waits; it stays."""
        with self._changed:
            half = self._first_halves.get(cookie)
        return half[1] if half is not None else None

    def read_event(self) -> GroupedInotifyEvent | None:
        """The oldest event, as soon as it may be read; None once this is closed."""
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return None
                number, (event, ready_at, cookie) = next(iter(self._waiting.items()))
                left = ready_at - time.monotonic() if ready_at else 0.0
                if left <= 0:
                    del self._waiting[number]
                    if ready_at:
                        self._first_halves.pop(cookie, None)
                    return event
            time.sleep(left)  # its other half may take it out meanwhile

    def discard_pending_events(self) -> None:
        """Forget all: events were lost, and what these say may be wrong."""
        with self._changed:
            self._waiting.clear()
            self._first_halves.clear()

    def close(self) -> None:
        """There will be no more. Whoever reads is told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
