"""What the page asks of a journal in which much has happened."""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.big_journal import fill
from watcher.records import browsing, database
from watcher.records.browsing import PageViews

NOW = 1_796_000_400.0
COUNT = 3_000
SMALL = ("images_failed", "images_open", "images_ended", "outputs_in_flight", "outputs_due", "files_ignored")
"""Indexes of what is going on and of what is not settled; the others have a row for each image."""
LARGE = re.compile(
    r"SCAN (images|others|outputs|endings|history|objects|files)\b(?! USING (COVERING )?INDEX ({}))".format("|".join(SMALL))
)
FIRST = f"ORDER BY ended_at DESC LIMIT {browsing.LATEST_SHOWN}"
"""Reads an index of all images from its end, and no more of it than this."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "journal.db"


@pytest.fixture
async def views(path: Path) -> AsyncIterator[PageViews]:
    if not path.exists():
        await fill(path, COUNT, NOW)
    with closing(database.open_beside(path, database.schema().version, writable=False)) as connection:
        yield PageViews(connection)


def test_a_picture_holds_the_first_of_each_kind(views: PageViews) -> None:
    """Numbers of all, and as much of each kind as is shown."""
    picture = views.picture(NOW)

    assert picture.figures.counts.failed == COUNT // 100
    assert [(group.reason, group.count, len(group.images)) for group in picture.failures] == [
        ("rejected", COUNT // 150, browsing.FAILED_SHOWN),
        ("truncated", COUNT // 300, browsing.FAILED_SHOWN),
    ]
    assert [image.file for image in picture.latest[:2]] == ["000/IMG_0003000.jpg", "499/IMG_0002999.jpg"]
    assert len(picture.latest) == browsing.LATEST_SHOWN
    stored = picture.latest[1].outputs[0]
    assert (stored.input_size, stored.output_size, stored.saved_percent) == (2_400_000, 214_000, 91.1)
    assert picture.failures[0].images[0].failure is not None
    assert picture.failures[0].images[0].failure.hint == "fix what the message names"
    views.close()


def test_many_failures_are_counted_all(views: PageViews, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all of them are looked at, the database counts."""
    monkeypatch.setattr(browsing, "FAILED_READ", 5)
    groups = views.picture(NOW).failures
    assert [(group.reason, group.count) for group in groups] == [("rejected", COUNT // 150), ("truncated", COUNT // 300)]
    assert sum(len(group.images) for group in groups) == 5
    assert len(views.failed_of("truncated")) == COUNT // 300
    views.close()


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("417/IMG_0002917", ["417/IMG_0002917.jpg"]),
        ("products/002/IMG_0002502.jpg", ["002/IMG_0002502.jpg"]),
        ("https://my-bucket.s3.eu-central-003.backblazeb2.com/products/002/IMG_0002502.jpg", ["002/IMG_0002502.jpg"]),
        ("https://cdn.example.com/products/002/IMG_0002502.jpg", ["002/IMG_0002502.jpg"]),
        ("/srv/products/002/IMG_0002502.jpg", ["002/IMG_0002502.jpg"]),
        ("img_0002502", ["002/IMG_0002502.jpg"]),
        ("no such picture", []),
        ("100%", []),
        ("_", ["000/IMG_0003000.jpg", "499/IMG_0002999.jpg"]),
    ],
    ids=["path", "key", "url", "link", "absolute", "part", "nothing", "percent", "many"],
)
def test_search(views: PageViews, text: str, files: list[str]) -> None:
    """By path, key, URL, or a part of the name; signs that mean something to a database are only signs."""
    found = views.search(text)
    assert [image.file for image in found.images[:2]] == files
    assert found.is_all == (len(found.images) < browsing.FOUND_SHOWN)
    views.close()


def test_a_story_tells_the_other_versions(views: PageViews) -> None:
    """By the whole id."""
    image = views.picture(NOW).latest[0]
    story = views.whole_story(image.id)
    assert story is not None
    assert [step.event for step in story.steps] == ["image.detected", "image.requested", "finished"]
    assert (story.others, story.image.id) == ((), image.id)
    assert views.whole_story(image.id[:8]) is None
    views.close()


QUESTIONS: dict[str, Callable[[PageViews], object]] = {
    "picture": lambda views: views.picture(NOW),
    "figures": lambda views: views.figures(NOW),
    "hours": lambda views: views.hours_since(NOW - 86_400.0),
    "failed": lambda views: views.failed_of("rejected"),
    "story": lambda views: views.whole_story(views.picture(NOW).latest[0].id),
    "key": lambda views: views.search("products/002/IMG_0002502.jpg"),
    "url": lambda views: views.search("https://my-bucket.s3.eu-central-003.backblazeb2.com/products/002/IMG_0002502.jpg"),
}


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_no_question_reads_all_images(views: PageViews, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement finds its rows by an index: a million images cost no more than these."""
    monkeypatch.setattr(browsing, "FAILED_READ", 5)  # so that the counting of many failures is asked as well
    connection = views._connection  # noqa: SLF001 - to see its statements
    assert isinstance(connection, sqlite3.Connection)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    QUESTIONS[name](views)
    connection.set_trace_callback(None)

    plans = list(_plans(connection, statements))
    assert plans
    assert [] == [plan for plan in plans if LARGE.search(plan) and FIRST not in plan]
    views.close()


def _plans(connection: sqlite3.Connection, statements: list[str]) -> Iterator[str]:
    for statement in statements:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            yield from (f"{row[3]}: {statement}" for row in connection.execute("EXPLAIN QUERY PLAN " + statement))
