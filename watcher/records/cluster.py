"""The hosts that share a journal: how they do, what waits for whom, and whether their audit files together hold each ending once.

Functions of a connection to PostgreSQL; no driver is needed to read them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.records.chain import compose, line_hash
from watcher.records.ranges import Ranges
from watcher.shown.figures import HostFigures

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from watcher.records.dialect import Connection

PAGE: Final = 1_000
_HOSTS: Final = """
SELECT name, alive_until > clock_timestamp(), CAST(extract(epoch FROM coalesce(lost_at, alive_until)) AS DOUBLE PRECISION),
       (SELECT count(*) FROM images WHERE claimed_by = hosts.name)
FROM hosts ORDER BY name
"""
_ORPHANS: Final = """
SELECT seen.host, images.folder, count(*) FROM seen JOIN images ON images.number = seen.image
WHERE images.state <> 'finished' AND NOT EXISTS (
    SELECT 1 FROM seen AS others JOIN hosts ON hosts.name = others.host
    WHERE others.image = images.number AND hosts.alive_until > clock_timestamp()
) GROUP BY seen.host, images.folder ORDER BY seen.host, images.folder
"""
_ENDINGS: Final = "SELECT seq, image_id, rendition, record, prev FROM endings WHERE host = ? AND seq > ? ORDER BY seq LIMIT ?"
_CURSORS: Final = """
SELECT hosts.name, hosts.last_seq, coalesce(cursors.seq, 0), cursors.hash
FROM hosts LEFT JOIN cursors ON cursors.host = hosts.name AND cursors.name = 'audit' ORDER BY hosts.name
"""


def hosts(connection: Connection) -> list[HostFigures]:
    """All that ever joined, by name."""
    waiting: dict[str, dict[str, int]] = {}
    for host, folder, count in connection.execute(_ORPHANS).fetchall():
        waiting.setdefault(host, {})[folder] = count
    rows = connection.execute(_HOSTS).fetchall()
    return [HostFigures(name, bool(alive), since, count, waiting.get(name, {})) for name, alive, since, count in rows]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Which hosts have to do with an image: who has it in hand, who could take it, and who ended each of its outputs."""

    in_hand_of: str | None
    seen_by: tuple[str, ...]
    ended_by: Mapping[str | None, str]


def whereabouts(connection: Connection, image_id: str) -> Whereabouts:
    """Of an image, by its id."""
    claimed = connection.execute("SELECT claimed_by FROM images WHERE id = ?", (image_id,)).fetchone()
    query = "SELECT host FROM seen JOIN images ON images.number = seen.image WHERE images.id = ? ORDER BY host"
    seen = tuple(str(host) for (host,) in connection.execute(query, (image_id,)).fetchall())
    ended = connection.execute("SELECT rendition, host FROM endings WHERE image_id = ?", (image_id,)).fetchall()
    return Whereabouts(None if claimed is None else claimed[0], seen, dict(ended))


# --- audit files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostEndings:
    """The endings of one host, as far as the journal still has them; `written` of them are in its audit file."""

    name: str
    lines: int
    written: int
    problems: tuple[str, ...]


def verify_endings(connection: Connection) -> list[HostEndings]:
    """Compare what each host says of its audit file with the endings that it made: numbers, links, and the last line's hash.

    That an output ends once, whoever says so, is a rule of the database itself.
    """
    return [_verify_host(connection, *row) for row in connection.execute(_CURSORS).fetchall()]


def _verify_host(connection: Connection, name: str, last_seq: int, audited: int, last_hash: str | None) -> HostEndings:
    seen, problems, before, lines, written = Ranges(), list[str](), None, 0, 0
    for seq, record, prev in _endings(connection, name):
        lines += 1
        seen.add(seq)
        if seq > audited:
            continue
        written += 1
        if prev is not None and before is not None and prev != before:
            problems.append(f"{name}: line {seq} does not continue line {seq - 1}")
        before = line_hash(compose(record, seq, prev if prev is not None else before))
        if seq == audited and last_hash is not None and before != last_hash:
            problems.append(f"{name}: the last line of the audit file, number {seq}, is not what the journal says")
    if seen.first is not None and last_seq != seen.last:
        problems.append(f"{name}: the last ending is number {seen.last}, and it should be {last_seq}")
    if "," in str(seen):
        problems.append(f"{name}: there are endings with the numbers {seen}, and others are missing")
    return HostEndings(name, lines, written, tuple(problems))


def _endings(connection: Connection, host: str) -> Iterator[tuple[int, dict[str, object], str | None]]:
    after = 0
    while rows := connection.execute(_ENDINGS, (host, after, PAGE)).fetchall():
        for seq, _, _, record, prev in rows:
            yield seq, json.loads(record), prev
        after = rows[-1][0]
