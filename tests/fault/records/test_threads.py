"""The writer thread under troubles of its own: another process in the way, a damaged file, a disk that hangs."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.records import open_journal, sighting
from watcher.errors import Unavailable
from watcher.model import Event
from watcher.records import database
from watcher.records import journal as journal_module
from watcher.records import threads as threads_module
from watcher.records.outage import Outage
from watcher.records.sqlite_engine import SqliteEngine
from watcher.records.threads import WriteThread

pytestmark = pytest.mark.journals("sqlite", reason="the thread is the same for both engines")


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


def open_writer(log: RecordedLog | None = None, clock: MovedClock | None = None) -> WriteThread:
    """The write thread alone, over a table of words in memory."""
    connection = database.connect(database.MEMORY)
    connection.execute("CREATE TABLE words (word TEXT)")
    clock = clock or MovedClock()
    return WriteThread(SqliteEngine(connection), outage=Outage(log or RecordedLog(), clock), clock=clock)


def add(word: str) -> Callable[[sqlite3.Connection], None]:
    """A change that is right: one more word."""

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO words VALUES (?)", (word,))

    return change


def words(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]


async def close(writer: WriteThread, patience: float = 20.0) -> None:
    writer.accept_no_more()
    await asyncio.to_thread(writer.close, patience)


def failing(times: int, code: int) -> tuple[list[int], Callable[[sqlite3.Connection], str]]:
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
    writer = open_writer(log)
    runs, change = failing(4, code)

    both = asyncio.gather(writer.submit(add("first")), writer.submit(change))
    await wait_until(lambda: len(runs) > 2)
    alive = writer.alive()

    assert await asyncio.wait_for(both, 20) == [None, "made"]
    assert await writer.submit(words) == ["first"]
    assert alive
    assert [event for event, _ in log.lines] == [Event.JOURNAL_UNAVAILABLE, Event.JOURNAL_RECOVERED]
    await close(writer)


async def test_nothing_is_made_after_what_was_given_up() -> None:
    """At a stop on a refusing disk all that waits is refused, in order: what follows a refused change is not even tried."""
    writer = open_writer()
    runs, refused = failing(10_000, sqlite3.SQLITE_FULL)
    tried: list[str] = []
    first = writer.submit(refused)
    await wait_until(lambda: runs)
    later = [writer.submit(lambda _, each=each: tried.append(each)) for each in ("b", "c")]  # type: ignore[misc]

    await close(writer, 0.1)

    outcomes = await asyncio.gather(first, *later, return_exceptions=True)
    assert [Unavailable] * 3 == [type(outcome) for outcome in outcomes]
    assert tried == []


async def test_a_disk_that_is_only_slow_loses_nothing() -> None:
    """The patience of a stop is for refusals: while the disk takes what it is given, everything is written to the last."""
    writer = open_writer()
    answered = threading.Event()
    slow = writer.submit(lambda _: answered.wait(20))
    later = writer.submit(add("later"))
    closing = asyncio.create_task(close(writer, 0.05))
    await asyncio.sleep(0.1)  # longer than the patience of the first wait
    answered.set()
    await closing

    assert [True, None] == await asyncio.wait_for(asyncio.gather(slow, later), 20)


async def test_damage_while_running_asks_for_a_restart() -> None:
    """A damaged file is not waited out: the watchdog is told, so that a restart sets it aside; nobody is told a lie."""
    log = RecordedLog()
    writer = open_writer(log)
    runs, change = failing(10_000, sqlite3.SQLITE_CORRUPT)
    waiting = writer.submit(change)
    await wait_until(lambda: len(runs) > 1)

    assert not writer.alive()
    assert "restart" in log.of(Event.JOURNAL_UNAVAILABLE)[0]["hint"]
    await close(writer, 0.1)
    with pytest.raises(Unavailable):
        await waiting


async def test_hanging_disk_is_told_to_the_watchdog() -> None:
    """A write that does not come back for a minute is no sign of life; when it does, all is well again."""
    clock = MovedClock()
    writer = open_writer(clock=clock)
    asked, answered = threading.Event(), threading.Event()
    hanging = writer.submit(lambda _: (asked.set(), answered.wait(20)))
    await wait_until(asked.is_set)
    before = writer.alive()
    clock.move(threads_module.STUCK_SECONDS + 1)
    meanwhile = writer.alive()
    answered.set()
    await hanging

    await wait_until(writer.alive)
    assert (before, meanwhile) == (True, False)
    await close(writer)


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
    writer = open_writer()

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM words")
        raise ZeroDivisionError

    answers = await asyncio.gather(
        *(writer.submit(change) for change in (add("before"), wrong, add("after"))), return_exceptions=True
    )

    assert [type(None), ZeroDivisionError, type(None)] == list(map(type, answers))
    assert await writer.submit(words) == ["before", "after"]
    await close(writer)
    assert not writer.alive()


class CountingEngine(SqliteEngine):
    """Counts its commits."""

    commits = 0

    def commit(self) -> None:
        super().commit()
        self.commits += 1


async def test_a_change_waits_for_others_where_many_came_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come meanwhile are committed with it, and a stop ends the wait."""
    monkeypatch.setattr(threads_module, "GATHER_SECONDS", 60.0)
    connection = database.connect(database.MEMORY)
    connection.execute("CREATE TABLE words (word TEXT)")
    engine, clock = CountingEngine(connection), MovedClock()
    writer = WriteThread(engine, outage=Outage(RecordedLog(), clock), clock=clock)
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> bool:
        begun.set()
        return go_on.wait(20)

    first = writer.submit(slow)
    assert await asyncio.to_thread(begun.wait, 20)
    many = [writer.submit(add(word)) for word in "abc"]
    go_on.set()
    await asyncio.gather(first, *many)
    last = [writer.submit(add(word)) for word in "de"]
    writer.accept_no_more()
    await asyncio.wait_for(asyncio.gather(*last), 20)

    assert engine.commits == 3
    await close(writer)


async def test_closed_journal_refuses() -> None:
    """After the end nothing is accepted that could not be written."""
    journal = open_journal()
    await journal.close()
    await journal.close()

    with pytest.raises(Unavailable, match="closed"):
        await journal.take([sighting()])
