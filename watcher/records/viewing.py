"""The journal for open pages: a reader of its own beside the daemon's, so that nobody who looks delays the work."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, TypeVar

from watcher.errors import Unavailable
from watcher.records import database
from watcher.records.browsing import PageViews
from watcher.records.threads import ReadThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcher.records.dialect import Connection

Answer = TypeVar("Answer")


class Viewing:
    """Answers questions about a journal file in a thread of its own, which begins with the first question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: ReadThread | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def ask(self, question: Callable[[PageViews], Answer]) -> Answer:
        """The answer, all of it seen at one moment. Raises Unavailable where the journal cannot be read, or after `close`."""
        thread = await self._ready()
        try:
            return await thread.ask(lambda connection: _at_one_moment(connection, question))
        except sqlite3.Error as error:
            raise Unavailable(f"the journal cannot be read: {error}", "look at its disk; it is tried again") from error

    async def close(self) -> None:
        """Let go of the file. May be called twice."""
        async with self._opening:
            self._closed = True
        if self._thread is not None:
            self._thread.accept_no_more()
            await asyncio.to_thread(self._thread.close)

    async def _ready(self) -> ReadThread:
        async with self._opening:
            if self._closed:
                raise Unavailable("the journal is closed")
            if self._thread is None:
                version = database.schema().version
                connection = await asyncio.to_thread(database.open_beside, self._path, version, writable=False)
                self._thread = ReadThread(connection)
            return self._thread


def _at_one_moment(connection: Connection, question: Callable[[PageViews], Answer]) -> Answer:
    """In one transaction: numbers and lists of one answer fit each other."""
    connection.execute("BEGIN")
    try:
        return question(PageViews(connection))
    finally:
        connection.execute("ROLLBACK")
