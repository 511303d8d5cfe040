"""Files that no image was made of: those that are waited for since they are not whole, and those that are ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from watcher.model import Unfinished


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file in a folder; `since` is when the wait for it began (Unix seconds), None for one that is ignored."""

    folder: str
    relative: bytes
    size: int
    reason: str
    message: str
    since: float | None = None


def wait_for(connection: sqlite3.Connection, folder: str, files: Mapping[bytes, Unfinished], over: Collection[bytes]) -> None:
    """See `Journal.wait_for`."""
    connection.executemany("DELETE FROM waiting WHERE folder = ? AND relative = ?", [(folder, relative) for relative in over])
    connection.executemany(
        """INSERT INTO waiting (folder, relative, size, since, reason, message) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (folder, relative)
           DO UPDATE SET size = excluded.size, reason = excluded.reason, message = excluded.message""",
        [(folder, relative, each.size, each.since, each.reason, each.message) for relative, each in files.items()],
    )


def waiting(connection: sqlite3.Connection, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
    """The files that are waited for, those that wait longest first; `limit` -1 is all."""
    query = """SELECT folder, relative, size, reason, message, since FROM waiting
               WHERE ?1 IS NULL OR folder = ?1 ORDER BY since, relative LIMIT ?2"""
    return [WatchedFile(*row) for row in connection.execute(query, (folder, limit))]


def ignored(connection: sqlite3.Connection, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
    """The files that lie there and are not taken for what they are, by folder and path; `limit` -1 is all."""
    query = """SELECT folder, directory, name, size, ignored, ifnull(message, '') FROM files
               WHERE ignored IS NOT NULL AND (?1 IS NULL OR folder = ?1) ORDER BY folder, directory, name LIMIT ?2"""
    rows = connection.execute(query, (folder, limit))
    return [WatchedFile(place, above + b"/" + name if above else name, *rest) for place, above, name, *rest in rows]


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """How many files are waited for, and how many are ignored."""
    (waits,) = connection.execute("SELECT count(*) FROM waiting").fetchone()
    (leaves,) = connection.execute("SELECT count(*) FROM files WHERE ignored IS NOT NULL").fetchone()
    return int(waits), int(leaves)
