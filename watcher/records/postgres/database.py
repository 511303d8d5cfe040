"""The journal's database: how it is reached, its schema, and what its errors mean. Everything here may wait for the database."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
from psycopg import conninfo

from watcher.errors import Away, Unavailable
from watcher.records.commit import DatabaseFault
from watcher.records.database import Schema
from watcher.records.postgres import faults, tables
from watcher.records.postgres.adapter import PostgresConnection
from watcher.records.postgres.lineage import FormerPrimary, Lineage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")

NAMESPACE: Final = "compressor_watcher"
"""The schema of the database in which the tables lie: a database may be shared with others."""
CONNECT_SECONDS: Final = "10"
"""Unless the URL has a `connect_timeout` of its own."""
POOLER_TRIES: Final = 3
_SESSION: Final = """
SELECT set_config('search_path', %s, false), set_config('watcher.host', %s, false), set_config('watcher.epoch', %s, false),
       set_config('idle_in_transaction_session_timeout', %s, false), set_config('lock_timeout', %s, false),
       set_config('timezone', 'UTC', false), set_config('client_min_messages', 'warning', false),
       set_config('plan_cache_mode', 'force_custom_plan', false), set_config('jit', 'off', false)
"""
"""A plan that was made while the tables were empty, and kept, reads them whole when they are large."""
_READ_ONLY: Final = "SELECT pg_is_in_recovery() OR CAST(current_setting('default_transaction_read_only') AS BOOLEAN)"
_KEYED: Final = """
SELECT set_config('plan_cache_mode', 'auto', false), set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false)
"""
"""For changes: each finds its rows by a key, so these plans are right however little the server knows of the tables."""

_END_ABANDONED: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name LIKE 'compressor-watcher%%'
AND state LIKE 'idle in transaction%%' AND state_change < clock_timestamp() - %s * interval '1 ms' AND pid <> pg_backend_pid()
"""
"""Of machines that lost their power. The server should have ended them by itself: PostgreSQL 15 was seen not to, for a minute."""


@dataclass(slots=True)
class Password:
    """One for all connections; those that are made after it was replaced use the new one."""

    value: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the journal is, and for whom it is opened. `url` has no password in it."""

    url: str
    password: Password = field(default_factory=Password, repr=False)
    host: str = ""
    """The name of the host that speaks."""
    lease: float = 30.0
    """Seconds. A transaction in which nothing happens is ended by the server well before: its locks keep others waiting."""
    namespace: str = NAMESPACE
    """The schema of the database with the tables that are meant."""
    lineage: Lineage | None = field(default=None, repr=False, compare=False)
    """Where it is given, a primary that was left behind in a failover is refused."""

    @property
    def name(self) -> str:
        """For people: host and database."""
        facts = self._facts()
        return f"{facts.get('dbname') or facts.get('user') or 'postgres'} at {facts.get('host') or 'this machine'}"

    @property
    def user(self) -> str:
        """Who speaks to it."""
        return self._facts().get("user") or "this user"

    def connect(self, epoch: int = 0) -> PostgresConnection:
        """Raises psycopg.Error. Where the first server that takes changes was left behind, the others of the URL are tried."""
        facts = self._facts()
        try:
            return self._connect(facts, epoch)
        except FormerPrimary:
            for other in _each_server(facts):
                with contextlib.suppress(psycopg.Error):  # the first error says what there is to do
                    return self._connect(other, epoch)
            raise

    def _connect(self, given: dict[str, str], epoch: int) -> PostgresConnection:
        own: dict[str, str] = {"password": self.password.value} if self.password.value else {}
        keepalives = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "15000"}
        facts = {
            "application_name": f"compressor-watcher {self.host}".strip(),
            "connect_timeout": CONNECT_SECONDS,
            **keepalives,
            **given,
            **own,
        }
        connection = PostgresConnection.connect(conninfo.make_conninfo("", **facts))
        try:
            if self.lineage is not None:
                self.lineage.check(connection)
            self._introduce(connection, epoch)
        except BaseException:  # nobody else knows of it
            connection.close()
            raise
        return connection

    def connect_for_changes(self, epoch: int = 0) -> PostgresConnection:
        """The same for a daemon's writer."""
        connection = self.connect(epoch)
        try:
            connection.raw.execute(_KEYED)
            self.end_abandoned(connection)
        except BaseException:  # nobody else knows of it
            connection.close()
            raise
        return connection

    def end_abandoned(self, connection: PostgresConnection) -> None:
        """End transactions that machines without power left behind: they hold rows that others wait for."""
        connection.raw.execute(_END_ABANDONED, (2 * self._idle_ms,))

    def adopt(self, connection: PostgresConnection) -> bool:
        """Work on the line of this connection's server from now on. True where it is another one than before."""
        return self.lineage is not None and self.lineage.adopt(connection)

    def _introduce(self, connection: PostgresConnection, epoch: int) -> None:
        connection.raw.execute(_SESSION, (self.namespace, self.host, str(epoch), str(self._idle_ms), str(self._lock_ms)))

    @property
    def _idle_ms(self) -> int:
        """A transaction in which nothing happens for so long is ended by the server."""
        return max(1_000, min(10_000, int(self.lease * 1000 / 3)))

    @property
    def _lock_ms(self) -> int:
        """What others have locked is waited for so long; then it is looked at whether who holds it was left behind."""
        return max(5_000, 2 * self._idle_ms)

    def _facts(self) -> dict[str, str]:
        try:
            return {key: str(value) for key, value in conninfo.conninfo_to_dict(self.url).items() if value is not None}
        except psycopg.ProgrammingError as error:
            raise Unavailable(f"the journal's URL cannot be used: {faults.words(error)}", "see the setting `journal`") from None


def _each_server(facts: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same for each server alone, where several are named."""
    hosts, ports = facts.get("host", "").split(","), facts.get("port", "").split(",")
    if len(hosts) > 1 and "hostaddr" not in facts:
        for place, host in enumerate(hosts):
            yield {**facts, "host": host, "port": ports[place] if len(ports) == len(hosts) else ports[0]}


@cache
def schema() -> Schema:
    """The schema of this release."""
    folder = files("watcher.records.postgres")
    names = sorted(each.name for each in (folder / "migrations").iterdir() if each.name.endswith(".sql"))
    scripts = tuple((folder / "migrations" / name).read_text(encoding="utf-8") for name in names)
    return Schema((folder / "schema.sql").read_text(encoding="utf-8"), scripts)


def open_own(server: Server, schema: Schema) -> PostgresConnection:
    """A connection for the daemon: the tables are made, or brought up to date, by whoever comes first. Raises Unavailable."""

    def prepare(connection: PostgresConnection) -> None:
        tables.check_server(connection, server)
        tables.migrate(connection, schema, server)

    return _opened(server.connect_for_changes, server, prepare)


def open_beside(
    server: Server, schema: Schema, *, writable: bool, prepare: Callable[[PostgresConnection], None] | None = None
) -> PostgresConnection:
    """A connection for a command: nothing is made or migrated. Raises Unavailable."""

    def check(connection: PostgresConnection) -> None:
        tables.check_there(tables.versions(connection, server.namespace), schema, server)
        if prepare is not None:
            prepare(connection)
        if not writable:
            connection.execute("SET default_transaction_read_only = on")

    return _opened(server.connect, server, check)


def look_at_one_host(connection: PostgresConnection) -> None:
    """Have this connection see of the work only what concerns its host. Raises Unavailable where there is no such host."""
    names = [name for (name,) in connection.execute("SELECT name FROM hosts ORDER BY name").fetchall()]
    (host,) = connection.execute("SELECT here()").fetchone()
    if host not in names:
        raise Unavailable(f"no host {host!r} has ever worked with this journal", f"there are {', '.join(names)}")
    connection.script((files("watcher.records.postgres") / "one_host.sql").read_text(encoding="utf-8"))


def one_more(server: Server, connection: PostgresConnection) -> PostgresConnection:
    """Another connection of the same kind. Raises Unavailable, also where a pooler gives both the same session; then the first
    one is closed as well.
    """
    made = [connection]
    try:
        made.append(explained(server, server.connect))
        explained(server, lambda: _insist_on_sessions(*made))
    except BaseException:  # nobody else knows of them
        for each in made:
            each.close()
        raise
    return made[1]


def _insist_on_sessions(connection: PostgresConnection, other: PostgresConnection) -> None:
    """Raises Unavailable where two connections turn out to be one: a pooler in between lends it out by the transaction."""
    for _ in range(POOLER_TRIES):
        pids = [each.execute("SELECT pg_backend_pid()").fetchone()[0] for each in (connection, other)]
        if pids[0] == pids[1]:
            raise Unavailable("a pooler in transaction mode is between this host and the journal", faults.POOLER)


def _opened(
    connect: Callable[[], PostgresConnection], server: Server, prepare: Callable[[PostgresConnection], None]
) -> PostgresConnection:
    with _Explained(server):
        connection = connect()
        try:
            prepare(connection)
        except BaseException:  # nobody else knows of it
            connection.close()
            raise
        return connection


def explained(server: Server, work: Callable[[], Answer]) -> Answer:
    """Do something with the database. Raises Unavailable where it refuses."""
    with _Explained(server):
        return work()


def is_there(server: Server) -> bool:
    """Whether any daemon has made a journal in the database. Raises Unavailable."""

    def look() -> bool:
        connection = server.connect()
        try:
            return tables.versions(connection, server.namespace) is not None
        finally:
            connection.close()

    return explained(server, look)


def obstacle(server: Server) -> tuple[str, str] | None:
    """What keeps a daemon from writing here, and what to do; None where nothing does. Raises Unavailable."""

    def look() -> tuple[str, str] | None:
        connection = server.connect()
        try:
            tables.check_server(connection, server)
            if not _may_write(connection, server.namespace):
                return f"{server.user} may not write in {server.name}", faults.RIGHTS_HINT
            read_only = connection.execute(_READ_ONLY).fetchone()[0]
            return (f"{server.name} takes no changes", faults.STANDBY_HINT) if read_only else None
        finally:
            connection.close()

    return explained(server, look)


def _may_write(connection: PostgresConnection, namespace: str) -> bool:
    if connection.execute("SELECT to_regclass(?)", (f"{namespace}.journal",)).fetchone()[0] is None:
        query = "SELECT has_database_privilege(current_database(), 'CREATE')"
        return bool(connection.execute(query).fetchone()[0])
    query = "SELECT has_table_privilege(?, 'INSERT') AND has_table_privilege(?, 'UPDATE')"
    return bool(connection.execute(query, (f"{namespace}.journal",) * 2).fetchone()[0])


class _Explained:
    """Makes the driver's errors our own."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, psycopg.Error):
            found = faults.refusal(error)
            kind = Unavailable if found is None or faults.is_settled(error) else Away
            found = found or DatabaseFault(faults.words(error), faults.ADVICE)
            raise kind(f"the journal in {self._server.name} cannot be opened: {found.message}", found.hint) from None
