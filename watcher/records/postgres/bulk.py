"""Files taken by the hundred: what `records.taking` does one by one, in a few statements for all.

Every statement costs a round trip to the database, and while one host takes files of a folder the others wait to take theirs.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from watcher.model import Event
from watcher.records import taking
from watcher.records.additions import settle
from watcher.records.rows import observation_values, split_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from watcher.model import Sighting
    from watcher.records.dialect import Connection

_NEWEST: Final = """
SELECT wanted.place, images.number, images.id, images.size, images.mtime_ns, images.ctime_ns, images.inode,
       EXISTS (SELECT 1 FROM outputs WHERE outputs.image = images.number AND outputs.state IN ('vanished', 'superseded')),
       (SELECT detail FROM history WHERE history.image = images.number AND history.event = ? LIMIT 1),
       files.size, files.mtime_ns
FROM unnest(CAST(? AS TEXT[]), CAST(? AS BYTEA[]), CAST(? AS BYTEA[]), CAST(? AS BYTEA[])) WITH ORDINALITY
     AS wanted (folder, relative, directory, name, place)
CROSS JOIN LATERAL (
    SELECT number, id, size, mtime_ns, ctime_ns, inode FROM images
    WHERE images.folder = wanted.folder AND images.relative = wanted.relative AND images.newest = 1 LIMIT 1
) AS images
LEFT JOIN LATERAL (
    SELECT size, mtime_ns FROM files WHERE files.folder = wanted.folder AND files.directory = wanted.directory
    AND files.name = wanted.name AND files.host = here() LIMIT 1
) AS files ON true
"""
"""A limit keeps the planner from turning the order around, which it would do for tables that it believes to be empty."""
_REMEMBER: Final = """
INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode, ignored)
SELECT * FROM unnest(CAST(? AS TEXT[]), CAST(? AS BYTEA[]), CAST(? AS BYTEA[]), CAST(? AS BIGINT[]), CAST(? AS BIGINT[]),
                     CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS TEXT[]))
ON CONFLICT (folder, directory, name, host) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
ctime_ns = excluded.ctime_ns, inode = excluded.inode, ignored = excluded.ignored, message = NULL
"""
_IMAGES: Final = """
INSERT INTO images (id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at)
SELECT id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at
FROM unnest(CAST(? AS TEXT[]), CAST(? AS TEXT[]), CAST(? AS BYTEA[]), CAST(? AS TEXT[]), CAST(? AS SMALLINT[]),
            CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS DOUBLE PRECISION[]))
     WITH ORDINALITY
     AS taken (id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at, place)
ORDER BY place RETURNING id, number
"""
_OUTPUTS: Final = """
INSERT INTO outputs (image, position, rendition, due_at, backlog, key)
SELECT * FROM unnest(CAST(? AS BIGINT[]), CAST(? AS INTEGER[]), CAST(? AS TEXT[]), CAST(? AS DOUBLE PRECISION[]),
                     CAST(? AS SMALLINT[]), CAST(? AS TEXT[]))
"""
_NOTE: Final = """
INSERT INTO seen (image, host, ctime_ns, inode)
SELECT images.number, files.host, files.ctime_ns, files.inode
FROM unnest(CAST(? AS BIGINT[]), CAST(? AS BYTEA[]), CAST(? AS BYTEA[])) AS noted (number, directory, name)
CROSS JOIN LATERAL (
    SELECT number, folder, size, mtime_ns FROM images WHERE images.number = noted.number AND images.state <> 'finished' LIMIT 1
) AS images
CROSS JOIN LATERAL (
    SELECT host, ctime_ns, inode FROM files WHERE files.folder = images.folder AND files.directory = noted.directory
    AND files.name = noted.name AND files.size = images.size AND files.mtime_ns = images.mtime_ns OFFSET 0
) AS files
ON CONFLICT (image, host) DO UPDATE SET ctime_ns = excluded.ctime_ns, inode = excluded.inode
"""


@dataclass(frozen=True, slots=True)
class Before:
    """The newest image that there is of a path, and what this host remembers of the file."""

    number: int
    identity: str
    version: tuple[int, int, int, int]
    was_lost: bool
    dismissed: str | None
    """What was said when it was found that it should not have been taken."""
    remembered: tuple[int | None, int | None]
    """Size and modification time."""

    def is_of(self, sighting: Sighting) -> bool:
        """Whether it is of the version that was sighted; see `sightings.is_same`."""
        observed = observation_values(sighting.observation)
        if self.version == observed:
            return True
        return self.version[:2] == observed[:2] and self.remembered != observed[:2]


def take(connection: Connection, sightings: Sequence[Sighting], new_id: Callable[[], str]) -> list[str]:
    """See `records.taking`. A file that comes twice, or that is a new version of another one, is taken by itself."""
    before = _before(connection, sightings)
    times = Counter((sighting.file.folder, sighting.file.relative) for sighting in sightings)
    taken: dict[int, str] = {}
    fresh, known = list[int](), list[int]()
    for place, sighting in enumerate(sightings):
        if times[sighting.file.folder, sighting.file.relative] > 1:
            continue
        if place not in before:
            fresh.append(place)
        elif before[place].is_of(sighting) and not before[place].was_lost:
            known.append(place)
    numbers = _insert(connection, [sightings[place] for place in fresh], taken_ids := [new_id() for _ in fresh])
    taken |= dict(zip(fresh, taken_ids, strict=True))
    taken |= {place: before[place].identity for place in known}
    reasons = {place: _reason(before[place].dismissed) for place in known}
    _remember(connection, [(sightings[place], reasons.get(place)) for place in (*fresh, *known)])
    noted = [*zip(numbers, fresh, strict=True), *((before[place].number, place) for place in known)]
    _note(connection, [(number, sightings[place]) for number, place in noted])
    for place, sighting in enumerate(sightings):
        if place not in taken:
            (taken[place],) = taking.take(connection, [sighting], new_id)
    return [taken[place] for place in range(len(sightings))]


def _before(connection: Connection, sightings: Sequence[Sighting]) -> dict[int, Before]:
    """By the place of the sighting."""
    settle(connection)
    paths = [(sighting.file.folder, sighting.file.relative, *split_path(sighting.file.relative)) for sighting in sightings]
    rows = connection.execute(_NEWEST, (str(Event.IMAGE_IGNORED), *_columns(paths, 4))).fetchall()
    return {
        place - 1: Before(number, name, tuple(rest[:4]), rest[4], rest[5], tuple(rest[6:])) for place, number, name, *rest in rows
    }


def _reason(dismissed: str | None) -> str | None:
    return None if dismissed is None else str(json.loads(dismissed)["reason"])


def _insert(connection: Connection, sightings: Sequence[Sighting], identities: Sequence[str]) -> list[int]:
    """New images and their outputs. Gives their numbers."""
    if not sightings:
        return []
    digests = taking.keep_rules(connection, sightings)
    named = zip(identities, sightings, strict=True)
    images = [taking.image_row(identity, sighting, digests[id(sighting.rule)]) for identity, sighting in named]
    found = dict(connection.execute(_IMAGES, _columns(images, 10)).fetchall())
    numbers = [int(found[identity]) for identity in identities]
    numbered = zip(numbers, sightings, strict=True)
    outputs = [row for number, sighting in numbered for row in taking.output_rows(number, sighting, sighting.detected_at)]
    connection.execute(_OUTPUTS, _columns(outputs, 6))
    return numbers


def _remember(connection: Connection, files: Iterable[tuple[Sighting, str | None]]) -> None:
    rows = [
        (each.file.folder, *split_path(each.file.relative), *observation_values(each.observation), ignored)
        for each, ignored in files
    ]
    if rows:
        connection.execute(_REMEMBER, _columns(rows, 8))


def _note(connection: Connection, noted: Iterable[tuple[int, Sighting]]) -> None:
    rows = [(number, *split_path(sighting.file.relative)) for number, sighting in noted]
    if rows:
        connection.execute(_NOTE, _columns(rows, 3))


def _columns(rows: Sequence[Sequence[Any]], count: int) -> list[list[Any]]:
    """The same values column by column."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
