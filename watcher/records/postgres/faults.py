"""What the errors of PostgreSQL mean, and what to do about them."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors

from watcher.records.commit import DatabaseFault
from watcher.records.postgres.adapter import NoAnswer
from watcher.records.postgres.lineage import FormerPrimary


class NoJournal(psycopg.OperationalError):
    """The tables that were in the database are not there, or not all of them."""


class AuditHangs(psycopg.OperationalError):
    """What the database lacks stands in the audit file, which cannot be read now."""


ERRORS: Final = (psycopg.Error,)
"""What the driver raises."""
ADVICE: Final = "look at the PostgreSQL server and the way to it; work goes on by itself"
POOLER: Final = "where a pooler is in between it has to be in session mode (pgbouncer: pool_mode = session)"
_KEYS_HINT: Final = "set WATCHER_JOURNAL_PASSWORD, a credential named journal_password (a reload reads it anew), or ~/.pgpass"
_CONNECTIONS_HINT: Final = "raise max_connections; each daemon needs four"
RIGHTS_HINT: Final = "give the user the right to it: GRANT CREATE ON DATABASE, or make it the owner of the schema"
STANDBY_HINT: Final = (
    "the server takes no changes (a standby?); promote it, or name the primary, and target_session_attrs=read-write"
)
RESTORE_SECONDS: Final = 30.0
"""A database without its tables is left alone for so long: somebody may be about to restore them."""
_NO_JOURNAL_HINT: Final = (
    f"restore its tables (pg_restore --single-transaction); where there are none for {RESTORE_SECONDS:.0f} s a new journal is"
    " begun, which learns from the audit files what lies in the store"
)
_WRONG_SETTING: Final = "connection is bad: invalid"
_HINTS: Final[tuple[tuple[type[psycopg.Error], str], ...]] = (
    (errors.InvalidPassword, _KEYS_HINT),
    (errors.InvalidAuthorizationSpecification, "look at user and password, and at pg_hba.conf of the server"),
    (errors.InvalidCatalogName, "make the database (createdb), or name another one in `journal`"),
    (errors.InsufficientPrivilege, RIGHTS_HINT),
    (errors.TooManyConnections, _CONNECTIONS_HINT),
    (errors.ReadOnlySqlTransaction, STANDBY_HINT),
    (
        FormerPrimary,
        "make it a standby of the new primary, or stop it; if it is the right one, remove `journal-server` in state_dir",
    ),
    (errors.UndefinedTable, _NO_JOURNAL_HINT),
    (NoJournal, _NO_JOURNAL_HINT),
    (AuditHangs, "see to the disk or share of the audit file; work goes on by itself"),
    (errors.DiskFull, "make room on the server's disk; work goes on by itself"),
    (errors.InvalidSqlStatementName, POOLER),
    (errors.DuplicatePreparedStatement, POOLER),
    (errors.UndefinedObject, POOLER),
)
_HINTS_BY_WORDS: Final = (
    (("password",), _KEYS_HINT),
    (("FATAL:  database", "FATAL:  role"), "make the database (createdb) and the user (createuser), or name others in `journal`"),
    (("pg_hba.conf",), "let this host and user in by pg_hba.conf on the server"),
    (
        ("certificate", "SSL was required"),
        "look at sslmode and sslrootcert in `journal`, and at the server's own certificate (ssl = on)",
    ),
    (("session is read-only", "in recovery"), STANDBY_HINT),
    ((_WRONG_SETTING,), "see the setting `journal`"),
    (("too many clients", "connection slots", "too many connections"), _CONNECTIONS_HINT),
)
"""A refusal at the door has no code in the driver's error."""
_AGAIN: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    errors.ReadOnlySqlTransaction,
    errors.InsufficientPrivilege,
    errors.InvalidSqlStatementName,
    errors.DuplicatePreparedStatement,
    errors.UndefinedObject,
    errors.UndefinedTable,
    errors.InternalError_,
    errors.IdleInTransactionSessionTimeout,
)
"""Where the database or the way to it is to blame, not a change."""
_EACH_SERVER: Final = re.compile(r"^- host: .*?, hostaddr: .*?: (?:connection failed: )?(.+)$", re.MULTILINE)
_SOON: Final = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
_SETTLED: Final = (errors.InvalidAuthorizationSpecification, errors.InvalidCatalogName, errors.InsufficientPrivilege)
_SETTLED_WORDS: Final = ("password", "does not exist", "pg_hba.conf", "certificate", "SSL was required", _WRONG_SETTING)


def refusal(error: Exception) -> DatabaseFault | None:
    """What an error says of the database; None where a change is wrong in itself."""
    if not isinstance(error, _AGAIN):
        return None
    hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), ADVICE)
    hint = next((told for words, told in _HINTS_BY_WORDS if any(word in str(error) for word in words)), hint)
    full = isinstance(error, errors.DiskFull)  # there is room in the files for something small now and then
    return DatabaseFault(words(error), hint, passing=_is_cut(error), comes_and_goes=full)


def is_settled(error: psycopg.Error) -> bool:
    """Whether somebody has to do something before another try can go better."""
    if isinstance(error, _SETTLED):
        return True
    said = str(error)
    return error.sqlstate is None and any(word in said for word in _SETTLED_WORDS)


def _is_cut(error: Exception) -> bool:
    """Whether a connection was lost or refused at once: often it is there again in a moment, after a restart say."""
    if isinstance(error, errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow):
        return True
    slow = isinstance(error, NoAnswer | FormerPrimary | NoJournal | AuditHangs | errors.ConnectionTimeout)
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None and not slow


def takes_no_changes(error: Exception) -> bool:
    """Whether the server only lets read, as one does that is a standby by now."""
    return isinstance(error, errors.ReadOnlySqlTransaction)


def has_no_tables(error: Exception) -> bool:
    """Whether what the journal is kept in is not there any more."""
    return isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName)


def is_contention(error: Exception) -> bool:
    """Whether two hosts got into each other's way: the same once more will do."""
    return isinstance(error, _SOON)


def words(error: psycopg.Error) -> str:
    """One line of what the driver says; where several servers were tried, of each of them."""
    each = dict.fromkeys(_EACH_SERVER.findall(str(error)))
    if each:
        return "; ".join(each)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
