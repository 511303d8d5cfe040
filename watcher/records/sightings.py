"""Which host sees a file, and as what: where several share a journal, a file may show other times and inodes on each of them.

Functions of a connection. On SQLite there is one host, and an observation is all there is to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from watcher.records.dialect import dialect_of
from watcher.records.rows import observation_values, split_path

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.model import FileRef, Sighting
    from watcher.records.dialect import Connection


@dataclass(frozen=True, slots=True)
class HostFolder:
    """A folder as one host has it: where it is, and what becomes of originals there."""

    root: Path
    on_success: str = "keep"
    on_failure: str = "keep"


_NOTE: Final = """
INSERT INTO seen (image, host, ctime_ns, inode)
SELECT images.number, files.host, files.ctime_ns, files.inode FROM images JOIN files
ON files.folder = images.folder AND files.size = images.size AND files.mtime_ns = images.mtime_ns
WHERE images.number = ? AND images.state <> 'finished' AND files.directory = ? AND files.name = ?
ON CONFLICT (image, host) DO UPDATE SET ctime_ns = excluded.ctime_ns, inode = excluded.inode
"""


def is_same(connection: Connection, newest: tuple[Any, ...], sighting: Sighting) -> bool:
    """Whether a path's newest image, by its observation, is the version that was sighted.

    Another mount of one tree may show another inode or ctime: where this host learns of a version only now, size and mtime tell.
    """
    observed = observation_values(sighting.observation)
    if newest == observed:
        return True
    if not dialect_of(connection).shared or newest[:2] != observed[:2]:
        return False
    query = "SELECT size, mtime_ns FROM files WHERE host = here() AND folder = ? AND directory = ? AND name = ?"
    known = connection.execute(query, (sighting.file.folder, *split_path(sighting.file.relative))).fetchone()
    return known is None or tuple(known) != observed[:2]


def note(connection: Connection, number: int, file: FileRef) -> None:
    """Note as what each host that knows this version of the file sees it: those are the ones that can deliver it."""
    note_path(connection, number, file.relative)


def note_path(connection: Connection, number: int, relative: bytes) -> None:
    """The same, by the path inside the folder."""
    connection.execute(_NOTE, (number, *split_path(relative)))
