"""What leaves the journal after `keep`: in portions, so that whoever has something to write waits for none of it.

Each function looks at the rows behind a place in their order, `limit` of them at most, and gives the place where the next
portion begins; None when there is no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from watcher.records import activity
from watcher.records.additions import settle
from watcher.records.rows import split_path

if TYPE_CHECKING:
    from watcher.records.dialect import Connection

PORTION_SECONDS: Final = 0.01
"""A portion aims to be durable within so long."""
FIRST_PORTION: Final = 50
LARGEST_PORTION: Final = 500
IMAGES_FOR_RULES: Final = 20_000
"""Rules are compared with the images only where there are no more than so many: every one of them is looked at for it."""

Place = tuple[float, str, int]
"""Time, word and number of the last row that was looked at."""
BEGINNING: Final[Place] = (0.0, "", 0)

_WRITTEN_DOWN: Final = """
(SELECT coalesce(min(cursors.seq), 0) FROM cursors WHERE name IN ('audit', 'log') /*! AND cursors.host = endings.host */)
"""
_OLD_IMAGES: Final = """
SELECT finished_at, '', number, id FROM images
WHERE state = 'finished' AND (finished_at, number) > (?, ?) AND finished_at < ? ORDER BY finished_at, number LIMIT ?
"""
_DROP_IMAGE: Final = f"""
DELETE FROM images WHERE number = ? AND NOT EXISTS (
    SELECT 1 FROM endings WHERE endings.image_id = ? AND endings.seq > {_WRITTEN_DOWN}
)"""  # noqa: S608 - a constant
_OLD_ENDINGS: Final = """
SELECT at, event, seq, image_id FROM endings
WHERE (at, event, seq) > (?, ?, ?) AND at < ? ORDER BY at, event, seq LIMIT ?
"""
_DROP_ENDING: Final = f"""
DELETE FROM endings WHERE seq = ? AND image_id = ? AND seq <= {_WRITTEN_DOWN}
AND NOT EXISTS (SELECT 1 FROM images WHERE images.id = endings.image_id)
"""  # noqa: S608 - a constant
_OLD_OBJECTS: Final = "SELECT bucket, key, folder, relative, newest > kept FROM objects WHERE at < ? LIMIT ?"


@dataclass(frozen=True, slots=True)
class Portion:
    """Old is what is older than `before` (Unix seconds); `limit` rows behind `after` are looked at."""

    before: float
    now: float
    after: Place = BEGINNING
    limit: int = FIRST_PORTION
    listed: frozenset[str] = frozenset()
    """Folders whose manifests go on to tell of originals that were put away when they were stored."""


class Prune(Protocol):
    """One of the functions below."""

    def __call__(self, connection: Connection, portion: Portion) -> Place | None:
        """See the module."""


def next_limit(limit: int, seconds: float) -> int:
    """How many rows the next portion looks at, when the last one took so long."""
    fitting = int(limit * PORTION_SECONDS / max(seconds, 1e-6))
    return max(1, min(fitting, 2 * limit, LARGEST_PORTION))


def prune_images(connection: Connection, portion: Portion) -> Place | None:
    """Finished images go, with their outputs and their history, once their endings are written down."""
    settle(connection)
    (finished_at, _, number) = portion.after
    rows = connection.execute(_OLD_IMAGES, (finished_at, number, portion.before, portion.limit)).fetchall()
    connection.executemany(_DROP_IMAGE, [(number, identity) for _, _, number, identity in rows])
    return _last(rows, portion)


def prune_endings(connection: Connection, portion: Portion) -> Place | None:
    """Endings that are written down go, where their image is gone."""
    rows = connection.execute(_OLD_ENDINGS, (*portion.after, portion.before, portion.limit)).fetchall()
    connection.executemany(_DROP_ENDING, [(seq, image_id) for _, _, seq, image_id in rows])
    return _last(rows, portion)


def prune_objects(connection: Connection, portion: Portion) -> Place | None:
    """Objects whose file is gone from the tree go; those that stay are looked at again after another `keep`."""
    rows = connection.execute(_OLD_OBJECTS, (portion.before, portion.limit)).fetchall()
    for bucket, key, folder, relative, was_put_away in rows:
        place = (folder, *split_path(relative))
        present = connection.execute("SELECT 1 FROM files WHERE folder = ? AND directory = ? AND name = ?", place).fetchone()
        if present or (was_put_away and folder in portion.listed):
            connection.execute("UPDATE objects SET at = ? WHERE bucket = ? AND key = ?", (portion.now, bucket, key))
        else:
            connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
    return BEGINNING if len(rows) == portion.limit else None


def prune_rest(connection: Connection, portion: Portion) -> None:
    """Snapshots of rules that no image has any more, and hours that no plot shows."""
    activity.prune_hours(connection, portion.now)
    images = connection.execute("SELECT coalesce(sum(count), 0) FROM tallies WHERE kind = 'image'").fetchone()[0]
    if images <= IMAGES_FOR_RULES:
        connection.execute("DELETE FROM rules WHERE digest NOT IN (SELECT rule FROM images)")


def _last(rows: list[tuple[float, str, int, str]], portion: Portion) -> Place | None:
    return rows[-1][:3] if len(rows) == portion.limit else None
