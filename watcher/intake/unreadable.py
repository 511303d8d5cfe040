"""What is said of files and directories that cannot be read: the first ones are named, the others counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.model import Event, FileRef, IgnoredReason

if TYPE_CHECKING:
    from watcher.ports import EventLog

NAMED: Final = 50
"""So many are named in the log; `list --state ignored` shows all."""


class UnreadableWords:
    """Those about one folder."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._named = 0
        self._others = 0

    def say(self, file: FileRef, message: str) -> None:
        """One that could be read before, or was not seen before."""
        if self._named >= NAMED:
            self._others += 1
            return
        self._named += 1
        self._event(file, message)

    def scanned(self, folder: FileRef, *, all_readable: bool) -> None:
        """After a scan: how many were not named. When all can be read, the next ones are named again."""
        if self._others:
            self._event(folder, f"{self._others} more files or folders cannot be read; `list --state ignored` shows files")
        self._others = 0
        if all_readable:
            self._named = 0

    def _event(self, file: FileRef, message: str) -> None:
        self._events.event(Event.IMAGE_IGNORED, **file.fields(), reason=IgnoredReason.UNREADABLE, message=message)
