"""The tables of a database: made by whoever comes first, brought up to date, and made anew where they are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import psycopg

from watcher.errors import Unavailable
from watcher.records.postgres.faults import NoJournal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.records.database import Schema
    from watcher.records.postgres.adapter import PostgresConnection

OLDEST_SERVER: Final = 130_000
_MIGRATION_LOCK: Final = 0x434D5057
_ANY_TABLE: Final = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = ?)"


class Where(Protocol):
    """The database that is meant."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def namespace(self) -> str:
        """Its schema with the tables."""


def check_server(connection: PostgresConnection, server: Where) -> None:
    """Raises Unavailable. A journal that there is may be in another encoding: names that do not fit into it are refused."""
    if (version := connection.raw.info.server_version) < OLDEST_SERVER:
        raise Unavailable(f"the server of {server.name} is PostgreSQL {version // 10_000}", "version 13 or newer is needed")
    encoding = connection.raw.info.parameter_status("server_encoding")
    if encoding == "SQL_ASCII" or (encoding != "UTF8" and versions(connection, server.namespace) is None):
        raise Unavailable(
            f"the database {server.name} is in {encoding}", "make one with: createdb --template template0 --encoding UTF8"
        )


def migrate(connection: PostgresConnection, schema: Schema, server: Where) -> None:
    """Make the tables, or run the migrations that they have not seen: one host does it, the others wait for it."""
    found = versions(connection, server.namespace)
    if found is not None:
        _check_version(found, schema, server)
        if found[0] >= schema.version:
            return
    _make(connection, schema, server)


def _make(connection: PostgresConnection, schema: Schema, server: Where) -> None:
    connection.script(f"SET lock_timeout = '120s'; SELECT pg_advisory_lock({_MIGRATION_LOCK})")
    try:
        for number, script in _steps(versions(connection, server.namespace), schema, server.namespace):
            connection.script(f"BEGIN; {script}\n; {_set_version(number)}; COMMIT")
    except psycopg.Error:
        if not connection.broken and connection.in_transaction:
            connection.script("ROLLBACK")
        raise
    finally:
        if not connection.broken:
            connection.script(f"SELECT pg_advisory_unlock({_MIGRATION_LOCK}); SET lock_timeout = '20s'")


def _steps(found: tuple[int, int] | None, schema: Schema, namespace: str) -> Iterator[tuple[int, str]]:
    if found is None:
        yield schema.version, f"CREATE SCHEMA IF NOT EXISTS {namespace}; {schema.script}"
        return
    yield from enumerate(schema.migrations[found[0] - 1 :], found[0] + 1)


def has_tables(connection: PostgresConnection, server: Where) -> bool:
    """False where there is nothing of a journal. Raises NoJournal where there is something, as in the middle of a restoration."""
    if versions(connection, server.namespace) is not None:
        return True
    if connection.execute(_ANY_TABLE, (server.namespace,)).fetchone()[0]:
        raise NoJournal(f"{server.name} holds a part of a journal")
    return False


def begin_anew(connection: PostgresConnection, server: Where, schema: Schema) -> None:
    """Make the tables where there are none any more, unless another host has done so by now. Raises psycopg.Error."""
    try:
        check_server(connection, server)
    except Unavailable as error:
        raise NoJournal(str(error)) from None
    _make(connection, schema, server)


def _set_version(number: int) -> str:
    insert = f"INSERT INTO journal (version, least) SELECT {number}, 1 WHERE NOT EXISTS (SELECT 1 FROM journal)"  # noqa: S608 - a number
    return f"{insert}; UPDATE journal SET version = {number}"  # noqa: S608 - a number


def versions(connection: PostgresConnection, namespace: str) -> tuple[int, int] | None:
    """The version of the schema and the least that works with it; None where there is no journal."""
    if connection.execute("SELECT to_regclass(?)", (f"{namespace}.journal",)).fetchone()[0] is None:
        return None
    row = connection.execute("SELECT version, least FROM journal").fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def check_there(found: tuple[int, int] | None, schema: Schema, server: Where) -> None:
    if found is None:
        raise Unavailable(f"there is no journal in {server.name} yet", "has a daemon run with this configuration?")
    _check_version(found, schema, server)
    if found[0] < schema.version:
        todo = "start the daemon once: it brings the journal up to date"
        raise Unavailable(f"the journal in {server.name} is of an older version", todo)


def _check_version(found: tuple[int, int], schema: Schema, server: Where) -> None:
    version, least = found
    if least > schema.version:
        raise Unavailable(
            f"the journal in {server.name} was written by a newer version (its schema is {version}, not {schema.version})",
            "install the newer version on this host as well",
        )
