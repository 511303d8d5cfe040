"""Copies a journal from one engine to the other: what is known of files and the store, images, endings, cursors, pauses, plots.

A shared journal is copied for one host. Into SQLite go the endings of that host, whose audit file they are, and the images that
are open or that this host alone has ended; what lies in the store is copied whole, so that nothing is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Unavailable
from watcher.records import sightings
from watcher.records.dialect import dialect_of
from watcher.records.queries import last_seq
from watcher.records.upkeep import count_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.records.dialect import Connection

PAGE: Final = 2_000
_OURS: Final = """/*! (images.state = 'open' OR NOT EXISTS (
    SELECT 1 FROM endings WHERE endings.image_id = images.id AND endings.host <> here())) AND */"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns, those of its key, by which it is read in pages, and which of its rows are meant."""

    name: str
    columns: str
    key: str
    only: str = ""

    def rows(self, connection: Connection) -> Iterator[list[tuple[Any, ...]]]:
        """Page by page."""
        keys = self.key.split(", ")
        names = self.columns.split(", ")
        marks = ", ".join("?" for _ in keys)
        key = ", ".join(f"{self.name}.{each}" for each in keys)
        select = f"SELECT {', '.join(f'{self.name}.{each}' for each in names)} FROM {self.name}"  # noqa: S608 - words of this module
        after: tuple[Any, ...] = ()
        while True:
            behind = f"({key}) > ({marks}) AND" if after else ""
            query = f"{select} WHERE {behind} {self.only} 1 = 1 ORDER BY {key} LIMIT ?"
            rows = [tuple(row) for row in connection.execute(query, (*after, PAGE)).fetchall()]
            if not rows:
                return
            yield rows
            after = tuple(rows[-1][names.index(each)] for each in keys)

    def write(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" for _ in self.columns.split(", "))
        host = "/*! host, */ " if self.name == "endings" else ""
        here = "/*! here(), */ " if self.name == "endings" else ""
        connection.executemany(f"INSERT INTO {self.name} ({host}{self.columns}) VALUES ({here}{marks})", rows)  # noqa: S608 - words of this module


_HERE: Final = "/*! host = here() AND */"
_OF_OURS: Final = f"/*! image IN (SELECT number FROM images WHERE {_OURS.removeprefix('/*!').removesuffix('*/')} 1 = 1) AND */"  # noqa: S608 - a constant
TABLES: Final = (
    Table("rules", "digest, body", "digest"),
    Table(
        "images",
        "number, id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at, state, newest, name,"
        " sha1, bytes, format, width, height, no_formal_end, token, secret, expires_at, due_at, finished_at, outcome, ended_at,"
        " dismissed_at",
        "number",
        _OURS,
    ),
    Table(
        "outputs",
        "image, position, rendition, state, key, attempts, tries, doubt, job_id, due_at, backlog, reason",
        "image, position",
        _OF_OURS,
    ),
    Table("endings", "seq, image_id, rendition, at, event, record, prev", "seq", _HERE),
    Table("history", "number, image, at, event, rendition, detail", "number", _OF_OURS),
    Table(
        "objects",
        "bucket, key, folder, relative, sha1, rule, output_sha1, at, rendition, published, kept, newest",
        "bucket, key",
    ),
    Table(
        "files", "folder, directory, name, size, mtime_ns, ctime_ns, inode, ignored, message", "folder, directory, name", _HERE
    ),
    Table("cursors", "name, seq, hash", "name", _HERE),
    Table("pauses", "folder, at", "folder"),
    Table("hours", "hour, folder, stored, failed, bytes_in, bytes_out", "hour, folder", _HERE),
    Table("durations", "hour, step, count", "hour, step", _HERE),
)


def copy(source: Connection, target: Connection) -> dict[str, int]:
    """Fill an empty journal from another one, in one transaction. Gives how many rows of each table.

    Raises Unavailable where the target is not empty.
    """
    if target.execute("SELECT EXISTS (SELECT 1 FROM images) OR EXISTS (SELECT 1 FROM objects)").fetchone()[0]:
        raise Unavailable("the journal to copy to is not empty", "name one that is not there yet, or an empty database")
    source.execute("BEGIN /*! ISOLATION LEVEL REPEATABLE READ */")
    target.execute("BEGIN")
    try:
        target.execute("DELETE FROM cursors /*! WHERE host = here() */")
        counts = {table.name: _copy(table, source, target) for table in TABLES}
        target.execute("UPDATE outputs SET state = 'waiting', doubt = 1 WHERE state = 'requested'")
        if dialect_of(target).shared:
            _prepare_shared(target)
        count_on(target, last_seq(source))
        target.execute("COMMIT")
    except BaseException:  # half a journal is none
        target.execute("ROLLBACK")
        raise
    finally:
        source.execute("ROLLBACK")
    return counts


def _copy(table: Table, source: Connection, target: Connection) -> int:
    count = 0
    for rows in table.rows(source):
        table.write(target, rows)
        count += len(rows)
    return count


def _prepare_shared(target: Connection) -> None:
    """Numbers go on behind those that were copied, and this host sees the files of what is not finished."""
    target.execute("INSERT INTO hosts (name) VALUES (here()) ON CONFLICT DO NOTHING")
    for name in ("images", "history"):
        target.execute(
            f"SELECT setval(pg_get_serial_sequence('{name}', 'number'), coalesce(max(number), 0) + 1, false) FROM {name}"  # noqa: S608 - one of two words
        )
    query = "SELECT number, folder, relative FROM images WHERE state <> 'finished'"
    for number, _, relative in target.execute(query).fetchall():
        sightings.note_path(target, number, relative)
