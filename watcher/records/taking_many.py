"""Files taken by the dozen on SQLite: what `records.taking` does one by one, in a few statements for all that are new.

Called by the writer inside a transaction, free of I/O.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from watcher.records import taking
from watcher.records.known_files import REMEMBER
from watcher.records.rows import observation_values, split_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.model import Sighting
    from watcher.records.dialect import Connection

PORTION: Final = 16
"""Rows in one statement. Fewer that are left over are run one by one."""


class _Statement:
    """A statement over rows, for a portion of them and for one."""

    def __init__(self, text: str, width: int) -> None:
        """`text` names the place of the rows, "{rows}"; each has `width` values."""
        row = f"({', '.join('?' * width)})"
        self._one = text.format(rows=row)
        self._portion = text.format(rows=", ".join([row] * PORTION))

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run it over them all. Gives what it gave."""
        found = list[Any]()
        whole = len(rows) - len(rows) % PORTION
        for start in range(0, whole, PORTION):
            values = [value for row in rows[start : start + PORTION] for value in row]
            found += connection.execute(self._portion, values).fetchall()
        for row in rows[whole:]:
            found += connection.execute(self._one, row).fetchall()
        return found


_KNOWN: Final = _Statement(
    """WITH wanted (place, folder, relative) AS (VALUES {rows}) SELECT place FROM wanted WHERE EXISTS (
       SELECT 1 FROM images WHERE images.folder = wanted.folder AND images.relative = wanted.relative AND images.newest = 1)""",
    3,
)
_FILES: Final = _Statement(REMEMBER, 9)
_IMAGES: Final = _Statement(taking.INSERT_IMAGE, 10)
_OUTPUTS: Final = _Statement(
    """WITH wanted (id, position, rendition, due_at, backlog, key) AS (VALUES {rows})
       INSERT INTO outputs (image, position, rendition, due_at, backlog, key)
       SELECT images.number, wanted.position, wanted.rendition, wanted.due_at, wanted.backlog, wanted.key
       FROM wanted CROSS JOIN images WHERE images.id = wanted.id""",
    6,
)


def take(connection: Connection, sightings: Sequence[Sighting], new_id: Callable[[], str]) -> list[str]:
    """See `taking.take`. A file that comes twice, or of which there is an image already, is taken by itself."""
    if len(sightings) < PORTION:
        return taking.take(connection, sightings, new_id)
    fresh = _fresh(connection, sightings)
    taken = dict(zip(fresh, _insert(connection, [sightings[place] for place in fresh], new_id), strict=True))
    others = [place for place in range(len(sightings)) if place not in taken]
    taken |= zip(others, taking.take(connection, [sightings[place] for place in others], new_id), strict=True)
    return [taken[place] for place in range(len(sightings))]


def _fresh(connection: Connection, sightings: Sequence[Sighting]) -> list[int]:
    """The places of those whose path comes once and has no image."""
    paths = [(sighting.file.folder, sighting.file.relative) for sighting in sightings]
    times = Counter(paths)
    once = [(place, *path) for place, path in enumerate(paths) if times[path] == 1]
    known = {place for (place,) in _KNOWN.run(connection, once)}
    return [place for place, *_ in once if place not in known]


def _insert(connection: Connection, sightings: Sequence[Sighting], new_id: Callable[[], str]) -> list[str]:
    """Files, images and outputs that are new. Gives the images' ids."""
    digests = taking.keep_rules(connection, sightings)
    identities = [new_id() for _ in sightings]
    named = list(zip(identities, sightings, strict=True))
    _FILES.run(
        connection,
        [
            (each.file.folder, *split_path(each.file.relative), *observation_values(each.observation), None, None)
            for each in sightings
        ],
    )
    _IMAGES.run(connection, [taking.image_row(identity, each, digests[id(each.rule)]) for identity, each in named])
    _OUTPUTS.run(connection, [row for identity, each in named for row in taking.output_rows(identity, each, each.detected_at)])
    return identities
