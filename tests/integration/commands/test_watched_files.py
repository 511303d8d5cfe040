"""Nothing dropped is invisible: files that are not whole and files that are ignored, in `list` and `status`."""

from __future__ import annotations

import json

import pytest

from tests.integration.commands.conftest import BROKEN
from tests.integration.commands.test_reading import listed
from watcher.commands.listing import list_images
from watcher.commands.status import show_status
from watcher.config.schema import Settings
from watcher.model import FileRef, IgnoredReason, Observation, Unfinished
from watcher.records.sqlite_journal import SqliteJournal

Captured = pytest.CaptureFixture[str]
CUT = Unfinished(500, 1_010.0, "truncated", "the jpeg file is not whole yet: the end is missing")
EMPTY = Unfinished(0, 1_009.0, "empty", "the file is empty")


@pytest.fixture
async def watched(journal: SqliteJournal, settings: Settings) -> SqliteJournal:
    """Two files that are waited for, one that is ignored."""
    await journal.wait_for("products", {b"sub/cut.jpg": CUT, BROKEN: EMPTY}, [])
    file = FileRef("products", settings.folders[0].path, b"sub/layers.psd")
    await journal.ignore(file, Observation(9, 1, 2, 3), IgnoredReason.UNSUPPORTED, "a Photoshop file (PSD): export a PNG")
    return journal


async def test_files_that_are_not_whole_are_listed_with_what_is_missing(
    watched: SqliteJournal, settings: Settings, capsys: Captured
) -> None:
    """Those that wait longest first, before the images that wait for a request."""
    rows = listed(settings, capsys, "waiting")

    assert [row["reason"] for row in rows] == ["empty", "truncated", None]
    assert rows[1]["file"].endswith("/drop/sub/cut.jpg")
    assert (rows[1]["id"], rows[1]["message"]) == (None, CUT.message)
    assert rows[1]["detected"] == "1970-01-01T00:16:50.000000Z"


async def test_a_file_that_is_whole_now_is_not_listed_any_more(
    watched: SqliteJournal, settings: Settings, capsys: Captured
) -> None:
    """And the wait of one that is said again began when it was said first."""
    await watched.wait_for("products", {b"sub/cut.jpg": Unfinished(600, 1_020.0, "truncated", "more")}, [BROKEN])

    rows = listed(settings, capsys, "waiting", since=1_004.0)
    assert [(row["input_size"], row["message"], row["detected"][17:19]) for row in rows] == [(600, "more", "50")]


async def test_ignored_files_are_listed_with_why(watched: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    (row,) = listed(settings, capsys, "ignored")
    assert row["file"].endswith("/drop/sub/layers.psd")
    assert (row["state"], row["reason"]) == ("ignored", "unsupported")
    assert row["message"].startswith("a Photoshop file")

    assert list_images(settings, "ignored", None, None, limit=100, form="table") == 0
    assert "unsupported: a Photoshop file (PSD): export a PNG" in capsys.readouterr().out


async def test_status_counts_them(watched: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    show_status(settings, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["not_whole"], told["ignored"]) == (2, 1)

    show_status(settings, as_json=False)
    assert "2 not whole (`list --state waiting`), 1 ignored (`list --state ignored`)" in capsys.readouterr().out


async def test_list_says_how_many_more_there_are(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    list_images(settings, None, None, None, limit=2, form="table")
    assert "3 more are not shown" in capsys.readouterr().err

    list_images(settings, None, None, None, limit=0, form="table")
    assert capsys.readouterr().err == ""


async def test_list_says_that_nothing_was_found(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    list_images(settings, "vanished", None, None, limit=100, form="table")
    assert "nothing found" in capsys.readouterr().err
