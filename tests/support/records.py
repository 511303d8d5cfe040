"""Sightings, endings and an image's way through the journal, for whoever tests records."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.publishing import MovedClock, RecordedLog
from watcher.compressor.wire import FileFacts, Result
from watcher.model import (
    Ending,
    Event,
    FailedReason,
    FileRef,
    Format,
    Image,
    Observation,
    OutputRule,
    OutputState,
    Rule,
    Sighting,
    SourceFacts,
    StoredObject,
    Ticket,
)
from watcher.records.journal import ThreadedJournal
from watcher.records.sqlite_journal import SqliteJournal
from watcher.result_records import ResultDetails, failed_record, stored_record, superseded_record, vanished_record

ROOT = Path("/srv/drop/products")
BUCKET = "my-bucket"
DAY = 86_400.0
FACTS = SourceFacts("photo.jpg", "a" * 40, 1_000, Format.JPEG)
TICKET = Ticket("token", "secret", 2_000_000_000.0)

_numbers = itertools.count(1)


def new_id() -> str:
    return f"image-{next(_numbers):06d}"


def rule(*renditions: str, folder: str = "products", root: Path = ROOT, after: str = "delete") -> Rule:
    """A folder's rule: its own output, and one for each rendition. `after`: what becomes of an original that was stored."""
    store = {"id": "connector", "bucket": BUCKET, "region": "eu-central-003", "path": "{folder}/{name}"}
    outputs = [OutputRule(each, {"compression": "high"}, store) for each in (None, *renditions)]
    return Rule(folder, root, tuple(outputs), after, "keep")


def sighting(relative: bytes = b"a.jpg", version: int = 1, *, under: Rule | None = None, at: float = 1_000.0) -> Sighting:
    """A complete file; another `version` is another observation."""
    under = under or rule()
    return Sighting(FileRef(under.folder, under.root, relative), Observation(1_000, version, version, version), under, at)


def stored_object(image: Image, rendition: str | None = None, key: str = "products/a.jpg") -> StoredObject:
    facts = image.facts or FACTS
    rule_name = image.output_rule(rendition).fingerprint
    return StoredObject(BUCKET, key, image.file.folder, image.file.relative, facts.sha1, rule_name, "0" * 40)


def stored(image: Image, rendition: str | None = None, key: str = "products/a.jpg", now: float = 1_001.0) -> Ending:
    result = Result("request-1", f"https://example.com/{key}", FileFacts(), FileFacts("a.jpg", size=400, sha1="0" * 40))
    record = stored_record(image, image.output_rule(rendition), image.facts or FACTS, result, ResultDetails(key), now)
    return Ending(Event.IMAGE_STORED, record, stored_object(image, rendition, key))


def ending(image: Image, event: Event, rendition: str | None = None, now: float = 1_001.0) -> Ending:
    """Any of the four endings."""
    if event is Event.IMAGE_STORED:
        return stored(image, rendition, f"products/{rendition}", now)
    if event is Event.IMAGE_FAILED:
        record = failed_record(image, rendition, FailedReason.REJECTED, "no", "try another", 1, 422, now)
    elif event is Event.IMAGE_SUPERSEDED:
        record = superseded_record(image, rendition, now, None)
    else:
        record = vanished_record(image, rendition, now)
    return Ending(event, record)


def open_journal(path: Path | str = ":memory:", **changes: Any) -> SqliteJournal:
    """A journal with a recorded log and real time, unless told otherwise; opened in another thread, for it waits for the disk."""
    arguments: dict[str, Any] = {"events": RecordedLog(), "clock": MovedClock(), "keep": 90 * DAY, "new_id": new_id}
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(SqliteJournal.open, path, **{**arguments, **changes}).result()


async def take_one(journal: ThreadedJournal, seen: Sighting | None = None) -> Image:
    """Take a file and give its image."""
    (identity,) = await journal.take([seen or sighting()])
    return await image_of(journal, identity)


async def image_of(journal: ThreadedJournal, identity: str) -> Image:
    """An image that has something to do."""
    found = [image for image in await journal.due(1e12, 100_000, ()) if image.id == identity]
    assert found, f"{identity} has nothing to do"
    return found[0]


async def store_all(journal: ThreadedJournal, image: Image, now: float = 1_001.0, *, finished: bool = True) -> None:
    """Take every output of an image to its stored ending, and finish it."""
    await journal.hashed(image.id, FACTS, TICKET)
    image = replace(image, facts=FACTS)
    for output in image.outputs:
        key = f"{image.file.folder}/{image.file.relative_text}-{output.rendition}"
        assert await journal.requested(image.id, output.rendition, (BUCKET, key), now)
        assert await journal.end(image.id, output.rendition, stored(image, output.rendition, key, now), now)
    if finished:
        await journal.finish(image.id, "kept", now)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of an audit file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def output_state(image: Image, rendition: str | None = None) -> OutputState:
    return next(output.state for output in image.outputs if output.rendition == rendition)
