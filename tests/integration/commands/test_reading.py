"""status, list, show on a journal that a daemon left, or has open."""

import base64
import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands.conftest import BROKEN, configure
from watcher.commands.listing import COLUMNS, list_images
from watcher.commands.show import show_image
from watcher.commands.status import show_status
from watcher.config.schema import Settings
from watcher.errors import Unavailable
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.instance import InstanceLock
from watcher.shown.report import ApiFigures, DaemonReport, FolderState

Captured = pytest.CaptureFixture[str]


def listed(settings: Settings, capsys: Captured, state: str | None = None, **changes: Any) -> list[dict[str, Any]]:
    """The lines of `list --json`."""
    arguments = {"folder": None, "since": None, "limit": 0, "form": "json", **changes}
    assert list_images(settings, state, **arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [Path(row["file"]).name + (f"-{row['rendition']}" if row["rendition"] else "") for row in rows]


# --- list -------------------------------------------------------------------------------------------------------------------


async def test_list_has_a_line_for_each_output_newest_first(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """The folder's own output first, then its renditions, of the newest image first."""
    rows = listed(settings, capsys)

    shown = BROKEN.decode("utf-8", "backslashreplace")
    assert names(rows) == ["waiting.jpg", shown, "failed.jpg", "stored.jpg", "stored.jpg-thumb"]
    assert [row["state"] for row in rows] == ["waiting", "failed", "failed", "stored", "stored"]
    assert rows[3]["url"].startswith("https://example.com/products/stored.jpg")
    assert (rows[2]["reason"], rows[2]["hint"]) == ("truncated", "drop it whole")


async def test_list_is_filtered_by_state_folder_time_and_number(
    journal: SqliteJournal, settings: Settings, capsys: Captured
) -> None:
    """Every line is in the state asked for, and no filter crashes on a word that the journal does not know."""
    assert {row["state"] for row in listed(settings, capsys, "stored")} == {"stored"}
    assert names(listed(settings, capsys, "open")) == ["waiting.jpg"]
    assert names(listed(settings, capsys, since=1_003.0)) == ["waiting.jpg"]
    assert len(listed(settings, capsys, limit=2)) == 2
    assert len(listed(settings, capsys, folder="products")) == 5
    assert listed(settings, capsys, folder="caf\udce9") == []


async def test_list_says_when_the_folder_is_unknown(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """A misspelt folder is not just an empty list."""
    assert list_images(settings, None, "produtcs", None, limit=0, form="table") == 0

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no folder 'produtcs' in the configuration; there are products" in captured.err


async def test_a_name_that_is_no_text_can_be_had_back(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """JSON stays valid, and file_base64 holds the very bytes."""
    row = listed(settings, capsys, "failed")[0]

    assert base64.b64decode(row["file_base64"]).endswith(b"/drop/" + BROKEN)


async def test_the_csv_has_a_header_and_the_same_lines(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """One row for each line of the JSON form, whatever stands in the names."""
    assert list_images(settings, None, None, None, limit=0, form="csv") == 0

    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == list(COLUMNS)
    assert [row[header.index("state")] for row in rows] == ["waiting", "failed", "failed", "stored", "stored"]
    assert {len(row) for row in rows} == {len(COLUMNS)}


async def test_the_table_has_no_escapes_and_no_broken_lines(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """Piped, each image is one line, without colours, and a name cannot smuggle any in."""
    assert list_images(settings, None, None, None, limit=0, form="table") == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["ID", "DETECTED", "(UTC)", "STATE", "FILE"]
    assert "\x1b" not in "".join(lines)
    assert "\\xe9 \\x1b[31m.jpg" in lines[2]


# --- show -------------------------------------------------------------------------------------------------------------------


def shown(settings: Settings, capsys: Captured, what: str) -> dict[str, Any]:
    """What `show --json` prints."""
    assert show_image(settings, what, as_json=True) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


async def test_show_tells_the_whole_history(journal: SqliteJournal, settings: Settings, tmp_path: Path, capsys: Captured) -> None:
    """From the detection through the requests and endings of all outputs to what became of the file; and no token."""
    story = shown(settings, capsys, str(tmp_path / "drop/stored.jpg"))

    events = [(step["event"], step["rendition"]) for step in story["history"]]
    assert events == [
        ("image.detected", None),
        ("image.requested", None),
        ("image.stored", None),
        ("image.requested", "thumb"),
        ("image.stored", "thumb"),
        ("finished", None),
    ]
    assert [output["state"] for output in story["outputs"]] == ["stored", "stored"]
    assert [output["ending"]["event"] for output in story["outputs"]] == ["image.stored", "image.stored"]
    assert "token" not in json.dumps(story)
    assert "secret" not in json.dumps(story)


async def test_show_takes_ids_paths_and_links_to_paths(
    journal: SqliteJournal, settings: Settings, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id, the beginning of one that is unique, a path from here, and one that leads through a link: all the same image."""
    identity = listed(settings, capsys, "waiting")[0]["id"]
    (tmp_path / "link").symlink_to(tmp_path / "drop")
    monkeypatch.chdir(tmp_path / "drop")

    for what in (identity, "waiting.jpg", "../drop/./waiting.jpg", str(tmp_path / "link/waiting.jpg")):
        assert shown(settings, capsys, what)["id"] == identity
    broken = shown(settings, capsys, os.fsdecode(BROKEN))
    assert broken["outputs"][0]["ending"]["reason"] == "truncated"


async def test_show_prints_for_people(journal: SqliteJournal, settings: Settings, tmp_path: Path, capsys: Captured) -> None:
    """The reason, the hint and every step, in lines without escapes."""
    assert show_image(settings, str(tmp_path / "drop/sub/failed.jpg"), as_json=False) == 0

    text = capsys.readouterr().out
    assert "truncated: the end is missing (drop it whole)" in text
    assert "detected" in text
    assert "kept" in text
    assert "\x1b" not in text


async def test_show_says_what_it_cannot_find(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """An unknown file, and a beginning that many ids share, end with status 1 and what to do."""
    assert show_image(settings, "/nowhere/x.jpg", as_json=False) == 1
    assert "no image is known by this path, id, key or address: /nowhere/x.jpg" in capsys.readouterr().err
    assert show_image(settings, "image-", as_json=False) == 1
    assert "several images have an id that begins with image-" in capsys.readouterr().err


# --- status -----------------------------------------------------------------------------------------------------------------


async def test_status_counts_and_names_the_last_errors(
    journal: SqliteJournal, settings: Settings, tmp_path: Path, capsys: Captured
) -> None:
    """Everything is there whether or not a daemon runs; without one the exit status is 3."""
    assert show_status(settings, as_json=True) == 3

    status = json.loads(capsys.readouterr().out)
    assert (status["running"], status["pid"], status["since"]) == (False, None, None)
    assert (status["queue"], status["in_flight"], status["failed"], status["ended"]["stored"]) == (1, 0, 2, 1)
    assert [Path(error["file"]).name for error in status["last_errors"]][1] == "failed.jpg"
    assert status["outputs"]["stored"] == 2
    assert status["api"] == {"state": "unknown", "words": "not known while no daemon runs", "since": None, "message": ""}
    (folder,) = status["folders"]
    assert (folder["name"], folder["path"], folder["state"]) == ("products", str(tmp_path / "drop"), "ok")
    assert (folder["queue"], folder["failed"], folder["ended"]["stored"]) == (1, 2, 1)


async def test_status_knows_a_running_daemon(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """Who holds the state's lock is the daemon: its process id and since when."""
    lock = InstanceLock.take(settings.state_dir)
    try:
        assert show_status(settings, as_json=True) == 0
        status = json.loads(capsys.readouterr().out)
        assert show_status(settings, as_json=False) == 0
    finally:
        lock.release()

    assert (status["running"], status["pid"]) == (True, os.getpid())
    assert status["since"].startswith("20")
    assert f"running, pid {os.getpid()}, since " in capsys.readouterr().out


async def test_status_says_what_the_daemon_says_of_api_and_folders(
    journal: SqliteJournal, settings: Settings, tmp_path: Path, capsys: Captured
) -> None:
    """The way to the API, and a folder that is away, in plain words."""
    folder = FolderState("products", str(tmp_path / "drop"), "lost", "it is not mounted")
    report = DaemonReport(ApiFigures("key_refused", 1_763_808_120.0, "HTTP 401"), (folder,))
    await journal.keep_report("here", report, 1_600.0)
    lock = InstanceLock.take(settings.state_dir)
    try:
        show_status(settings, as_json=False)
    finally:
        lock.release()

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("API         key refused since 2025-11-22 10:42:00: HTTP 401") for line in lines)
    assert any(line.startswith("folder") and line.endswith("lost: it is not mounted") for line in lines)


async def test_a_retried_failure_is_no_failure_any_more(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """`failed` counts what somebody still has to look at, and `last_errors` shows nothing else."""
    await journal.retry(None, lambda folder: sighting_rule(settings, folder), 2_000.0)
    show_status(settings, as_json=True)

    status = json.loads(capsys.readouterr().out)
    assert (status["failed"], status["last_errors"]) == (0, [])


def sighting_rule(settings: Settings, folder: str) -> Any:
    from watcher.config.rules import folder_rules

    return folder_rules(settings)[folder].rule


# --- where there is nothing -------------------------------------------------------------------------------------------------


def test_before_the_first_run_there_is_a_clear_word(settings: Settings, capsys: Captured) -> None:
    """No journal is no error of the user's: figures are zero, lists are empty, and a note says why."""
    assert show_status(settings, as_json=True) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["queue"] == 0
    assert "nothing is recorded yet" in captured.err

    assert listed(settings, capsys) == []
    assert show_image(settings, "anything", as_json=False) == 1
    assert "nothing is recorded yet" in capsys.readouterr().err


def test_a_file_that_is_no_journal_is_said(settings: Settings) -> None:
    """Something else at the journal's place is an error with its name, not a traceback."""
    settings.state_dir.mkdir()
    settings.journal_path.write_bytes(b"this is no database, but long enough to look like one " * 40)

    with pytest.raises(Unavailable, match="journal"):
        show_status(settings, as_json=False)


@pytest.mark.parametrize("kind", ["missing", "not_a_folder"])
def test_status_shows_what_is_wrong_with_a_folder(tmp_path: Path, capsys: Captured, kind: str) -> None:
    """A folder that is away, or no folder, stands out in the status."""
    place = tmp_path / "other"
    if kind == "not_a_folder":
        place.write_text("x")
    settings = configure(tmp_path, folders=[{"path": str(place)}])
    show_status(settings, as_json=True)

    assert json.loads(capsys.readouterr().out)["folders"][0]["state"] == kind
