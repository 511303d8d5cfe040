"""The journal's one writer: a thread that gathers changes and commits them together.

A commit with synchronous=FULL costs one wait for the disk, whether it holds one change or two hundred. So callers hand over
functions of the connection; the thread runs what is there, commits once, and then tells all of them. One that is wrong fails
alone. Where the disk refuses, nothing of a batch is kept and the same batch is tried again until it goes through.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.backoff import exponential
from watcher.errors import Unavailable
from watcher.model import Event
from watcher.records.write_jobs import Job, call, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock, EventLog

Change = TypeVar("Change")

MAX_BATCH: Final = 200
"""Changes in one commit."""
GATHER_SECONDS: Final = 0.002
"""How long a batch waits for company, when the last one had some."""
HEARTBEAT_SECONDS: Final = 0.5
"""How often an idle writer looks around."""
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 60.0
"""A writer that has not moved for so long is not alive (a disk that answers nothing at all)."""

_WAITABLE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_PERM,
    }
)
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HINTS: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk of state_dir; work goes on by itself",
    sqlite3.SQLITE_IOERR: "look at the disk of state_dir (dmesg, free space, quota); work goes on by itself",
    sqlite3.SQLITE_READONLY: "state_dir must be writable for this user; work goes on by itself",
    sqlite3.SQLITE_BUSY: "another process holds the journal; work goes on when it lets go",
    sqlite3.SQLITE_CORRUPT: "restart the service: it sets the damaged journal aside and builds a new one",
    sqlite3.SQLITE_NOTADB: "restart the service: it sets the damaged journal aside and builds a new one",
}


@dataclass(slots=True)
class _Outage:
    """A batch that does not go through: since when (monotonic seconds), and how often it was tried."""

    since: float
    tries: int = 0


class WriteThread:
    """Owns the writing connection and the thread that uses it. `submit` is for the event loop, everything else for its owner."""

    def __init__(self, connection: sqlite3.Connection, *, events: EventLog, clock: Clock) -> None:
        self._connection = connection
        self._events = events
        self._clock = clock
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._damaged = False
        self._beat = clock.monotonic()
        self._data_version = self._read_data_version()
        self._foreign = threading.Event()
        self._company = False
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[sqlite3.Connection], Change]) -> asyncio.Future[Change]:
        """Have `change` made. The future is done when it is durable, or holds what the change raised; then nothing was changed.

        `change` may run more than once, and only the last run counts.
        """
        if self._closing.is_set():
            raise Unavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Change] = loop.create_future()
        self._jobs.put(Job(change, future, loop))
        return future

    def alive(self) -> bool:
        """Whether the thread does its work; waiting for room on the disk is part of it, a damaged file is not."""
        moving = self._clock.monotonic() - self._beat < STUCK_SECONDS
        return self._thread.is_alive() and moving and not self._damaged

    def changed_by_others(self) -> bool:
        """Whether another process changed the journal since this was last asked."""
        changed = self._foreign.is_set()
        self._foreign.clear()
        return changed

    def accept_no_more(self) -> None:
        """What is submitted from now on is refused. To be called where `submit` is called from."""
        if not self._closing.is_set():
            self._closing.set()
            self._jobs.put(None)

    def close(self, patience: float) -> None:
        """Finish what was submitted, then close the connection. After `patience` seconds of a refusing disk, give up.

        What could not be written is told so with Unavailable. To be called after `accept_no_more`, from any thread.
        """
        self._thread.join(patience)
        if self._thread.is_alive():
            self._abandoned.set()
            self._thread.join(patience)

    # --- the thread -----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._refuse_the_rest()
            self._connection.close()

    def _turn(self) -> bool:
        """One batch, or one look around. False when it is time to end."""
        self._beat = self._clock.monotonic()
        batch, last = self._gather()
        if batch:
            self._write(batch)
        else:
            self._look_around()
        return not last

    def _gather(self) -> tuple[list[Job], bool]:
        """What is there to be written, and whether it is the last."""
        batch: list[Job] = []
        wait = HEARTBEAT_SECONDS
        while len(batch) < MAX_BATCH:
            try:
                job = self._jobs.get(timeout=wait) if wait else self._jobs.get_nowait()
            except queue.Empty:
                if not wait or not batch:
                    break
                wait = 0.0
                continue
            if job is None:
                return batch, True
            batch.append(job)
            wait = GATHER_SECONDS if self._company and len(batch) == 1 else 0.0
        self._company = len(batch) > 1
        return batch, False

    def _write(self, batch: list[Job]) -> None:
        """Make and commit a batch, however long the disk refuses, and tell everybody."""
        outage: _Outage | None = None
        while True:
            try:
                self._commit(batch)
            except sqlite3.Error as error:
                outage = outage or _Outage(self._clock.monotonic())
                if not self._wait_out(error, outage, batch):
                    self._fail(batch)
                    return
            else:
                break
        if outage is not None:
            self._tell_recovered(outage, batch)
        deliver(batch)

    def _commit(self, batch: list[Job]) -> None:
        """All changes in one transaction. Where one of them is wrong, again with each in a savepoint of its own.

        Savepoints for everybody would cost three times the CPU, and hardly any change is ever wrong.
        """
        try:
            self._transact(batch, _make)
        except _Mistake:
            self._transact(batch, _make_apart)
        self._beat = self._clock.monotonic()

    def _transact(self, batch: list[Job], make: Callable[[sqlite3.Connection, Job], None]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._notice_others()
            for job in batch:
                make(connection, job)
            connection.execute("COMMIT")
        except BaseException:  # a batch is kept whole or not at all, whatever stopped it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _wait_out(self, error: sqlite3.Error, outage: _Outage, batch: list[Job]) -> bool:
        """Wait before the next try. False when there will be none."""
        code = primary_code(error)
        self._damaged = code in _DAMAGED
        if outage.tries == 0:
            hint = _HINTS.get(code, "look at the disk of state_dir; work goes on by itself")
            self._say(batch, Event.JOURNAL_UNAVAILABLE, message=f"the journal cannot be written: {error}", hint=hint)
        outage.tries += 1
        pause = exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, outage.tries)
        self._beat = self._clock.monotonic()
        return not self._abandoned.wait(pause)

    def _tell_recovered(self, outage: _Outage, batch: list[Job]) -> None:
        self._damaged = False
        lasted = self._clock.monotonic() - outage.since
        self._say(batch, Event.JOURNAL_RECOVERED, message="the journal can be written again", seconds=round(lasted, 3))

    def _say(self, batch: list[Job], event: Event, **fields: object) -> None:
        call(batch[0].loop, lambda: self._events.event(event, **fields))

    def _fail(self, batch: list[Job]) -> None:
        for job in batch:
            job.error = Unavailable("the journal could not be written", "look at the disk of state_dir")
        deliver(batch)

    def _refuse_the_rest(self) -> None:
        rest: list[Job] = []
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                rest.append(job)
        self._fail(rest)

    def _look_around(self) -> None:
        try:
            self._notice_others()
        except sqlite3.Error:
            # nobody waits for anything now; the next change meets the same trouble and says so
            return

    def _notice_others(self) -> None:
        version = self._read_data_version()
        if version != self._data_version:
            self._data_version = version
            self._foreign.set()

    def _read_data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class _Mistake(Exception):
    """A change is wrong in itself."""


def _make(connection: sqlite3.Connection, job: Job) -> None:
    """One change among others. Raises _Mistake where the change, not the disk, is to blame."""
    try:
        job.result, job.error = job.work(connection), None
    except Exception as error:  # the boundary to the caller's function: whatever it raises spoils the transaction
        if is_refusal(error):
            raise
        raise _Mistake from error


def _make_apart(connection: sqlite3.Connection, job: Job) -> None:
    """One change in its own savepoint. What is wrong with it is kept for its caller, and spoils nothing else."""
    connection.execute("SAVEPOINT change")
    try:
        job.result, job.error = job.work(connection), None
    except Exception as error:  # the boundary to the caller's function: whatever it raises is handed to the caller
        if is_refusal(error):
            raise
        job.error = error
        connection.execute("ROLLBACK TO change")
    connection.execute("RELEASE change")


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error; 0 where it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_refusal(error: BaseException) -> bool:
    """Whether the disk, not the change, is to blame."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in (_WAITABLE | _DAMAGED)
