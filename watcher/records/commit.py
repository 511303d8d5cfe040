"""Makes batches of changes durable: one transaction for all of them, and what a refusal of the disk means.

A commit with synchronous=FULL costs one wait for the disk, whether it holds one change or two hundred. A change that is wrong
fails alone; where the disk refuses, nothing of a batch is kept.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.records.jobs import Job

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


class Committer:
    """The writing connection. Everything but `changed_by_others` is for the one thread that writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._data_version = self._read_data_version()
        self._foreign = threading.Event()

    def commit(self, jobs: Sequence[Job]) -> None:
        """Make all changes in one transaction. Where one of them is wrong, again with each in a savepoint of its own.

        Savepoints for everybody would cost three times the CPU, and hardly any change is ever wrong. Raises sqlite3.Error where
        the disk refuses; then nothing is changed.
        """
        try:
            self._transact(jobs, _make)
        except _Mistake:
            self._transact(jobs, _make_apart)

    def notice_others(self) -> None:
        """Look whether another process changed the journal. Raises sqlite3.Error."""
        version = self._read_data_version()
        if version != self._data_version:
            self._data_version = version
            self._foreign.set()

    def changed_by_others(self) -> bool:
        """Whether that was so since this was last asked. From any thread."""
        changed = self._foreign.is_set()
        self._foreign.clear()
        return changed

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _transact(self, jobs: Sequence[Job], make: Callable[[sqlite3.Connection, Job], None]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            self.notice_others()
            for job in jobs:
                make(connection, job)
            connection.execute("COMMIT")
        except BaseException:  # a batch is kept whole or not at all, whatever stopped it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

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


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is broken: no waiting helps."""
    return primary_code(error) in _DAMAGED


def advice(error: BaseException) -> str:
    """What the operator can do about a refusal."""
    return _HINTS.get(primary_code(error), "look at the disk of state_dir; work goes on by itself")
