"""The journal's one reader: a thread that answers questions, as many at a time as have come together.

Questions have a connection of their own, so that they never wait for the disk behind a commit; in WAL mode every one of them
sees all that was committed before it was asked.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import Unavailable
from watcher.records.write_jobs import Job, deliver

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

Answer = TypeVar("Answer")

MAX_BATCH: Final = 50
"""Questions answered before those who asked are told."""


class ReadThread:
    """Owns the reading connection and the thread that uses it. `ask` and `accept_no_more` are for the event loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal-reader", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[sqlite3.Connection], Answer]) -> asyncio.Future[Answer]:
        """The future holds the answer, or what the question raised. Raises Unavailable after `accept_no_more`."""
        if self._closed:
            raise Unavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._jobs.put(Job(question, future, loop))
        return future

    def accept_no_more(self) -> None:
        """What is asked from now on is refused; the connection is let go when the rest is answered."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def close(self) -> None:
        """Wait until that is done. To be called after `accept_no_more`, from any thread."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._connection.close()

    def _turn(self) -> bool:
        """What has come together. False when it was the last."""
        job = self._jobs.get()
        answered: list[Job] = []
        while job is not None:
            self._answer(job)
            answered.append(job)
            if len(answered) >= MAX_BATCH or self._jobs.empty():
                break
            job = self._jobs.get()
        deliver(answered)
        return job is not None

    def _answer(self, job: Job) -> None:
        try:
            job.result = job.work(self._connection)
        except Exception as error:  # noqa: BLE001 - the boundary to the caller's function: whatever it raises is handed to the caller
            job.error = error
