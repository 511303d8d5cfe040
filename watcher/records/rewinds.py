"""When a journal learns from the audit file what it lacks, and when lines are written there: never both at once, nor in disorder.

A server that took over may lack endings that were read from the last one. Of a line that is written into the audit file after the
journal has looked there, the journal knows nothing: it would give the line's number away a second time.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from watcher.errors import NotAnswering
from watcher.records.audit_file import Disturbed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANG_SECONDS: Final = 10.0
"""So long lines that are being written are waited for."""


class Rewinds:
    """Shared by the thread that makes changes and the one that writes the audit file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0
        """How often the journal may have been set back. What was read under another count is worth nothing. From any thread."""

    def note(self) -> None:
        """The journal is at another server from now on. For the thread that makes changes."""
        self.count += 1

    @contextmanager
    def learning(self, audit: Path | None, patience: float = HANG_SECONDS) -> Iterator[None]:
        """The journal may look at the audit file: nothing is being written there. The same thread's. Raises NotAnswering."""
        self.note()
        if not self._lock.acquire(timeout=patience):
            raise NotAnswering.of(f"the audit file {audit}")
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def writing(self, count: int) -> Iterator[None]:
        """Lines that were read under this count may be written. Raises Disturbed where they are to be read again."""
        with self._lock:
            if count != self.count:
                raise Disturbed
            yield
