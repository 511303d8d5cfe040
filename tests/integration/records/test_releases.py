"""Journals that earlier releases wrote are opened by this one, and work goes on in them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.records import BUCKET, open_journal, stored
from tests.tools.journal_fixture import FIXTURES, POSTGRES_FIXTURES
from watcher import __version__
from watcher.records.journal import ThreadedJournal
from watcher.records.views import JournalViews

RELEASES = sorted(FIXTURES.glob("*.sql"))
POSTGRES_RELEASES = sorted(POSTGRES_FIXTURES.glob("*.sql"))


@pytest.fixture(params=RELEASES, ids=lambda file: file.stem)
def left_behind(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A journal as a daemon of that release left it."""
    path = tmp_path / "journal.db"
    connection = sqlite3.connect(path)
    connection.executescript(request.param.read_text(encoding="utf-8"))
    connection.close()
    return path


def test_this_release_has_a_journal_among_them() -> None:
    """So that the next one can be tried on it."""
    assert __version__ in {file.stem for file in RELEASES}
    assert __version__ in {file.stem for file in POSTGRES_RELEASES}


async def test_work_goes_on_in_it(left_behind: Path) -> None:
    """What waited waits, what was in flight is in doubt, originals are still to be put away, what is stored is known, and an
    ending follows the last one.
    """
    await work_goes_on(open_journal(left_behind))


@pytest.mark.parametrize("file", POSTGRES_RELEASES, ids=lambda file: file.stem)
async def test_work_goes_on_in_a_shared_one(file: Path, postgres: Postgres) -> None:
    """The same, for the host that left it and beside another one."""
    url = postgres.database()
    postgres.run_sql(file.read_text(encoding="utf-8"), url.rpartition("/")[2])
    other = await open_postgres(url, host="scanner-2")
    await work_goes_on(await open_postgres(url, host="scanner-1"))
    assert await other.due(1e12, 100, ()) == []
    await other.close()


async def work_goes_on(journal: ThreadedJournal) -> None:
    due = {image.file.relative: image for image in await journal.due(1e12, 100, ())}
    last = await journal.last_seq()

    assert {name for name, image in due.items() if image.open_outputs} == {b"requested.jpg", b"waiting.jpg"}
    assert {name for name, image in due.items() if not image.open_outputs} == {b"failed.jpg", b"unchanged.jpg"}
    assert due[b"requested.jpg"].outputs[0].doubt
    assert not due[b"waiting.jpg"].outputs[0].doubt
    place = (BUCKET, "products/stored.jpg-None")
    assert set(await journal.stored_at([place])) == {place}
    waiting = due[b"waiting.jpg"]
    assert await journal.requested(waiting.id, None, (BUCKET, "products/a.jpg"), 1_010.0)
    assert await journal.end(waiting.id, None, stored(waiting), 1_011.0)
    assert await journal.last_seq() == last + 1
    await journal.close()


async def test_commands_read_it(left_behind: Path) -> None:
    """After the daemon of this release has opened it once."""
    await open_journal(left_behind).close()
    with JournalViews.open(left_behind) as views:
        states = {image.file.relative: image.outputs[0].state for image in views.images()}
        ignored = [file.relative for file in views.ignored_files()]

    assert states == {
        b"stored.jpg": "stored",
        b"failed.jpg": "failed",
        b"unchanged.jpg": "unchanged",
        b"requested.jpg": "waiting",
        b"waiting.jpg": "waiting",
    }
    assert ignored == [b"notes.txt"]
