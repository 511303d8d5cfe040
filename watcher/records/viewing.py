"""The journal for open pages: a reader of its own beside the daemon's, so that nobody who looks delays the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from watcher.errors import Unavailable
from watcher.records.browsing import PageViews
from watcher.records.threads import ReadThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.records.dialect import Connection
    from watcher.records.place import JournalPlace

Answer = TypeVar("Answer")


class Viewing:
    """Answers questions about a journal in a thread of its own, which begins with the first question."""

    def __init__(self, place: JournalPlace) -> None:
        self._place = place
        self._thread: ReadThread | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def ask(self, question: Callable[[PageViews], Answer]) -> Answer:
        """The answer, all of it seen at one moment. Raises Unavailable where the journal cannot be read, or after `close`."""
        thread = await self._ready()
        try:
            return await thread.ask(lambda connection: _at_one_moment(connection, question))
        except self._place.errors as error:
            if self._place.is_shared and thread is self._thread:  # the connection may be of no use any more
                thread.accept_no_more()
                self._thread = None
            raise Unavailable(f"the journal cannot be read: {error}", "look at its disk or server; it is tried again") from error

    def use(self, place: JournalPlace) -> None:
        """From the next time on that the journal is opened."""
        self._place = place

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
                self._thread = ReadThread(await asyncio.to_thread(self._place.connect))
            return self._thread


def _at_one_moment(connection: Connection, question: Callable[[PageViews], Answer]) -> Answer:
    """In one transaction: numbers and lists of one answer fit each other."""
    connection.execute("BEGIN /*! ISOLATION LEVEL REPEATABLE READ */")
    try:
        return question(PageViews(connection))
    finally:
        connection.execute("ROLLBACK")
