"""What PostgreSQL's errors mean: one clear line, what to do, and whether another try may go better by itself."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from watcher.records.postgres import faults
from watcher.records.postgres.lineage import FormerPrimary

AT = 'connection failed: connection to server at "10.0.0.5", port 5432 failed: '
BY_ITSELF, BY_SOMEBODY = False, True
CASES = {
    "refused": (f"{AT}Connection refused\n\tIs the server running?", "the way to it", BY_ITSELF),
    "no such name": ("failed to resolve host 'db.invalid': [Errno -2] Name or service not known", "the way to it", BY_ITSELF),
    "no password": (f"{AT}fe_sendauth: no password supplied", "WATCHER_JOURNAL_PASSWORD", BY_SOMEBODY),
    "wrong password": (f'{AT}FATAL:  password authentication failed for user "w"', "journal_password", BY_SOMEBODY),
    "no database": (f'{AT}FATAL:  database "images" does not exist', "createdb", BY_SOMEBODY),
    "no user": (f'{AT}FATAL:  role "w" does not exist', "createuser", BY_SOMEBODY),
    "not let in": (f'{AT}FATAL:  pg_hba.conf rejects connection for host "10.0.0.7", user "w"', "by pg_hba.conf", BY_SOMEBODY),
    "no entry": (f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.7", no encryption', "by pg_hba.conf", BY_SOMEBODY),
    "too many": (f"{AT}FATAL:  sorry, too many clients already", "max_connections", BY_ITSELF),
    "reserved": (f"{AT}FATAL:  remaining connection slots are reserved for", "max_connections", BY_ITSELF),
    "of one user": (f'{AT}FATAL:  too many connections for role "w"', "max_connections", BY_ITSELF),
    "another authority": (f"{AT}SSL error: certificate verify failed", "sslrootcert", BY_SOMEBODY),
    "another name": (f'{AT}server certificate for "db" does not match host name "10.0.0.5"', "sslrootcert", BY_SOMEBODY),
    "no authority": (f'{AT}root certificate file "/nowhere" does not exist', "sslrootcert", BY_SOMEBODY),
    "no TLS there": (f"{AT}server does not support SSL, but SSL was required", "sslmode", BY_SOMEBODY),
    "cut in TLS": (f"{AT}SSL SYSCALL error: EOF detected", "the way to it", BY_ITSELF),
    "a standby": (f"{AT}session is read-only", "target_session_attrs", BY_ITSELF),
    "a wrong word": ('connection is bad: invalid sslmode value: "sometimes"', "the setting `journal`", BY_SOMEBODY),
    "a wrong port": ('connection is bad: invalid port number: "99999"', "the setting `journal`", BY_SOMEBODY),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_at_the_door(case: str) -> None:
    """It has no code, so its words decide."""
    said, hint, settled = CASES[case]
    error = psycopg.OperationalError(said)
    fault = faults.refusal(error)

    assert fault is not None
    assert fault.message == said.splitlines()[0]
    assert hint in fault.hint
    assert faults.is_settled(error) is settled


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"), "name the primary"),
        (errors.InsufficientPrivilege("permission denied for schema compressor_watcher"), "GRANT CREATE"),
        (errors.DiskFull("could not extend file"), "make room"),
        (errors.UndefinedTable('relation "hosts" does not exist'), "restore its tables"),
        (FormerPrimary("this server was the primary once"), "journal-server"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_of_work(error: psycopg.Error, hint: str) -> None:
    """By its kind."""
    fault = faults.refusal(error)
    assert fault is not None
    assert hint in fault.hint
    assert fault.comes_and_goes is isinstance(error, errors.DiskFull)


def test_each_of_several_servers_is_told() -> None:
    """One line for all that were tried, each once."""
    said = f"""{AT}session is read-only
Multiple connection attempts failed. All failures were:
- host: 'db1', port: '5432', hostaddr: '10.0.0.4': {AT}refused
\tIs the server running on that host and accepting TCP/IP connections?
- host: 'db2', port: '5432', hostaddr: '10.0.0.5': {AT}session is read-only"""
    fault = faults.refusal(psycopg.OperationalError(said))

    assert fault is not None
    assert fault.message == (
        'connection to server at "10.0.0.5", port 5432 failed: refused;'
        ' connection to server at "10.0.0.5", port 5432 failed: session is read-only'
    )
    assert "promote it" in fault.hint


def test_a_change_that_is_wrong_in_itself_is_no_fault_of_the_database() -> None:
    """It fails alone."""
    assert faults.refusal(errors.CheckViolation("an output ends once")) is None
