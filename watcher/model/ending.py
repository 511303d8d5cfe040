"""How outputs end, and what lies in the store after that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.model.event import Event
    from watcher.model.log_fields import Record


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What we know lies at a key: put there by us, from which file and content, under which rule (None: not known any more).

    `sha1` is empty after a request that may have put something else there: whose key it is stays known.
    """

    bucket: str
    key: str
    folder: str
    relative: bytes
    sha1: str
    rule: str | None
    output_sha1: str | None = None
    rendition: str | None = None
    published: Record | None = None
    """What is told of it: `url`, `link`, sizes, when. None: what is known of it stays."""
    kept: bool = True
    """Whether its original was to stay in the folder, so that it belongs to the folder for as long as that is there."""


@dataclass(frozen=True, slots=True)
class PublishedObject:
    """An object in the store, as manifests and links tell of it: which file's, which output, and what was said of it."""

    folder: str
    relative: bytes
    rendition: str | None
    bucket: str
    key: str
    facts: Record


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of the audit file: the whole object (`seq` and `prev` in it), its number, and what it is about."""

    seq: int
    image_id: str
    rendition: str | None
    at: float
    event: str
    folder: str
    record: Record


@dataclass(frozen=True, slots=True)
class Ending:
    """How an output ended: one of the four events, the whole record of its line, and what lies in the store now."""

    event: Event
    record: Record
    stored: StoredObject | None = None
    hides_replaced: bool = False
    """Whether caches may keep for long what lay at the key before."""
