"""What was done hour by hour: kept beside the endings, so that a month of a million images is drawn from a few thousand rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.shown.hours import Hour, duration_step

if TYPE_CHECKING:
    from watcher.model import Record
    from watcher.records.dialect import Connection

HOUR_SECONDS: Final = 3600
KEEP_HOURS: Final = 24 * 62
"""Two months: the plots show one."""
_DURATIONS: Final = "SELECT hour, step, CAST(sum(count) AS BIGINT) FROM durations WHERE hour >= ? GROUP BY hour, step"
_HOURS: Final = """
SELECT hour, CAST(sum(stored) AS BIGINT), CAST(sum(failed) AS BIGINT), CAST(sum(bytes_in) AS BIGINT),
       CAST(sum(bytes_out) AS BIGINT) FROM hours
WHERE hour >= ? GROUP BY hour ORDER BY hour
"""
_ADD_HOUR: Final = """
INSERT INTO hours (hour, folder, stored, failed, bytes_in, bytes_out) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (hour, folder /*!, host */) DO UPDATE SET
stored = hours.stored + excluded.stored, failed = hours.failed + excluded.failed,
bytes_in = hours.bytes_in + excluded.bytes_in, bytes_out = hours.bytes_out + excluded.bytes_out
"""
_ADD_DURATION: Final = """
INSERT INTO durations (hour, step, count) VALUES (?, ?, ?)
ON CONFLICT (hour, step /*!, host */) DO UPDATE SET count = durations.count + excluded.count
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What one change did in a folder: bytes that a stored output took and gave, and how an image ended as a whole, if it did."""

    folder: str
    bytes_in: int = 0
    bytes_out: int = 0
    outcome: str = ""
    seconds: float = 0.0

    @classmethod
    def of_output(cls, record: Record) -> Done:
        """What a stored output took and gave; nothing where the size of the output is not known."""
        size, saved = record["output"].get("size"), record.get("saved_bytes")
        if size is None or saved is None:
            return cls(record["folder"])
        return cls(record["folder"], size + saved, size)

    def with_image(self, outcome: str, seconds: float) -> Done:
        """The same, and its image ended so, after so many seconds."""
        return replace(self, outcome=outcome, seconds=seconds)


class Counts:
    """What several changes did, summed up."""

    def __init__(self) -> None:
        self._hours: dict[tuple[int, str], list[int]] = {}
        self._durations: dict[tuple[int, int], int] = {}

    def add(self, done: Done, now: float) -> None:
        """Count it, and how long an image took that was stored."""
        stored, failed, hour = done.outcome == "stored", done.outcome == "failed", _hour(now)
        if stored or failed or done.bytes_in or done.bytes_out:
            sums = self._hours.setdefault((hour, done.folder), [0, 0, 0, 0])
            for place, value in enumerate((stored, failed, done.bytes_in, done.bytes_out)):
                sums[place] += value
        if stored:
            duration = (hour, duration_step(done.seconds))
            self._durations[duration] = self._durations.get(duration, 0) + 1

    def write(self, connection: Connection) -> None:
        """Add them to those of their hours."""
        for place, sums in self._hours.items():
            connection.execute(_ADD_HOUR, (*place, *sums))
        for duration, count in self._durations.items():
            connection.execute(_ADD_DURATION, (*duration, count))


def hours_since(connection: Connection, since: float) -> list[Hour]:
    """What was done from the hour of `since` (Unix seconds) on, oldest first; hours in which nothing was done are left out."""
    first = _hour(since)
    steps: dict[int, dict[int, int]] = {}
    for hour, step, count in connection.execute(_DURATIONS, (first,)):
        steps.setdefault(hour, {})[step] = count
    return [
        Hour(hour * HOUR_SECONDS, stored, failed, bytes_in, bytes_out, steps.get(hour, {}))
        for hour, stored, failed, bytes_in, bytes_out in connection.execute(_HOURS, (first,))
    ]


def prune_hours(connection: Connection, now: float) -> None:
    """Let go of hours that no plot shows any more."""
    for table in ("hours", "durations"):
        connection.execute(f"DELETE FROM {table} WHERE hour < ?", (_hour(now) - KEEP_HOURS,))  # noqa: S608 - one of two words


def _hour(at: float) -> int:
    return int(at // HOUR_SECONDS)
