"""The log, and who else wants to hear of its events: the metrics count them, open pages are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from watcher.log import LogInFront

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.log import LevelledLog
    from watcher.model import Event


class ObservedLog(LogInFront):
    """Writes each line, then calls the observers with the event and its fields, whatever the level of the log is."""

    def __init__(self, log: LevelledLog) -> None:
        super().__init__(log)
        self._observers: list[Callable[[Event, Mapping[str, Any]], None]] = []

    def observe(self, observer: Callable[[Event, Mapping[str, Any]], None]) -> None:
        """Call `observer` at each event from now on, in the thread that logs it. It must be quick and never raise."""
        self._observers.append(observer)

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Write one line, and tell the observers."""
        self._log.write(event, fields)
        for observer in self._observers:
            observer(event, fields)
