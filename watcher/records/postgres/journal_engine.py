"""What the write thread asks of PostgreSQL: connections made again, batches that go through once, and the host's lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg

from watcher.model import Event
from watcher.records.commit import DatabaseFault
from watcher.records.postgres import faults, tables
from watcher.records.threads import MAX_BACKOFF_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.database import Schema
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server

POLL_SECONDS: Final = 2.0
"""How often an idle host looks whether another one has let go of something; calls may be missed."""
RENEWALS: Final = 3.0
"""So often in the time of a lease it is renewed."""


class PostgresEngine:
    """The Engine of `watcher.records.commit` for a command beside the daemons: it is no host, and holds no claims."""

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    advice = faults.ADVICE

    def __init__(self, server: Server, connection: PostgresConnection) -> None:
        self._server = server
        self._connection: PostgresConnection | None = connection
        self._foreign = threading.Event()

    def begin(self) -> PostgresConnection | None:
        """See `Engine.begin`."""
        connection = self._ready()
        connection.execute("BEGIN")
        return connection

    def commit(self) -> None:
        """See `Engine.commit`."""
        if self._connection is not None:
            self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """See `Engine.rollback`. A connection on which even that fails is given up."""
        connection = self._connection
        if connection is None:
            return
        try:
            if not connection.broken and connection.in_transaction:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()
        if connection.broken:
            self._connection = None

    def refusal(self, error: Exception) -> DatabaseFault | None:
        """See `Engine.refusal`."""
        if (faults.takes_no_changes(error) or faults.has_no_tables(error)) and self._connection is not None:
            self._connection.close()  # the next one may lead to the server that took over, and looks whether there are tables
        if faults.is_contention(error):
            return DatabaseFault("other hosts are in the way", self.advice, passing=True)
        return faults.refusal(error)

    def look_around(self) -> None:
        """Nothing has to be done now and then."""

    def changed_by_others(self) -> bool:
        """See `Engine.changed_by_others`."""
        changed = self._foreign.is_set()
        self._foreign.clear()
        return changed

    def notice(self) -> None:
        """Others say that something changed. From any thread."""
        self._foreign.set()

    def close(self) -> None:
        """See `Engine.close`."""
        if self._connection is not None:
            self._connection.close()

    def _ready(self) -> PostgresConnection:
        if self._connection is None or self._connection.broken:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> PostgresConnection:
        return self._server.connect()


class MemberEngine(PostgresEngine):
    """The Engine of one among several that work together: it holds what it took under a number, for as long as its lease lasts.

    Whoever finds that another's lease has ended fences it. What that one does afterwards under its old number changes nothing.
    """

    def __init__(
        self,
        server: Server,
        connection: PostgresConnection,
        *,
        number: int,
        clock: Clock,
        tell: Callable[..., None],
        schema: Schema,
    ) -> None:
        """`tell` takes an event and its fields, from any thread. `schema` is made anew in a database that has lost it."""
        super().__init__(server, connection)
        self._schema = schema
        self._empty_since: float | None = None
        self.number = number
        """For the thread that makes changes: under it this one holds what it takes now."""
        self._clock = clock
        self._tell = tell
        self._batch = time.time_ns()
        self._unsure: int | None = None
        self._renewed_at = self._steady_since = self._polled_at = clock.monotonic()
        self._looked_at = float("-inf")
        self._is_new = False
        self._durable = 0
        self.alive = 1
        """How many work together, as this one saw it last, itself included."""

    def begin(self) -> PostgresConnection | None:
        """See `Engine.begin`. Every transaction renews the lease, and none goes through without it."""
        connection = self._ready()
        if self._is_new:
            self._see_to_tables(connection)
        if self._unsure is not None and self._is_settled(connection, self._unsure):
            return None
        if self._is_new:
            self._greet(connection)
            self._is_new = False
        self._look_after_others(connection)
        self._begin_as_member(connection)
        return connection

    def commit(self) -> None:
        """See `Engine.commit`."""
        self._unsure = self._batch
        super().commit()
        self._unsure = None
        self._durable = self._batch
        self._renewed_at = self._clock.monotonic()

    def rollback(self) -> None:
        """See `Engine.rollback`."""
        super().rollback()
        if self._connection is not None:
            self._unsure = None  # the server said no: it did not go through

    def look_around(self) -> None:
        """Renew the lease, and look after the others."""
        if self._clock.monotonic() - self._polled_at >= POLL_SECONDS:
            self._polled_at = self._clock.monotonic()
            self.notice()
        if self._clock.monotonic() - self._renewed_at < self._server.lease / RENEWALS:
            return
        try:
            if self.begin() is not None:
                self.commit()
        except psycopg.Error as error:
            # nobody waits for anything now; the next change meets the same trouble and says so
            self.refusal(error)
            self.rollback()
            self._unsure = None  # whether it went through or not: what follows is another transaction
            self._renewed_at = self._clock.monotonic() - self._server.lease / RENEWALS + 1.0

    def close(self) -> None:
        """Leave, if the database is there, and let go of it."""
        try:
            connection = self._connection
            if connection is not None and not connection.broken:
                connection.execute("BEGIN")
                if self._stamp(connection, self._batch + 1):
                    self._leave(connection)
                connection.execute("COMMIT")
        except psycopg.Error:
            # its lease ends by itself
            pass
        super().close()

    def is_fresh(self) -> bool:
        """Whether the lease was renewed so lately that nobody can have fenced this one. From any thread."""
        return self._clock.monotonic() - self._renewed_at < self._server.lease

    def _connect(self) -> PostgresConnection:
        self._steady_since = self._clock.monotonic() + MAX_BACKOFF_SECONDS
        self._is_new = True
        return self._server.connect_for_changes(self.number)

    def _see_to_tables(self, connection: PostgresConnection) -> None:
        """A new connection may lead to a database that was made anew. Raises NoJournal while somebody may be restoring it."""
        try:
            if not tables.has_tables(connection, self._server):
                self._begin_anew(connection)
        except psycopg.Error:
            connection.close()  # the next try looks again
            raise
        self._empty_since = None

    def _begin_anew(self, connection: PostgresConnection) -> None:
        now = self._clock.monotonic()
        self._empty_since = now if self._empty_since is None else self._empty_since
        if now - self._empty_since < faults.RESTORE_SECONDS:
            raise faults.NoJournal(f"there is no journal in {self._server.name} any more")
        tables.begin_anew(connection, self._server, self._schema)

    def _greet(self, connection: PostgresConnection) -> None:
        """A new connection may lead to another server, and a name that is not known any more to another journal."""
        self._server.adopt(connection)

    def _is_settled(self, connection: PostgresConnection, unsure: int) -> bool:
        """Whether the last transaction has gone through after all. While nobody can tell, it is to be asked again."""
        try:
            went_through = self._went_through(connection, unsure)
        except psycopg.Error:
            connection.close()
            raise
        self._unsure = None
        self._durable = unsure if went_through else self._durable
        return went_through

    def _begin_as_member(self, connection: PostgresConnection) -> None:
        self._batch += 1
        connection.execute("BEGIN")
        if self._stamp(connection, self._batch):
            return
        connection.execute("ROLLBACK")
        self._greet(connection)  # others may have made the tables anew meanwhile
        connection.execute("BEGIN")
        if self._stamp(connection, self._batch):
            return
        self.number = self._join(connection)
        self._stamp(connection, self._batch)
        self._tell(Event.CLUSTER_FENCED, host=self._server.host, message=self._own_fence_words())

    def _look_after_others(self, connection: PostgresConnection) -> None:
        """Now and then, and not right after this one was cut off itself: the others may have been, and pause between tries."""
        now, lease = self._clock.monotonic(), self._server.lease
        if now - self._looked_at < lease / RENEWALS:
            return
        self._looked_at = now
        self._server.end_abandoned(connection)
        self.alive = self._count_alive(connection)
        if now - self._steady_since < lease:
            return
        connection.execute("BEGIN")
        is_member = self._stamp(connection, self._batch)
        fenced = self._fence_dead(connection) if is_member else []
        connection.execute("COMMIT")
        for host, count in fenced:
            self._tell(Event.CLUSTER_FENCED, host=host, **self._fence_fields(host, count))
        if any(count for _, count in fenced):
            self.notice()

    # --- how they tell each other apart: inside of a transaction but for `_went_through` and `_count_alive` -------------------

    def _stamp(self, connection: PostgresConnection, batch: int) -> bool:
        """Renew the lease, and name the transaction. False where this one was fenced."""
        raise NotImplementedError

    def _went_through(self, connection: PostgresConnection, batch: int) -> bool:
        """Whether the transaction of this name was committed."""
        raise NotImplementedError

    def _join(self, connection: PostgresConnection) -> int:
        """Begin anew with nothing in hand. Gives the new number."""
        raise NotImplementedError

    def _leave(self, connection: PostgresConnection) -> None:
        """Let go of everything."""
        raise NotImplementedError

    def _count_alive(self, connection: PostgresConnection) -> int:
        """How many there are, this one included."""
        raise NotImplementedError

    def _fence_dead(self, connection: PostgresConnection) -> list[tuple[str, int]]:
        """Fence whose lease has ended. Gives their names, and how much each of them had in hand."""
        raise NotImplementedError

    def _own_fence_words(self) -> str:
        raise NotImplementedError

    def _fence_fields(self, host: str, count: int) -> dict[str, object]:
        raise NotImplementedError
