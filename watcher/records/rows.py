"""Between the journal's rows and the words of `watcher.model`."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from watcher.json_text import dumps
from watcher.model import (
    FileRef,
    Format,
    Image,
    ImageState,
    Known,
    Observation,
    Output,
    OutputState,
    Rule,
    SourceFacts,
    StoredObject,
    Ticket,
)
from watcher.records.dialect import dialect_of
from watcher.result_records import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from watcher.model import Record
    from watcher.records.dialect import Connection, Dialect

Row = tuple[Any, ...]

OPEN: Final = "('waiting', 'requested', 'enqueued')"
DUE: Final = "('waiting', 'enqueued')"
_CHUNK: Final = 500

_IMAGES: Final = """
SELECT images.number, images.id, images.folder, images.relative, rules.body, images.size, images.mtime_ns, images.ctime_ns,
       images.inode, images.detected_at, images.state, images.name, images.sha1, images.bytes, images.format, images.width,
       images.height, images.no_formal_end, images.token, images.secret, images.expires_at
FROM images JOIN rules ON rules.digest = images.rule
WHERE images.number {among}
"""
_OUTPUTS: Final = """
SELECT image, rendition, state, key, attempts, tries, doubt, job_id, due_at
FROM outputs WHERE image {among} ORDER BY image, position
"""


def load_images(connection: Connection, numbers: Sequence[int]) -> list[Image]:
    """The images of these row numbers with their outputs, in the same order; a number that is not there is left out."""
    images: dict[int, Image] = {}
    dialect = dialect_of(connection)
    for start in range(0, len(numbers), _CHUNK):
        chunk = dialect.pack(numbers[start : start + _CHUNK])
        outputs: dict[int, list[Output]] = {}
        for row in connection.execute(_with_among(_OUTPUTS, dialect), (chunk,)):
            outputs.setdefault(row[0], []).append(output_of(row[1:]))
        for row in connection.execute(_with_among(_IMAGES, dialect), (chunk,)):
            images[row[0]] = _image_of(row, tuple(outputs.get(row[0], ())))
    return [images[number] for number in numbers if number in images]


@cache
def _with_among(query: str, dialect: Dialect) -> str:
    return query.format(among=dialect.among)


def output_of(row: Row) -> Output:
    """An output from (rendition, state, key, attempts, tries, doubt, job_id, due_at)."""
    rendition, state, key, attempts, tries, doubt, job_id, due_at = row
    return Output(rendition, OutputState(state), key, attempts, tries, bool(doubt), job_id, due_at)


def _image_of(row: Row, outputs: tuple[Output, ...]) -> Image:
    (_, identity, folder, relative, body, size, mtime, ctime, inode, detected_at, state, *rest) = row
    name, sha1, length, form, width, height, no_formal_end, token, secret, expires_at = rest
    rule = parse_rule(body)
    return Image(
        id=identity,
        file=FileRef(folder, rule.root, relative),
        observation=Observation(size, mtime, ctime, unsigned(inode)),
        rule=rule,
        detected_at=detected_at,
        state=ImageState(state),
        facts=SourceFacts(name_text(name), sha1, length, Format(form), width, height, no_formal_end=bool(no_formal_end))
        if sha1 is not None
        else None,
        ticket=Ticket(token, secret, expires_at) if token is not None else None,
        outputs=outputs,
    )


@lru_cache(maxsize=256)
def parse_rule(body: str) -> Rule:
    """A rule from its snapshot; few differ, so they are kept."""
    return Rule.from_json(body)


def rule_digest(body: str) -> str:
    """The name of a rule's snapshot."""
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def observation_values(observation: Observation) -> tuple[int, int, int, int]:
    """size, mtime_ns, ctime_ns, inode as the journal keeps them."""
    return observation.size, observation.mtime_ns, observation.ctime_ns, signed(observation.inode)


def known_of(row: Row) -> Known:
    """What is remembered of a file, from (size, mtime_ns, ctime_ns, inode, ignored)."""
    size, mtime, ctime, inode, ignored = row
    return Known(Observation(size, mtime, ctime, unsigned(inode)), ignored)


def stored_of(row: Row) -> StoredObject:
    """An object from (bucket, key, folder, relative, sha1, rule, output_sha1)."""
    return StoredObject(*row)


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite can keep it: inodes of some network file systems use the top bit."""
    return number - (1 << 64) if number >= 1 << 63 else number


def unsigned(number: int) -> int:
    """The other way round."""
    return number + (1 << 64) if number < 0 else number


def split_path(relative: bytes) -> tuple[bytes, bytes]:
    """The directory inside the folder (b"" for its top), and the name."""
    directory, _, name = relative.rpartition(b"/")
    return directory, name


def name_bytes(name: str) -> bytes:
    """A file name as it is kept: bytes that are no UTF-8 come back as they went in."""
    return name.encode("utf-8", "surrogateescape")


def name_text(name: bytes) -> str:
    """The other way round."""
    return name.decode("utf-8", "surrogateescape")


def placeholders(values: Iterable[object]) -> str:
    """As many question marks as values: "?, ?, ?"."""
    return ", ".join("?" for _ in values)


def record_text(record: Record) -> str:
    """The record as JSON; what is no text in it is shown in its place."""
    try:
        return dumps(record).decode()
    except UnicodeEncodeError:
        return dumps(printable(record)).decode()
