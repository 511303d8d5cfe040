"""What the changes of one batch add to the journal and none of them reads: steps of histories, and counts of what was done.

A batch writes them together at its end, in the same transaction: a few statements, however many images it is about. Outside of a
batch they are written at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from watcher.records import activity
from watcher.records.rows import record_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from watcher.records.activity import Done
    from watcher.records.dialect import Connection

Step = tuple[str, str | None, dict[str, Any]]
"""A step of an image's history: its event, its rendition, what more there is to say."""

MAX_ROWS: Final = 32
"""Rows in one statement: each number of them is a statement that is prepared once."""


class Additions:
    """What is to be added, in order."""

    def __init__(self) -> None:
        self._steps: list[tuple[Any, ...]] = []
        self._counts = activity.Counts()

    def add_steps(self, number: int, now: float, steps: Sequence[Step]) -> None:
        """Steps of the history of the image with this row number."""
        for event, rendition, detail in steps:
            self._steps.append((number, now, str(event), rendition, record_text(detail) if detail else "{}"))

    def count(self, done: Done, now: float) -> None:
        """What one change did."""
        self._counts.add(done, now)

    def write(self, connection: Connection) -> None:
        """Write it all, once."""
        steps, self._steps = self._steps, []
        counts, self._counts = self._counts, activity.Counts()
        for start in range(0, len(steps), MAX_ROWS):
            rows = steps[start : start + MAX_ROWS]
            connection.execute(_add_steps(len(rows)), [value for row in rows for value in row])
        counts.write(connection)


class Gathers:
    """A connection that can keep additions until the end of a batch."""

    additions: Additions | None = None
    """Those of the batch that is under way."""


@contextmanager
def gathered(connection: Connection) -> Iterator[None]:
    """What is added meanwhile is written at the end; where something goes wrong, not at all."""
    if not isinstance(connection, Gathers):
        yield
        return
    connection.additions = Additions()
    try:
        yield
        connection.additions.write(connection)
    finally:
        connection.additions = None


def settle(connection: Connection) -> None:
    """Write what was added so far, for a change that reads it or deletes what it belongs to."""
    if isinstance(connection, Gathers) and connection.additions is not None:
        connection.additions.write(connection)


def add_steps(connection: Connection, number: int, now: float, steps: Sequence[Step]) -> None:
    """Steps of an image's history."""
    additions = connection.additions if isinstance(connection, Gathers) else None
    if additions is not None:
        additions.add_steps(number, now, steps)
        return
    alone = Additions()
    alone.add_steps(number, now, steps)
    alone.write(connection)


def count(connection: Connection, done: Done, now: float) -> None:
    """What one change did, for the hour's counts."""
    additions = connection.additions if isinstance(connection, Gathers) else None
    if additions is not None:
        additions.count(done, now)
        return
    alone = Additions()
    alone.count(done, now)
    alone.write(connection)


@cache
def _add_steps(count: int) -> str:
    rows = ", ".join(["(?, ?, ?, ?, ?)"] * count)
    return f"INSERT INTO history (image, at, event, rendition, detail) VALUES {rows}"  # noqa: S608 - question marks
