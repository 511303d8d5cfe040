"""Reading the journal: what the pipeline and the scans ask for, as functions of a connection."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from watcher.json_text import loads
from watcher.model import FileRef, KnownDirectory, Sighting
from watcher.records.dialect import dialect_of
from watcher.records.reach import WITHIN_REACH, within_reach
from watcher.records.rows import DUE, Row, known_of, load_images, stored_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from watcher.model import Image, Known, Record, Rule, StoredObject, Subtree
    from watcher.records.dialect import Connection

_DUE_OUTPUTS: Final = f"""
SELECT outputs.due_at, outputs.image, images.id FROM outputs CROSS JOIN images
WHERE images.number = outputs.image AND outputs.state IN {DUE} AND outputs.backlog = ? AND outputs.due_at <= ?
AND (outputs.state = 'enqueued' OR NOT EXISTS (SELECT 1 FROM pauses WHERE pauses.folder IN ('', images.folder)))
AND NOT EXISTS (
    SELECT 1 FROM images AS older WHERE older.relative = images.relative AND older.folder = images.folder
    AND older.number < images.number AND older.state = 'open'
) {WITHIN_REACH} ORDER BY outputs.due_at, outputs.image
"""  # noqa: S608 - a constant
_DUE_IMAGES: Final = f"""
SELECT due_at, number, id FROM images WHERE state = 'ended' AND due_at <= ? {WITHIN_REACH} ORDER BY due_at, number
"""  # noqa: S608 - a constant
_UNFINISHED: Final = f"""
SELECT (SELECT count(*) FROM images WHERE state = 'open' {WITHIN_REACH})
     + (SELECT count(*) FROM images WHERE state = 'ended' {WITHIN_REACH})
"""  # noqa: S608 - a constant
_NEXT_DUE: Final = f"""
SELECT min(due_at) FROM (
    SELECT min(due_at) AS due_at FROM outputs WHERE state IN {DUE} AND backlog = 0 AND due_at > :now
    UNION ALL SELECT min(due_at) FROM outputs WHERE state IN {DUE} AND backlog = 1 AND due_at > :now
    UNION ALL SELECT min(due_at) FROM images WHERE state = 'ended' AND due_at > :now
) AS times"""  # noqa: S608 - a constant
_TALLIES: Final = "SELECT kind, state, /*! CAST(sum( */ count /*! ) AS BIGINT) */ FROM tallies /*! GROUP BY kind, state */"
_OBJECT: Final = "SELECT bucket, key, folder, relative, sha1, rule, output_sha1 FROM objects WHERE bucket = ? AND key = ?"


@dataclass(frozen=True, slots=True)
class NumberedEnding:
    """An ending with its place in the audit file."""

    seq: int
    image_id: str
    rendition: str | None
    record: Record


@dataclass(frozen=True, slots=True)
class OutboxCursor:
    """How far the endings are written down: to `audited` in the audit file (`hash` is that line's), to `logged` in the log."""

    audited: int
    hash: str | None
    logged: int


def known(connection: Connection, folder: str, directory: bytes) -> dict[bytes, Known]:
    """See `Journal.known`."""
    query = """SELECT name, size, mtime_ns, ctime_ns, inode, ignored FROM files
               WHERE folder = ? AND directory = ? /*! AND host = here() */"""
    return {row[0]: known_of(row[1:]) for row in connection.execute(query, (folder, directory))}


def known_in(connection: Connection, folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
    """See `Journal.known_in`. One row costs next to nothing beyond its fetch: scans ask for all files of a folder."""
    query = """SELECT name, size, mtime_ns, ctime_ns, inode & 9223372036854775807, ignored FROM files
               WHERE folder = ? AND directory = ?"""
    found = []
    for directory in directories:
        rows = connection.execute(query, (folder, directory)).fetchall()
        stamps = {row[0]: row[1:5] for row in rows}
        found.append(KnownDirectory(stamps, {row[0]: row[5] for row in rows if row[5] is not None}))
    return found


def due(
    connection: Connection, now: float, limit: int, excluding: Collection[str], away: Collection[Subtree] = ()
) -> list[Image]:
    """See `Journal.due`."""
    passed = excluding if isinstance(excluding, set | frozenset | dict) else set(excluding)
    numbers: dict[int, None] = {}
    for _, number, identity in _due_rows(connection, now, away):
        if identity not in passed:
            numbers[number] = None
            if len(numbers) >= limit:
                break
    return load_images(connection, list(numbers))


def _due_rows(connection: Connection, now: float, away: Collection[Subtree]) -> Iterator[Row]:
    """Fresh drops and originals to be put away first, each oldest first; then the backlog."""
    outputs, places = within_reach(_DUE_OUTPUTS, away)
    images, _ = within_reach(_DUE_IMAGES, away)
    fresh = heapq.merge(connection.execute(outputs, (0, now, *places)), connection.execute(images, (now, *places)))
    return chain(fresh, connection.execute(outputs, (1, now, *places)))


def unfinished(connection: Connection, away: Collection[Subtree]) -> int:
    """Images that still have something to come, but for those in `away`."""
    query, places = within_reach(_UNFINISHED, away)
    found: int = connection.execute(query, (*places, *places)).fetchone()[0]
    return found


def next_due(connection: Connection, now: float) -> float | None:
    """See `Journal.next_due`."""
    (due_at,) = connection.execute(_NEXT_DUE, {"now": now}).fetchone()
    return None if due_at is None else float(due_at)


def stored_at(connection: Connection, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredObject]:
    """See `Journal.stored_at`."""
    rows = (connection.execute(_OBJECT, place).fetchone() for place in places)
    return {(row[0], row[1]): stored_of(row) for row in rows if row is not None}


def live_tokens(connection: Connection, now: float) -> set[str]:
    """Tokens of tickets that may still be used: their image has not ended, and they have not expired."""
    query = "SELECT token FROM images WHERE state = 'open' AND token IS NOT NULL AND expires_at > ?"
    return {str(row[0]) for row in connection.execute(query, (now,))}


def is_own_output(connection: Connection, folder: str, sha1: str) -> bool:
    """See `Journal.is_own_output`."""
    query = "SELECT 1 FROM objects WHERE folder = ? AND output_sha1 = ? AND sha1 <> output_sha1 LIMIT 1"
    return connection.execute(query, (folder, sha1)).fetchone() is not None


def endings_after(connection: Connection, seq: int, limit: int) -> list[NumberedEnding]:
    """The endings that come after `seq`, in order."""
    query = "SELECT seq, image_id, rendition, record FROM endings WHERE seq > ? /*! AND host = here() */ ORDER BY seq LIMIT ?"
    return [
        NumberedEnding(number, identity, rendition, loads(record))
        for number, identity, rendition, record in connection.execute(query, (seq, limit))
    ]


def last_seq(connection: Connection) -> int:
    """The number of the newest ending there ever was; 0 before the first."""
    row = connection.execute(dialect_of(connection).last_seq).fetchone()
    return int(row[0]) if row else 0


def outbox_cursor(connection: Connection) -> OutboxCursor:
    """How far the endings are written down."""
    rows = connection.execute("SELECT name, seq, hash FROM cursors WHERE name IN ('audit', 'log') /*! AND host = here() */")
    cursors = {name: (int(seq), line_hash) for name, seq, line_hash in rows}
    audited, line_hash = cursors.get("audit", (0, None))
    return OutboxCursor(audited, line_hash, cursors.get("log", (0, None))[0])


@dataclass(frozen=True, slots=True)
class Totals:
    """How many outputs stand where, and how many images still have anything to come."""

    waiting: int
    requested: int
    enqueued: int
    stored: int
    failed: int
    superseded: int
    vanished: int
    unchanged: int
    unfinished_images: int

    @property
    def open(self) -> int:
        """Outputs that have not ended."""
        return self.waiting + self.requested + self.enqueued

    @property
    def ended(self) -> int:
        """Outputs that need nothing more."""
        return self.stored + self.failed + self.superseded + self.vanished + self.unchanged


def totals(connection: Connection) -> Totals:
    """How many outputs stand where; costs the same over a million images."""
    counts = {(kind, state): count for kind, state, count in connection.execute(_TALLIES)}
    outputs = {state: count for (kind, state), count in counts.items() if kind == "output"}
    return Totals(**outputs, unfinished_images=counts["image", "open"] + counts["image", "ended"])


def is_rebuilt(connection: Connection) -> bool:
    """Whether the journal has learnt, when it was new, what the audit file holds."""
    return connection.execute("SELECT 1 FROM cursors WHERE name = 'audit' /*! AND host = here() */").fetchone() is not None


def failed_images(
    connection: Connection, image_ids: Collection[str] | None, rule_for: Callable[[str], Rule | None], now: float
) -> list[tuple[int, Sighting]]:
    """What to take again: failed images (of these ids, or all that nobody has dismissed), newest of their path, under their
    folder's rule of today.
    """
    query = "SELECT number FROM images WHERE outcome = 'failed' AND newest = 1"
    dialect = dialect_of(connection)
    if image_ids is None:
        rows = connection.execute(f"{query} AND dismissed_at IS NULL ORDER BY number")
    else:
        rows = connection.execute(f"{query} AND id {dialect.among} ORDER BY number", (dialect.pack(list(image_ids)),))
    numbers = [int(row[0]) for row in rows]
    found = []
    for number, image in zip(numbers, load_images(connection, numbers), strict=True):
        rule = rule_for(image.file.folder)
        if rule is not None:
            file = FileRef(image.file.folder, rule.root, image.file.relative)
            found.append((number, Sighting(file, image.observation, rule, now)))
    return found
