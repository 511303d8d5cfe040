"""Files that no image was made of: those that are waited for since they are not whole, and those that are ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.model import IgnoredReason

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from watcher.model import Unfinished
    from watcher.records.dialect import Connection


ALL: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A file in a folder; `since` is when the wait for it began (Unix seconds), None for one that is ignored."""

    folder: str
    relative: bytes
    size: int
    reason: str
    message: str
    since: float | None = None


def wait_for(connection: Connection, folder: str, files: Mapping[bytes, Unfinished], over: Collection[bytes]) -> None:
    """See `Journal.wait_for`."""
    statement = "DELETE FROM waiting WHERE /*! host = here() AND */ folder = ? AND relative = ?"
    connection.executemany(statement, [(folder, relative) for relative in over])
    connection.executemany(
        """INSERT INTO waiting (folder, relative, size, since, reason, message) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (folder, relative /*!, host */)
           DO UPDATE SET size = excluded.size, reason = excluded.reason, message = excluded.message""",
        [(folder, relative, each.size, each.since, each.reason, each.message) for relative, each in files.items()],
    )


def waiting(connection: Connection, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
    """The files that are waited for, those that wait longest first; `limit` -1 is all."""
    query = """SELECT folder, relative, size, reason, message, /*! min( */ since /*! ) */ FROM waiting
               WHERE CAST(:folder AS TEXT) IS NULL OR folder = :folder
               /*! GROUP BY folder, relative, size, reason, message */
               ORDER BY /*! min( */ since /*! ) */, relative LIMIT :limit"""
    return [WatchedFile(*row) for row in connection.execute(query, _bounds(folder, limit))]


def ignored(connection: Connection, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
    """The files that lie there and are not taken for what they are, by folder and path; `limit` -1 is all."""
    query = """SELECT /*! DISTINCT ON (folder, directory, name) */
               folder, directory, name, size, ignored, coalesce(message, '') FROM files
               WHERE ignored IS NOT NULL AND (CAST(:folder AS TEXT) IS NULL OR folder = :folder)
               ORDER BY folder, directory, name LIMIT :limit"""
    rows = connection.execute(query, _bounds(folder, limit))
    return [WatchedFile(place, above + b"/" + name if above else name, *rest) for place, above, name, *rest in rows]


def counts(connection: Connection) -> tuple[int, int]:
    """How many files are waited for, and how many are ignored."""
    (waits,) = connection.execute(
        "SELECT count(*) FROM (SELECT /*! DISTINCT */ folder, relative FROM waiting) AS seen"
    ).fetchone()
    (leaves,) = connection.execute(
        "SELECT count(*) FROM (SELECT /*! DISTINCT */ folder, directory, name FROM files WHERE ignored IS NOT NULL) AS seen"
    ).fetchone()
    return int(waits), int(leaves)


def unreadable(connection: Connection) -> int:
    """How many of the ignored files could not be read."""
    query = """SELECT count(*) FROM (
                   SELECT /*! DISTINCT */ folder, directory, name FROM files WHERE ignored IS NOT NULL AND ignored = ?
               ) AS seen"""
    return int(connection.execute(query, (str(IgnoredReason.UNREADABLE),)).fetchone()[0])


def _bounds(folder: str | None, limit: int) -> dict[str, object]:
    return {"folder": folder, "limit": limit if limit >= 0 else ALL}
