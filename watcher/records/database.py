"""The journal's file: opened, checked, migrated, or set aside where it is damaged; all before anybody waits for it."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Unavailable
from watcher.records.additions import Gathers

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY: Final = ":memory:"
CHECKPOINT_PAGES: Final = 500
"""The write-ahead log is taken over into the journal from 2 MB on. With 4 MB, SQLite's default, it can fill a small disk by
itself, and from there is no way back: taking it over needs room as well."""
APPLICATION_ID: Final = 0x434D5057
"""Marks a SQLite file as ours ("CMPW")."""
CHECK_SECONDS: Final = 1.0
"""How long the integrity check at start may take; what it has not seen by then counts as sound."""
BUSY_SECONDS: Final = 5.0
"""How long a statement waits for another process that is writing."""
STATEMENTS: Final = 512
"""Statements that a connection keeps prepared."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class JournalConnection(sqlite3.Connection, Gathers):
    """The Connection of `watcher.records.dialect` on SQLite."""


class DamagedJournal(Exception):
    """The file is no sound journal; `problem` says what SQLite found."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Opened:
    """An open journal. `fresh`: it holds nothing yet; `set_aside`: where a damaged one was put, and `problem`: why."""

    connection: sqlite3.Connection
    fresh: bool
    set_aside: Path | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of the journal: `script` makes the newest ones, `migrations` lead there from version 1, oldest first."""

    script: str
    migrations: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """The version that `script` makes."""
        return 1 + len(self.migrations)


@cache
def schema() -> Schema:
    """The schema of this release."""
    folder = files("watcher.records")
    names = sorted(each.name for each in (folder / "migrations").iterdir() if each.name.endswith(".sql"))
    expected = [f"{number:04}.sql" for number in range(2, 2 + len(names))]
    if names != expected:
        raise AssertionError(f"migrations are numbered without gaps from 0002.sql, not {names}")
    scripts = tuple((folder / "migrations" / name).read_text(encoding="utf-8") for name in names)
    return Schema((folder / "schema.sql").read_text(encoding="utf-8"), scripts)


def open_own(path: Path | str, schema: Schema, now: float) -> Opened:
    """Open the daemon's journal: make the file (mode 0600), bring an older one up to date, set a damaged one aside.

    Raises Unavailable where the file was written by a newer version or cannot be opened or written.
    """
    if path == MEMORY:
        connection = connect(MEMORY)
        _migrate(connection, schema, path)
        return Opened(connection, fresh=True)
    path = Path(path)
    try:
        return _open_sound(path, schema)
    except DamagedJournal as error:
        aside = _set_aside(path, now)
        opened = _open_sound(path, schema)
        return Opened(opened.connection, fresh=True, set_aside=aside, problem=error.problem)


def open_beside(path: Path, version: int, *, writable: bool) -> sqlite3.Connection:
    """Open the journal for a command beside a running daemon: nothing is made, migrated or repaired. Raises Unavailable."""
    if not path.exists():
        raise Unavailable(f"there is no journal at {path}", "has the daemon run with this configuration and this user?")
    try:
        with _closed_on_failure(connect(path)) as connection:
            _expect_version(path, _version(connection), version)
            if not writable:
                connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise _cannot_open(path, error) from error
    return connection


def _expect_version(path: Path, found: int, expected: int) -> None:
    if found > expected:
        raise _too_new(path, found, expected)
    if found < expected:
        raise Unavailable(f"the journal {path} is of an older version", "start the daemon once: it brings the journal up to date")


def connect(path: Path | str) -> sqlite3.Connection:
    """A connection with every setting that a connection has to make for itself. It may be used from one thread at a time."""
    options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "cached_statements": STATEMENTS}
    made = sqlite3.connect(path, timeout=BUSY_SECONDS, factory=JournalConnection, **options)
    with _closed_on_failure(made) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
    return connection


@contextmanager
def _closed_on_failure(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Close a connection that cannot be made ready: nobody else knows of it, and it would hold the file."""
    try:
        yield connection
    except BaseException:  # whatever stopped it, the connection is lost with it
        connection.close()
        raise


def _open_sound(path: Path, schema: Schema) -> Opened:
    fresh = _ensure_file(path)
    try:
        with _closed_on_failure(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            _check(connection)
            _migrate(connection, schema, path)
    except sqlite3.Error as error:
        raise _failure(path, error) from error
    return Opened(connection, fresh)


def _ensure_file(path: Path) -> bool:
    """Make the file with its rights before SQLite sees it (its companions take them over). True where it is new or empty."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            return os.fstat(descriptor).st_size == 0
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _cannot_open(path, error) from error


def _failure(path: Path, error: sqlite3.Error) -> Exception:
    """What an error of SQLite at the opening means: the file is damaged, or it cannot be opened."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return DamagedJournal(str(error)) if code in _DAMAGED else _cannot_open(path, error)


def _cannot_open(path: Path, error: Exception) -> Unavailable:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = f"the folder {path.parent} must exist and be writable for this user, with room on its disk"
    return Unavailable(f"the journal {path} cannot be opened: {reason}", hint)


def _too_new(path: Path | str, found: int, known: int) -> Unavailable:
    return Unavailable(
        f"the journal {path} was written by a newer version (its schema is {found}, this one knows {known})",
        "install the newer version again, or give this one a state_dir of its own",
    )


def _check(connection: sqlite3.Connection) -> None:
    """PRAGMA quick_check within bounds. Raises DamagedJournal with the first problem."""
    deadline = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
    try:
        row = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if row is None or row[0] != "ok":
        raise DamagedJournal(row[0] if row else "quick_check says nothing")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection, schema: Schema, path: Path | str) -> None:
    """Make the tables in an empty file; run the migrations that an older one has not seen, each in one transaction."""
    version = _version(connection)
    if version > schema.version:
        raise _too_new(path, version, schema.version)
    if version == 0:
        _run_script(connection, schema.script, schema.version)
        return
    for number, script in enumerate(schema.migrations[version - 1 :], version + 1):
        _run_script(connection, script, number)


def _run_script(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run a script together with the number that says so."""
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}\n; PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _set_aside(path: Path, now: float) -> Path:
    """Rename a damaged journal, so that somebody can look at it; its write-ahead log goes with it."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    count = 0
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{count}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return aside
