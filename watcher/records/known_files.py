"""What is known of the files in the folders: what scans compare with. Called by the writer inside a transaction, free of I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.records.rows import observation_values, split_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.model import FileRef, IgnoredReason, Observation, Stamp
    from watcher.records.dialect import Connection

REMEMBER: Final = """
INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode, ignored, message) VALUES {rows}
ON CONFLICT (folder, directory, name /*!, host */) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
ctime_ns = excluded.ctime_ns, inode = excluded.inode, ignored = excluded.ignored, message = excluded.message
"""
"""Over rows of these nine values."""
_REMEMBER_ONE: Final = REMEMBER.format(rows="(?, ?, ?, ?, ?, ?, ?, ?, ?)")


def remember(
    connection: Connection, file: FileRef, observation: Observation, ignored: IgnoredReason | None, message: str = ""
) -> None:
    """What scans compare with; and why it is ignored, if it is, with a message for people."""
    connection.execute(
        _REMEMBER_ONE,
        (
            file.folder,
            *split_path(file.relative),
            *observation_values(observation),
            None if ignored is None else str(ignored),
            message or None,
        ),
    )


def forget(connection: Connection, folder: str, versions: Mapping[bytes, Stamp]) -> None:
    """These versions are no longer in the tree; a later one that was taken meanwhile stays known."""
    connection.executemany(
        """DELETE FROM files WHERE /*! host = here() AND */ folder = ? AND directory = ? AND name = ?
           AND (size, mtime_ns, ctime_ns, inode & 9223372036854775807) = (?, ?, ?, ?)""",
        [(folder, *split_path(relative), *version) for relative, version in versions.items()],
    )


def forget_version(connection: Connection, number: int) -> None:
    """The version is no longer cared for. A directory that is moved away and back brings it back with nothing changed."""
    query = "SELECT folder, relative, size, mtime_ns, ctime_ns, inode FROM images WHERE number = ?"
    folder, relative, *observation = connection.execute(query, (number,)).fetchone()
    connection.execute(
        "DELETE FROM files WHERE folder = ? AND directory = ? AND name = ?"  # whichever host knows it, and as what
        " AND size = ? AND mtime_ns = ? AND (ctime_ns = ? AND inode = ? /*! OR true */)",
        (folder, *split_path(relative), *observation),
    )
