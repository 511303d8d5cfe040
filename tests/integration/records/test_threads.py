"""The thread that answers the journal's questions."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from watcher.errors import Unavailable
from watcher.records.threads import ReadThread


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    opened = sqlite3.connect(tmp_path / "numbers.db", check_same_thread=False)
    opened.execute("CREATE TABLE numbers (number INTEGER)")
    opened.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1_000)])
    opened.commit()
    return opened


@pytest.fixture
async def reader(connection: sqlite3.Connection) -> AsyncIterator[ReadThread]:
    opened = ReadThread(connection)
    yield opened
    opened.accept_no_more()
    await asyncio.to_thread(opened.close)


def square(connection: sqlite3.Connection, number: int) -> int:
    return int(connection.execute("SELECT number * number FROM numbers WHERE number = ?", (number,)).fetchone()[0])


async def test_everybody_gets_their_own_answer(reader: ReadThread) -> None:
    """However many ask at once."""
    asked = [reader.ask(lambda connection, number=number: square(connection, number)) for number in range(1_000)]

    assert await asyncio.gather(*asked) == [number * number for number in range(1_000)]


async def test_a_wrong_question_is_told_to_who_asked_it(reader: ReadThread) -> None:
    """The others, before it and after, do not notice."""
    before = reader.ask(lambda connection: square(connection, 2))
    wrong = reader.ask(lambda connection: connection.execute("SELECT unheard_of"))
    after = reader.ask(lambda connection: square(connection, 3))

    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        await wrong
    assert (await before, await after) == (4, 9)


async def test_who_does_not_wait_any_more_is_left_alone(reader: ReadThread) -> None:
    """A turn that is cancelled while it asks spoils nothing."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> None:
        begun.set()
        go_on.wait(20)

    asked = reader.ask(slow)
    other = reader.ask(lambda connection: square(connection, 4))
    await asyncio.to_thread(begun.wait, 20)
    asked.cancel()
    go_on.set()

    assert await other == 16
    assert asked.cancelled()


async def test_the_last_questions_are_answered_and_later_ones_refused(connection: sqlite3.Connection) -> None:
    """What was asked before the end gets its answer; then the file is let go."""
    reader = ReadThread(connection)
    asked = [reader.ask(lambda connection, number=number: square(connection, number)) for number in range(100)]
    reader.accept_no_more()
    reader.accept_no_more()
    with pytest.raises(Unavailable, match="closed"):
        reader.ask(lambda connection: square(connection, 1))
    await asyncio.to_thread(reader.close)

    assert await asyncio.gather(*asked) == [number * number for number in range(100)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
