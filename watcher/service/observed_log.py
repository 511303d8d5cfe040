"""The log, and who else wants to hear of its events: the metrics count them, open pages are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from watcher.log import LogInFront

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.log import LevelledLog
    from watcher.model import Event


class ObservedLog(LogInFront):
    """Writes each line, then calls the observers with the event and its fields, whatever the level of the log is."""

    def __init__(self, log: LevelledLog) -> None:
        super().__init__(log)
        self._observers: list[Callable[[Event, dict[str, Any]], None]] = []

    def observe(self, observer: Callable[[Event, dict[str, Any]], None]) -> None:
        """Call `observer` at each event from now on, in the thread that logs it. It must be quick and never raise."""
        self._observers.append(observer)

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line; the level follows from the event."""
        self._log.event(event, **fields)
        for observer in self._observers:
            observer(event, fields)
