"""What the records ask of a database, and the few words in which the two engines differ.

The statements are written once, in SQLite's words. What only PostgreSQL needs stands in comments that SQLite does not read,
`/*! host = here() AND */`; its connection takes them out of the comments (postgres/adapter.py). What cannot be said so is a
field of `Dialect`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Rows(Protocol):
    """What a statement gave. It is read once."""

    @property
    def rowcount(self) -> int:
        """How many rows a change touched."""

    def fetchone(self) -> Any:
        """The next row; None behind the last one."""

    def fetchall(self) -> list[Any]:
        """All that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Row by row."""


class Connection(Protocol):
    """A connection to either engine, for one thread. sqlite3.Connection is one."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Rows:
        """Run a statement."""

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows:
        """Run a statement with each of these."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an engine says in its own words."""

    among: str
    """`IN` a set of values that is one parameter."""
    pack: Callable[[Sequence[Any]], Any]
    """That parameter."""
    each: str
    """The elements of a list in JSON, one parameter, as rows with a column `value`."""
    version: str
    """A number that is another one where anybody has changed the journal since."""
    part_of_path: str
    """Whether a text, one parameter, is anywhere in `relative`, in capitals or not."""
    last_seq: str
    """The number of the newest ending there ever was."""
    count_on: tuple[str, ...]
    """Have the next ending get a number above :seq; each further statement where the one before changed nothing."""
    add_ending: str
    """An ending with the next number, from (image id, rendition, at, event, record)."""
    shared: bool = False
    """Whether several hosts have one journal."""


SQLITE: Final = Dialect(
    among="IN (SELECT value FROM json_each(?))",
    pack=lambda values: json.dumps(list(values)),
    each="json_each(?) AS each",
    version="PRAGMA data_version",
    part_of_path="instr(lower(CAST(relative AS TEXT)), lower(?)) > 0",
    last_seq="SELECT seq FROM sqlite_sequence WHERE name = 'endings'",
    count_on=(
        "UPDATE sqlite_sequence SET seq = max(seq, :seq) WHERE name = 'endings'",
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('endings', :seq)",
    ),
    add_ending="INSERT INTO endings (image_id, rendition, at, event, record) VALUES (?, ?, ?, ?, ?)",
)


def dialect_of(connection: Connection) -> Dialect:
    """The words of the engine behind a connection."""
    found: Dialect = getattr(connection, "dialect", SQLITE)
    return found
