"""What the journal knows of the store, by file, by folder, by key and by address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.records import BUCKET, FACTS, TICKET, open_journal, rule, sighting, stored_object, take_one
from watcher.compressor.wire import FileFacts, Result
from watcher.model import Ending, Event, FailedReason, Image
from watcher.records.published import possible_keys
from watcher.records.sqlite_journal import SqliteJournal
from watcher.records.views import JournalViews
from watcher.result_records import ResultDetails, failed_record, published, stored_record

Pair = tuple[SqliteJournal, JournalViews]
LINK = "https://cdn.example.com/img/{key}"


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A journal, and a view beside it."""
    journal = open_journal(tmp_path / "journal.db")
    with JournalViews.open(tmp_path / "journal.db") as views:
        yield journal, views
    await journal.close()


async def store(
    journal: SqliteJournal, relative: bytes, key: str, *, url: str = "", link: str | None = None, after: str = "keep"
) -> Image:
    """One file from its drop to its object; `after`: what becomes of its original."""
    under = rule(after=after)
    under = replace(under, outputs=(replace(under.outputs[0], link=link),))
    image = await take_one(journal, sighting(relative, under=under))
    await journal.hashed(image.id, FACTS, TICKET)
    image = replace(image, facts=FACTS)
    assert await journal.requested(image.id, None, (BUCKET, key), 1_001.0)
    made = FileFacts(key, size=400, sha1="0" * 40, width=10, height=5)
    result = Result("request", url or f"https://{BUCKET}.example/{key}", FileFacts(), made)
    record = stored_record(image, image.output_rule(None), FACTS, result, ResultDetails(key), 1_001.0)
    there = replace(stored_object(image, None, key), published=published(record), kept=after == "keep")
    assert await journal.end(image.id, None, Ending(Event.IMAGE_STORED, record, there), 1_001.0)
    if after != "keep":
        await journal.finish(image.id, after, 1_001.0)
    return image


async def test_pages_hold_whole_files_in_order(pair: Pair) -> None:
    """However small the pages are, each file comes once."""
    journal, views = pair
    for number in range(7):
        await store(journal, b"%d.jpg" % number, f"products/{number}.jpg")

    found, after, pages = [], None, 0
    while True:
        objects, after = views.published_page("products", after, 3)
        found += [each.relative for each in objects]
        pages += 1
        if after is None:
            break
    assert found == [b"%d.jpg" % number for number in range(7)]
    assert pages == 3
    assert views.published_page("nobody", None, 3) == ([], None)


async def test_a_file_belongs_to_its_folder_while_it_is_there(pair: Pair) -> None:
    """One that was deleted from it does not; one whose original was to be put away does."""
    journal, views = pair
    image = await store(journal, b"kept.jpg", "products/kept.jpg")
    await store(journal, b"moved.jpg", "products/moved.jpg", after="delete")
    await journal.forget("products", {b"kept.jpg": image.observation.stamp, b"moved.jpg": image.observation.stamp})

    assert [each.relative for each in views.published_page("products", None, 10)[0]] == [b"moved.jpg"]
    assert [each.key for each in views.published(("products", b"kept.jpg"))] == ["products/kept.jpg"]


async def test_the_newest_object_of_an_output_counts(pair: Pair) -> None:
    """Keys may hold the hash: then a file has one object after the other."""
    journal, views = pair
    await store(journal, b"a.jpg", "products/a-1.jpg")
    under = rule(after="keep")
    second = await take_one(journal, sighting(b"a.jpg", 2, under=under))
    await journal.hashed(second.id, FACTS, TICKET)
    await journal.requested(second.id, None, (BUCKET, "products/a-2.jpg"), 1_002.0)
    there = replace(stored_object(replace(second, facts=FACTS), None, "products/a-2.jpg"), published={"url": "https://b/2"})
    record = {"event": "image.stored", "url": "https://b/2", "output": {}, "folder": "products"}
    assert await journal.end(second.id, None, Ending(Event.IMAGE_STORED, record, there), 1_002.0)

    assert [each.key for each in views.published(("products", b"a.jpg"))] == ["products/a-2.jpg"]
    assert views.owners("products/a-1.jpg", [BUCKET]) == [("products", b"a.jpg")]


async def test_files_are_found_by_key_and_by_every_address(pair: Pair) -> None:
    """The API's own form, short ones too, the bucket's addresses, a CDN; percent-encoded or not; a stranger's are not."""
    journal, views = pair
    key = "products/café 100%.jpg"
    await store(journal, b"caf.jpg", key, url="https://b.example/short%20form.jpg", link=LINK.replace("{key}", "c/{key}"))
    place = [("products", b"caf.jpg")]

    for what in (
        key,
        "https://b.example/short%20form.jpg",
        "https://b.example/short form.jpg",
        "https://cdn.example.com/img/c/products/caf%C3%A9%20100%25.jpg",
        f"https://{BUCKET}.s3.eu-central-003.backblazeb2.com/products/caf%C3%A9%20100%25.jpg",
        f"https://f003.backblazeb2.com/file/{BUCKET}/products/caf%C3%A9%20100%25.jpg?width=100",
    ):
        assert views.owners(what, [BUCKET]) == place, what
    for stranger in (
        "products/caf.jpg",
        "https://b.example/",
        "https://b.example/other.jpg",
        "https://",
        "http://[",
        "products/%",
    ):
        assert views.owners(stranger, [BUCKET]) == [], stranger
    assert views.owners(key, ["other-bucket"]) == place  # it was asked for there, whatever the configuration says today


async def test_failed_files_are_found_by_the_key_they_did_not_get(pair: Pair) -> None:
    """Also where the key belongs to another file."""
    journal, views = pair
    await store(journal, b"owner.jpg", "products/a.jpg")
    image = await take_one(journal, sighting(b"late.jpg"))
    await journal.requested(image.id, None, (BUCKET, "products/a.jpg"), 1_001.0)
    record = failed_record(image, None, FailedReason.REJECTED, "no", "try", 1, 422, 1_001.0)
    await journal.end(image.id, None, Ending(Event.IMAGE_FAILED, record), 1_001.0)

    assert views.owners_of_failures("products/a.jpg") == [("products", b"late.jpg")]
    assert views.owners_of_failures("https://b.example/products/a.jpg") == [("products", b"late.jpg")]
    assert views.owners("products/a.jpg", [BUCKET]) == [("products", b"owner.jpg")]


def test_an_address_may_end_in_any_of_these_keys() -> None:
    """The longest first."""
    assert possible_keys("https://f003.example/file/b/a%20b/c.jpg?x#y") == [
        "file/b/a b/c.jpg",
        "b/a b/c.jpg",
        "a b/c.jpg",
        "c.jpg",
    ]
    assert possible_keys("https://b.example") == possible_keys("https://b.example/") == []
