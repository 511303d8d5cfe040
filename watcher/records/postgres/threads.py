"""Two threads of the journal on PostgreSQL: one answers questions, through outages as well; one hears of other hosts."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

import psycopg

from watcher.backoff import exponential
from watcher.errors import Unavailable
from watcher.records.commit import DatabaseFault
from watcher.records.postgres import faults
from watcher.records.threads import FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, PASSING_TRIES, ReadThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.records.outage import Outage
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server
    from watcher.records.thread_jobs import ThreadJob

CHANNEL: Final = "compressor_watcher"
STOP_SECONDS: Final = 1.0


class PatientReadThread(ReadThread):
    """A ReadThread that asks again when the database is back: who asked sees only time pass."""

    def __init__(self, server: Server, connection: PostgresConnection, outage: Outage) -> None:
        self._server = server
        self._outage = outage
        self._stopping = threading.Event()
        self._is_lost = self._is_stale = False
        super().__init__(connection)

    def renew(self) -> None:
        """The next question is asked on a new connection: this one may lead to a server that was left. From any thread."""
        self._is_stale = True

    def accept_no_more(self) -> None:
        """See `ReadThread.accept_no_more`; a question that waits for the database is told so."""
        super().accept_no_more()
        self._stopping.set()

    def _answer(self, job: ThreadJob) -> None:
        tries = 0
        while (refused := self._tried(job)) is not None:
            tries += 1
            if not refused.passing or tries > PASSING_TRIES:
                words = f"the journal cannot be read: {refused.message}"
                self._outage.lasts("questions", words, refused.hint, comes_and_goes=refused.comes_and_goes)
            if self._stopping.wait(exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, tries)):
                job.error = Unavailable("the journal cannot be read", refused.hint)
                return
        self._outage.over("questions")

    def _tried(self, job: ThreadJob) -> DatabaseFault | None:
        """Answer, on a new connection where the last one was of no use; gives what the database says instead, if it does."""
        try:
            if self._is_stale:
                self._is_stale, self._is_lost = False, True
                self._connection.close()
            if self._is_lost:
                self._connection, self._is_lost = self._server.connect(), False
            refused = self._refused(job)
        except psycopg.Error as error:
            return faults.refusal(error) or DatabaseFault(faults.words(error), faults.ADVICE)
        if refused is not None:
            self._connection.close()
            self._is_lost = True
        return refused

    def _refused(self, job: ThreadJob) -> DatabaseFault | None:
        """Answer, and give what the database says instead, if it does."""
        job.error = None
        super()._answer(job)
        error: BaseException | None = job.error
        return faults.refusal(error) if isinstance(error, psycopg.Error) else None


class Listener:
    """Hears when another host has something to share. What it misses is found by looking now and then."""

    def __init__(self, server: Server, heard: Callable[[], None], channel: str = CHANNEL) -> None:
        """`heard` is called in the listener's thread."""
        self._channel = channel
        self._server = server
        self._heard = heard
        self._stopping = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="journal-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End. A connection that is being made, and hangs, is left to end by itself."""
        self._stopping.set()
        self._wake.close()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        tries = 0
        while not self._stopping.wait(exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, tries) if tries else 0.0):
            tries += 1
            # the write thread meets the same trouble and says so
            with contextlib.suppress(psycopg.Error):
                self._listen()
                tries = 0
        self._woken.close()

    def _listen(self) -> None:
        connection = self._server.connect()
        with contextlib.closing(connection), selectors.DefaultSelector() as selector:
            connection.execute(f"LISTEN {self._channel}")
            self._heard()  # something may have been said while nobody listened
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while selector.select() and not self._stopping.is_set():
                if any(notice.payload != self._server.host for notice in connection.raw.notifies(timeout=0)):
                    self._heard()
