"""An event log that keeps what it is told, for checks that run parts of the daemon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from watcher.log import Level
    from watcher.model import Event, Record


class RecordingLog:
    """Implements `watcher.ports.EventLog` and `log.LevelledLog`; `lines` holds (event, fields). For one event loop."""

    def __init__(self) -> None:
        self.level: Level = "debug"
        self.lines: list[tuple[Event, Record]] = []
        self._more = asyncio.Event()

    def event(self, event: Event, **fields: Any) -> None:
        """Keep one line."""
        self.write(event, fields)

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """As above."""
        self.lines.append((event, dict(fields)))
        self._more.set()

    def written(self) -> None:
        """Each line is kept when `event` returns."""

    def of(self, event: Event) -> list[Record]:
        """The fields of every line of this event."""
        return [fields for each, fields in self.lines if each is event]

    async def until(self, enough: Callable[[Sequence[tuple[Event, Record]]], bool]) -> None:
        """Wait until the lines are enough."""
        while not enough(self.lines):
            self._more.clear()
            await self._more.wait()
