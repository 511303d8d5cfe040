"""The log, and who else wants to hear of its events: the metrics count them, open pages are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.log import Level, LevelledLog
    from watcher.model import Event


class ObservedLog:
    """Writes each line, then calls the observers with the event and its fields, whatever the level of the log is."""

    def __init__(self, log: LevelledLog) -> None:
        self._log = log
        self._observers: list[Callable[[Event, dict[str, Any]], None]] = []

    @property
    def level(self) -> Level:
        """The log's own."""
        return self._log.level

    @level.setter
    def level(self, level: Level) -> None:
        self._log.level = level

    def observe(self, observer: Callable[[Event, dict[str, Any]], None]) -> None:
        """Call `observer` at each event from now on, in the thread that logs it. It must be quick and never raise."""
        self._observers.append(observer)

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line; the level follows from the event."""
        self._log.event(event, **fields)
        for observer in self._observers:
            observer(event, fields)
