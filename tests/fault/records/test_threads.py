"""The writer thread under troubles of its own: another process in the way, a damaged file, a disk that hangs."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.records import BUCKET, image_of, open_journal, sighting, take_one
from watcher.errors import Unavailable
from watcher.model import Event
from watcher.records import database
from watcher.records import sqlite_journal as journal_module
from watcher.records import threads as threads_module


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries come quickly; nothing else is different."""
    monkeypatch.setattr(threads_module, "MAX_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(journal_module, "CLOSE_PATIENCE_SECONDS", 0.5)


async def test_another_process_in_the_way_is_waited_for(tmp_path: Path) -> None:
    """Somebody holds a write lock (a backup tool, sqlite3 by hand): said once, and work goes on when he lets go."""
    log = RecordedLog()
    journal = open_journal(tmp_path / "journal.db", events=log)
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    taking = asyncio.create_task(journal.take([sighting()]))
    await wait_until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))
    blocked = not taking.done()
    other.execute("COMMIT")
    other.close()

    assert blocked
    assert len(await asyncio.wait_for(taking, 20)) == 1
    assert "another process" in log.of(Event.JOURNAL_UNAVAILABLE)[0]["hint"]
    assert len(log.of(Event.JOURNAL_RECOVERED)) == 1
    await journal.close()


def failing(times: int, code: int) -> tuple[list[int], object]:
    """A change during which SQLite reports `code`, so many times; and how often it was run."""
    runs: list[int] = []

    def change(_: sqlite3.Connection) -> str:
        runs.append(len(runs))
        if len(runs) <= times:
            error = sqlite3.DatabaseError("made for this test")
            error.sqlite_errorcode = code
            raise error
        return "made"

    return runs, change


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM])
async def test_refusing_disk_is_tried_again(code: int) -> None:
    """Whatever the disk's reason, the whole batch is made again until it goes through; being patient is being alive."""
    log = RecordedLog()
    journal = open_journal(events=log)
    image = await take_one(journal)
    runs, change = failing(4, code)

    both = asyncio.gather(journal.requested(image.id, None, (BUCKET, "k"), 1_000.0), journal._change(change))  # type: ignore[arg-type]
    await wait_until(lambda: len(runs) > 2)
    alive = journal.alive()

    assert await asyncio.wait_for(both, 20) == [True, "made"]
    assert alive
    assert [event for event, _ in log.lines] == [Event.JOURNAL_UNAVAILABLE, Event.JOURNAL_RECOVERED]
    await journal.close()


async def test_damage_while_running_asks_for_a_restart() -> None:
    """A damaged file is not waited out: the watchdog is told, so that a restart sets it aside; nobody is told a lie."""
    log = RecordedLog()
    journal = open_journal(events=log)
    runs, change = failing(10_000, sqlite3.SQLITE_CORRUPT)
    waiting = asyncio.create_task(journal._change(change))  # type: ignore[arg-type]
    await wait_until(lambda: len(runs) > 1)

    assert not journal.alive()
    assert "restart" in log.of(Event.JOURNAL_UNAVAILABLE)[0]["hint"]
    await journal.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_hanging_disk_is_told_to_the_watchdog() -> None:
    """A write that does not come back for a minute is no sign of life; when it does, all is well again."""
    clock = MovedClock()
    journal = open_journal(clock=clock)
    answered = threading.Event()
    hanging = asyncio.create_task(journal._change(lambda _: answered.wait(20)))
    await wait_until(journal._writer._jobs.empty)
    before = journal.alive()
    clock.move(threads_module.STUCK_SECONDS + 1)
    meanwhile = journal.alive()
    answered.set()
    await hanging

    await wait_until(journal.alive)
    assert (before, meanwhile) == (True, False)
    await journal.close()


async def test_idle_writer_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to write for longer than the watchdog's patience is no reason to be restarted."""
    monkeypatch.setattr(threads_module, "HEARTBEAT_SECONDS", 0.02)
    clock = MovedClock()
    journal = open_journal(clock=clock)
    clock.move(threads_module.STUCK_SECONDS * 10)

    await wait_until(journal.alive)
    await journal.close()


async def test_wrong_change_spoils_nobody_elses() -> None:
    """In one batch with a change that fails, the others are made once, and its caller alone hears of it."""
    journal = open_journal()
    image = await take_one(journal)

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM outputs")
        raise ZeroDivisionError

    answers = await asyncio.gather(
        journal.requested(image.id, None, (BUCKET, "k"), 1_000.0),
        journal._change(wrong),
        journal.enqueued(image.id, None, "job", 1_000.0),
        return_exceptions=True,
    )

    assert [answers[0], type(answers[1]), answers[2]] == [True, ZeroDivisionError, True]
    assert (await image_of(journal, image.id)).outputs[0].job_id == "job"
    await journal.close()
    assert not journal.alive()


async def test_closed_journal_refuses() -> None:
    """After the end nothing is accepted that could not be written."""
    journal = open_journal()
    await journal.close()
    await journal.close()

    with pytest.raises(Unavailable, match="closed"):
        await journal.take([sighting()])
