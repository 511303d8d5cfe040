"""What the write thread asks of SQLite."""

from __future__ import annotations

import sqlite3
import threading
from typing import Final

from watcher.records.commit import DatabaseFault

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
_HINT: Final = "look at the disk of state_dir; work goes on by itself"
_HINTS: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk of state_dir; work goes on by itself",
    sqlite3.SQLITE_IOERR: "look at the disk of state_dir (dmesg, free space, quota); work goes on by itself",
    sqlite3.SQLITE_READONLY: "state_dir must be writable for this user; work goes on by itself",
    sqlite3.SQLITE_BUSY: "another process holds the journal; work goes on when it lets go",
    sqlite3.SQLITE_CORRUPT: "restart the service: it sets the damaged journal aside and builds a new one",
    sqlite3.SQLITE_NOTADB: "restart the service: it sets the damaged journal aside and builds a new one",
}


class SqliteEngine:
    """The Engine of `watcher.records.commit` on one connection."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)
    advice = _HINT

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._data_version = self._read_data_version()
        self._foreign = threading.Event()

    def begin(self) -> sqlite3.Connection:
        """See `Engine.begin`. A commit that fails has not gone through."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._notice_others()
        return self._connection

    def commit(self) -> None:
        """See `Engine.commit`."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """See `Engine.rollback`."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def refusal(self, error: Exception) -> DatabaseFault | None:
        """See `Engine.refusal`."""
        code = primary_code(error)
        if not isinstance(error, sqlite3.Error) or code not in _WAITABLE | _DAMAGED:
            return None
        return DatabaseFault(str(error), _HINTS.get(code, _HINT), code in _DAMAGED)

    def look_around(self) -> None:
        """Notice what others have changed."""
        try:
            self._notice_others()
        except sqlite3.Error:
            # nobody waits for anything now; the next change meets the same trouble and says so
            return

    def changed_by_others(self) -> bool:
        """See `Engine.changed_by_others`."""
        changed = self._foreign.is_set()
        self._foreign.clear()
        return changed

    def close(self) -> None:
        """See `Engine.close`."""
        self._connection.close()

    def _notice_others(self) -> None:
        version = self._read_data_version()
        if version != self._data_version:
            self._data_version = version
            self._foreign.set()

    def _read_data_version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code of an error; 0 where it has none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
