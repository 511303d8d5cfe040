"""Stored images that may have to be made anew: what lies in the store of each file, and how they get back into the queue.

Functions of a connection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from watcher.records import image_rows, taking
from watcher.records.rows import known_of, load_images, split_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from watcher.model import Image, Known, Sighting
    from watcher.records.dialect import Connection

_COUNTS: Final = "folder = ? AND newest = 1 AND relative > ?"
_LAST_OF_PAGE: Final = f"SELECT relative FROM objects WHERE {_COUNTS} ORDER BY relative LIMIT 1 OFFSET ?"  # noqa: S608 - constants
_OF_FOLDER: Final = f"SELECT relative, rendition, key, rule, kept, at, sha1, published FROM objects WHERE {_COUNTS}"  # noqa: S608 - constants
_FORGET_RULE: Final = """
UPDATE objects SET rule = '' WHERE folder = ? AND relative = ? AND newest = 1 AND rendition IS NOT DISTINCT FROM ?
"""


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output that lies in the store: under which rule it was made (None: not known), at which key, since when."""

    rendition: str | None
    key: str
    rule: str | None
    at: float
    kept: bool
    """Whether its original was to stay in its folder."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of which something lies in the store."""

    folder: str
    relative: bytes
    known: Known | None
    """What scans know of it; None where it is not in its folder."""
    number: int | None
    image: Image | None
    """The newest image of it, and its row number; None where that has left the journal."""
    outputs: tuple[StoredOutput, ...]

    def output(self, rendition: str | None) -> StoredOutput | None:
        """One of its outputs, where that lies in the store."""
        return next((each for each in self.outputs if each.rendition == rendition), None)


@dataclass(frozen=True, slots=True)
class Again:
    """What to take again. `replaces` is the row number of its newest image; `anew`: also what is in the store already."""

    sighting: Sighting
    replaces: int | None
    anew: bool


def page(connection: Connection, folder: str, after: bytes, limit: int) -> tuple[list[StoredFile], bytes | None]:
    """The files of a folder of which something lies in the store, by their paths: those of the next `limit` outputs.

    Gives where the page ends; None where nothing follows.
    """
    last = connection.execute(_LAST_OF_PAGE, (folder, after, limit - 1)).fetchone()
    bound: tuple[Any, ...] = () if last is None else (last[0],)
    query = f"{_OF_FOLDER}{' AND relative <= ?' if bound else ''} ORDER BY relative"
    outputs: dict[bytes, list[StoredOutput]] = {}
    for relative, rendition, key, rule, kept, at, sha1, published in connection.execute(query, (folder, after, *bound)):
        made_under = rule if sha1 else ""  # a request that failed may have put something else there
        outputs.setdefault(bytes(relative), []).append(
            StoredOutput(rendition, key, made_under, _stored_at(published, at), bool(kept))
        )
    newest = _newest(connection, folder, outputs)
    files = []
    for relative, found in outputs.items():
        number, image = newest.get(relative, (None, None))
        files.append(StoredFile(folder, relative, _known(connection, folder, relative), number, image, tuple(found)))
    return files, None if last is None else bytes(last[0])


def _stored_at(published: str | None, touched: float) -> float:
    """When it was stored; where that is not known, when the journal last had to do with it."""
    at = json.loads(published).get("at") if published else None
    return datetime.fromisoformat(at).timestamp() if isinstance(at, str) else touched


def _newest(connection: Connection, folder: str, relatives: Iterable[bytes]) -> dict[bytes, tuple[int, Image]]:
    query = "SELECT number FROM images WHERE folder = ? AND relative = ? AND newest = 1"
    rows = ((relative, connection.execute(query, (folder, relative)).fetchone()) for relative in relatives)
    numbers = {relative: int(row[0]) for relative, row in rows if row is not None}
    images = load_images(connection, list(numbers.values()))
    return {relative: (number, image) for (relative, number), image in zip(numbers.items(), images, strict=True)}


def _known(connection: Connection, folder: str, relative: bytes) -> Known | None:
    query = """SELECT size, mtime_ns, ctime_ns, inode, ignored FROM files WHERE folder = ? AND directory = ? AND name = ?"""
    row = connection.execute(query, (folder, *split_path(relative))).fetchone()
    return None if row is None else known_of(row)


def requeue(connection: Connection, wanted: Sequence[Again], now: float, new_id: Callable[[], str]) -> int:
    """A new image for each; one whose file got another image meanwhile is left to that. Gives how many were made."""
    made = 0
    for each in wanted:
        file = each.sighting.file
        if not _gives_way(connection, each):
            continue
        identity = new_id()
        taking.insert_image(connection, identity, each.sighting, taking.keep_rule(connection, each.sighting.rule), now)
        if each.replaces is not None:
            image_rows.add_history(connection, each.replaces, now, "reprocessed", None, {"as": identity})
        for output in each.sighting.rule.outputs if each.anew else ():
            connection.execute(_FORGET_RULE, (file.folder, file.relative, output.rendition))
        made += 1
    return made


def _gives_way(connection: Connection, again: Again) -> bool:
    """Whether the newest image of the file is still the one that was seen, and has nothing to come."""
    file = again.sighting.file
    if again.replaces is None:
        query = "SELECT 1 FROM images WHERE folder = ? AND relative = ? AND newest = 1"
        return connection.execute(query, (file.folder, file.relative)).fetchone() is None
    statement = "UPDATE images SET newest = 0 WHERE number = ? AND newest = 1 AND state = 'finished'"
    return connection.execute(statement, (again.replaces,)).rowcount == 1
