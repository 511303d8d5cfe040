"""Outputs for `list`, however many: a row for each, with what is told of it, and no more."""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from watcher.json_text import loads
from watcher.model import OutputState
from watcher.records.dialect import dialect_of
from watcher.records.rows import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcher.model import Record, Rule
    from watcher.records.dialect import Connection
    from watcher.records.rows import Row

AT_ONCE: Final = 500
"""Images in one question."""
_PAGE: Final = """
SELECT images.number, images.id, images.folder, images.relative, images.rule, images.detected_at, images.bytes_or_size,
       outputs.rendition, outputs.state, outputs.key, outputs.attempts, outputs.due_at, endings.record
FROM (SELECT number, id, folder, relative, rule, detected_at, coalesce(bytes, size) AS bytes_or_size FROM images
      WHERE {conditions} AND number < ? ORDER BY number DESC LIMIT ?) AS images
JOIN outputs ON outputs.image = images.number
LEFT JOIN endings ON endings.image_id = images.id AND endings.rendition IS NOT DISTINCT FROM outputs.rendition
ORDER BY images.number DESC, outputs.position
"""
_PUBLISHED: Final = """
SELECT each.value ->> 0, each.value ->> 1, objects.published FROM {each}
JOIN objects ON objects.bucket = each.value ->> 2 AND objects.key = each.value ->> 3 WHERE objects.published IS NOT NULL
"""
_BEYOND: Final = (1 << 63) - 1

Place = tuple[str, str | None, str, str]
"""Image, rendition, bucket and key."""


class ListedOutput(NamedTuple):
    """An output in a list. `path` is the file's whole path; `size` the original's."""

    image_id: str
    folder: str
    path: bytes
    detected_at: float
    size: int
    rendition: str | None
    state: str
    key: str | None
    attempts: int
    due_at: float
    told: Record
    """The line of its ending; where nothing had to be sent, what is said of what lies at the key."""


def outputs(connection: Connection, conditions: Sequence[str], values: Sequence[Any]) -> Iterator[ListedOutput]:
    """The outputs of the images of which the conditions hold, newest image first, in the order of its rule."""
    query = _PAGE.format(conditions=" AND ".join(conditions))
    rule_of, before = _rules(connection), _BEYOND
    while rows := connection.execute(query, (*values, before, AT_ONCE)).fetchall():
        yield from _told(connection, rows, rule_of)
        before = rows[-1][0]


def published_at(connection: Connection, places: Sequence[Place]) -> dict[tuple[str, str | None], Record]:
    """What is said of the objects at these places, by image and rendition."""
    if not places:
        return {}
    rows = connection.execute(_PUBLISHED.format(each=dialect_of(connection).each), (json.dumps(places),))
    return {(identity, rendition): loads(facts) for identity, rendition, facts in rows}


def _rules(connection: Connection) -> Callable[[str], tuple[Rule, bytes]]:
    @cache
    def rule_of(digest: str) -> tuple[Rule, bytes]:
        """The rule of this name, and its root with a slash behind it."""
        (body,) = connection.execute("SELECT body FROM rules WHERE digest = ?", (digest,)).fetchone()
        rule = parse_rule(body)
        return rule, os.path.join(os.fsencode(rule.root), b"")  # noqa: PTH118 - pathlib has no bytes

    return rule_of


def _told(connection: Connection, rows: Sequence[Row], rule_of: Callable[[str], tuple[Rule, bytes]]) -> Iterator[ListedOutput]:
    unsent = [
        (row[1], row[7], _bucket(rule_of(row[4])[0], row[7]), row[9])
        for row in rows
        if row[12] is None and row[8] == OutputState.UNCHANGED.value and row[9] is not None
    ]
    published = published_at(connection, unsent)
    for _, identity, folder, relative, rule, at, size, rendition, state, key, attempts, due_at, record in rows:
        told = loads(record) if record is not None else published.get((identity, rendition), {})
        path = rule_of(rule)[1] + relative
        yield ListedOutput(identity, folder, path, at, size, rendition, state, key, attempts, due_at, told)


def _bucket(rule: Rule, rendition: str | None) -> str:
    return next(str(output.store["bucket"]) for output in rule.outputs if output.rendition == rendition)
