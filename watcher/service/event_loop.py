"""The event loop of the daemon: asyncio's own, that is woken from other threads only where it sleeps.

asyncio writes a byte into a socket for each `call_soon_threadsafe`, whatever the loop does at that moment. Under load it is busy
nearly always and would come to the call anyway; but each byte is one more system call of the thread, which then has to get the
interpreter back from the loop, and two of the loop. tests/unit/service/test_event_loop.py holds each Python to what is relied on
of asyncio's insides.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class _WatchedSelector(selectors.DefaultSelector):
    """Knows whether somebody sleeps in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps = False
        self.ready: Collection[object] = ()
        """What its loop has to do without any event."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, but for none where there is something to do."""
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        self.sleeps = True
        try:
            # whoever added something before that line did not wake the loop; whoever adds something after it does
            return super().select(0 if self.ready else timeout)
        finally:
            self.sleeps = False


class DaemonLoop(asyncio.SelectorEventLoop):
    """Does what asyncio's loop does."""

    def __init__(self) -> None:
        self._watched = _WatchedSelector()
        super().__init__(self._watched)
        self._watched.ready = self._ready  # type: ignore[attr-defined]

    def _write_to_self(self) -> None:
        """Called by asyncio, from any thread, when something was added to what is ready."""
        if self._watched.sleeps:
            self._watched.sleeps = False  # it wakes now: once is enough
            super()._write_to_self()  # type: ignore[misc]
