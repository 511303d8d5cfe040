"""What the commands read: figures, lists, one image's story."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.records import (
    BUCKET,
    FACTS,
    ROOT,
    TICKET,
    open_journal,
    rule,
    sighting,
    store_all,
    stored_object,
    take_one,
)
from watcher.model import FailedReason, Postponement
from watcher.records import database
from watcher.records.sqlite_journal import SqliteJournal
from watcher.records.views import JournalViews
from watcher.shown.figures import Counts


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """One stored, one failed, three waiting; detected at 1000, 1001, ..."""
    opened = open_journal(tmp_path / "journal.db")
    await store_all(opened, await take_one(opened, sighting(b"stored.jpg", at=1_000.0)), 1_500.0)
    await opened.give_up(sighting(b"failed.jpg", at=1_001.0, under=rule(folder="other")), FailedReason.EMPTY, "empty", "")
    await opened.take([sighting(b"d/%d.jpg" % number, at=1_002.0 + number) for number in range(3)])
    yield opened
    await opened.close()


@pytest.fixture
def connection(journal: SqliteJournal, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The connection that reading commands have."""
    with closing(database.open_beside(tmp_path / "journal.db", database.schema().version, writable=False)) as connection:
        yield connection


@pytest.fixture
def views(journal: SqliteJournal, tmp_path: Path) -> Iterator[JournalViews]:
    with JournalViews.open(tmp_path / "journal.db") as reader:
        yield reader


def names(views: JournalViews, **filters: object) -> list[str]:
    return [image.file.relative_text for image in views.images(**filters)]  # type: ignore[arg-type]


def test_list_is_newest_first(views: JournalViews) -> None:
    """Everything, in the reverse order of taking."""
    assert names(views) == ["d/2.jpg", "d/1.jpg", "d/0.jpg", "failed.jpg", "stored.jpg"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"state": "failed"}, ["failed.jpg"]),
        ({"state": "waiting"}, ["d/2.jpg", "d/1.jpg", "d/0.jpg"]),
        ({"state": "finished"}, ["stored.jpg"]),
        ({"folder": "other"}, ["failed.jpg"]),
        ({"since": 1_003.0}, ["d/2.jpg", "d/1.jpg"]),
        ({"limit": 2}, ["d/2.jpg", "d/1.jpg"]),
        ({"state": "waiting", "folder": "products", "since": 1_002.0, "limit": 1}, ["d/2.jpg"]),
        ({"state": "vanished"}, []),
    ],
)
def test_list_is_filtered(views: JournalViews, filters: dict[str, object], expected: list[str]) -> None:
    """By the state of any output or of the image, by folder, by time, by number."""
    assert expected == names(views, **filters)


def test_unknown_state_is_refused(views: JournalViews) -> None:
    """A misspelt state is not an empty list."""
    with pytest.raises(ValueError, match="no such state 'stord'; there are waiting, "):
        views.page(state="stord")


async def test_pages_join(views: JournalViews, journal: SqliteJournal) -> None:
    """Page by page gives the same as all at once, however many there are."""
    await journal.take([sighting(b"more/%d.jpg" % number) for number in range(1_203)])

    assert len(set(names(views))) == 1_208
    assert len(names(views, limit=1_100)) == 1_100
    first = views.page(limit=3)
    assert [listed.number for listed in views.page(limit=6)][3:] == [
        listed.number for listed in views.page(limit=3, before=first[-1].number)
    ]


async def test_outputs_say_what_their_images_and_endings_say(views: JournalViews, journal: SqliteJournal) -> None:
    """Over the ends of pages, with renditions, odd names, and outputs for which nothing had to be sent."""
    await store_all(journal, await take_one(journal, sighting(b"two.jpg", under=rule("thumb"))))
    again = await take_one(journal, sighting(b"two.jpg", 2, under=rule("thumb")))
    await journal.hashed(again.id, FACTS, TICKET)
    place = replace(stored_object(again, None, "products/two.jpg-None"), published={"url": "https://example.com/two"})
    assert await journal.unchanged(again.id, None, place.key, place, 2_000.0)
    await journal.take([sighting(b"more/%d\xff.jpg" % number) for number in range(602)])

    listed = list(views.outputs())

    images = list(views.images())
    told = views.told(images)
    assert [
        (image.id, image.file.folder, image.file.path, output.rendition, output.state, output.key, output.attempts, output.due_at)
        for image in images
        for output in image.outputs
    ] == [
        (
            each.image_id,
            each.folder,
            Path(os.fsdecode(each.path)),
            each.rendition,
            each.state,
            each.key,
            each.attempts,
            each.due_at,
        )
        for each in listed
    ]
    assert [told.get((each.image_id, each.rendition), {}) for each in listed] == [each.told for each in listed]
    assert {each.told.get("url") for each in listed if each.image_id == again.id} == {"https://example.com/two", None}
    assert {each.size for each in listed if each.image_id == again.id} == {FACTS.size}


@pytest.mark.parametrize("state", ["failed", "waiting", "finished", "vanished"])
def test_outputs_are_filtered_as_images_are(views: JournalViews, state: str) -> None:
    """One word means the same in both."""
    assert [each.image_id for each in views.outputs(state=state)] == [image.id for image in views.images(state=state)]


def test_figures(views: JournalViews) -> None:
    """Totals, recent endings, the oldest that waits, the last failures."""
    figures = views.figures(1_561.0)

    assert figures.counts == Counts(3, 0, 1, {"stored": 1, "failed": 1})
    assert figures.folders["other"] == Counts(0, 0, 1, {"failed": 1})
    assert (figures.last_minute.stored, figures.last_hour.stored) == (0, 1)
    assert figures.oldest_open == 1_002.0
    assert [record["reason"] for record in figures.last_errors] == ["empty"]


async def test_story_of_an_image(views: JournalViews, journal: SqliteJournal) -> None:
    """By id, by the beginning of an id, or by path: what happened, step by step, and its endings."""
    image = next(iter(views.images(limit=1)))
    await journal.requested(image.id, None, (BUCKET, "k"), 1_010.0)
    await journal.postponed(image.id, None, Postponement(1_020.0, 1, 1, False, "HTTP 500"), 1_011.0)

    (story,) = views.stories(image.id)

    assert [step.event for step in story.steps] == ["image.detected", "image.requested", "image.retry"]
    assert story.steps[2].detail["message"] == "HTTP 500"
    assert [image.id] == [each.image.id for each in views.stories(str(ROOT / "d/2.jpg"))]
    assert len(views.stories("image-")) == 5
    assert [] == views.stories("ima") == views.stories("/elsewhere/x.jpg") == views.stories("no-such-id")


def test_story_of_a_path_has_its_endings(views: JournalViews) -> None:
    """All versions of a file, each with how it ended."""
    (story,) = views.stories(str(ROOT / "stored.jpg"))

    assert [ending.record["event"] for ending in story.endings] == ["image.stored"]


def test_reader_cannot_write(connection: sqlite3.Connection) -> None:
    """Reading commands never get in the daemon's way."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM images")


class TestSpeed:
    """Not how fast, but which way: an index is used where a backlog would make a scan slow."""

    @pytest.mark.parametrize(("query", "values"), [("_DUE_OUTPUTS", (0, 1.0)), ("_DUE_IMAGES", (1.0,))])
    def test_due_is_read_from_an_index_in_order(
        self, connection: sqlite3.Connection, query: str, values: tuple[float, ...]
    ) -> None:
        """Neither sorted nor searched: the first rows of an index are the answer."""
        from watcher.records import queries

        plan = connection.execute(f"EXPLAIN QUERY PLAN {getattr(queries, query)}", values).fetchall()

        words = " | ".join(row[3] for row in plan)
        assert "INDEX outputs_due" in words or "INDEX images_ended" in words
        assert "TEMP B-TREE" not in words
        assert "SCAN outputs" not in words.replace("SCAN outputs USING", "")
