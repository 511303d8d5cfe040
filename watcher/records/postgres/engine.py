"""What the write thread asks of PostgreSQL: connections made again, batches that go through once, and the host's lease."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg

from watcher.model import Event
from watcher.records.commit import DatabaseFault
from watcher.records.postgres import claims, database

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server

POLL_SECONDS: Final = 2.0
"""How often an idle host looks whether another one has let go of something; calls may be missed."""
RENEWALS: Final = 3.0
"""So often in the time of a lease it is renewed."""


class PostgresEngine:
    """The Engine of `watcher.records.commit` for a command beside the daemons: it is no host, and holds no claims."""

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    advice = database.ADVICE

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
        if database.is_contention(error):
            return DatabaseFault("other hosts are in the way", self.advice, passing=True)
        return database.refusal(error)

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


class HostEngine(PostgresEngine):
    """The Engine of a daemon: a host of the cluster."""

    def __init__(
        self,
        server: Server,
        connection: PostgresConnection,
        *,
        instance: str,
        epoch: int,
        clock: Clock,
        tell: Callable[..., None],
    ) -> None:
        """`tell` takes an event and its fields, from any thread."""
        super().__init__(server, connection)
        self._instance = instance
        self._epoch = epoch
        self._clock = clock
        self._tell = tell
        self._batch = time.time_ns()
        self._unsure: int | None = None
        self._renewed_at = self._steady_since = self._polled_at = clock.monotonic()
        self._looked_at = float("-inf")
        self.hosts_alive = 1
        """As this one saw it last, itself included."""

    def begin(self) -> PostgresConnection | None:
        """See `Engine.begin`. Every transaction renews the lease, and none goes through without it."""
        connection = self._ready()
        unsure, self._unsure = self._unsure, None
        if unsure is not None and claims.went_through(connection, unsure):
            return None
        self._fence_dead(connection)
        self._begin_as_host(connection)
        return connection

    def commit(self) -> None:
        """See `Engine.commit`."""
        self._unsure = self._batch
        super().commit()
        self._unsure = None
        self._renewed_at = self._clock.monotonic()

    def rollback(self) -> None:
        """See `Engine.rollback`."""
        super().rollback()
        if self._connection is not None:
            self._unsure = None  # the server said no: it did not go through

    def look_around(self) -> None:
        """Renew the lease, and look after the other hosts."""
        if self._clock.monotonic() - self._polled_at >= POLL_SECONDS:
            self._polled_at = self._clock.monotonic()
            self.notice()
        if self._clock.monotonic() - self._renewed_at < self._server.lease / RENEWALS:
            return
        try:
            if self.begin() is not None:
                self.commit()
        except psycopg.Error:
            # nobody waits for anything now; the next change meets the same trouble and says so
            self.rollback()
            self._renewed_at = self._clock.monotonic() - self._server.lease / RENEWALS + 1.0

    def close(self) -> None:
        """Leave the cluster, if the database is there, and let go of it."""
        try:
            connection = self._connection
            if connection is not None and not connection.broken:
                connection.execute("BEGIN")
                if claims.stamp(connection, self._batch + 1, self._server.lease):
                    claims.leave(connection, self._clock.now())
                connection.execute("COMMIT")
        except psycopg.Error:
            # its lease ends by itself
            pass
        super().close()

    def _connect(self) -> PostgresConnection:
        self._steady_since = self._clock.monotonic()
        return self._server.connect(self._epoch)

    def _begin_as_host(self, connection: PostgresConnection) -> None:
        self._batch += 1
        connection.execute("BEGIN")
        if claims.stamp(connection, self._batch, self._server.lease):
            return
        self._epoch = claims.join(connection, self._instance, self._server.lease, self._clock.now())
        claims.stamp(connection, self._batch, self._server.lease)
        message = "this host was not heard of for longer than its lease: others go on with what it had, and it joins again"
        self._tell(Event.CLUSTER_FENCED, host=self._server.host, message=message)

    def _fence_dead(self, connection: PostgresConnection) -> None:
        """Now and then, and not right after this host was cut off itself: the others may have been, too."""
        now, lease = self._clock.monotonic(), self._server.lease
        if now - self._looked_at < lease / RENEWALS:
            return
        self._looked_at = now
        self.hosts_alive = claims.count_alive(connection)
        if now - self._steady_since < lease:
            return
        connection.execute("BEGIN")
        fenced = claims.fence_dead(connection, self._clock.now()) if self._is_member(connection) else []
        connection.execute("COMMIT")
        for host, images in fenced:
            message = f"{host} was not heard of for longer than its lease; others that see its files go on with them"
            self._tell(Event.CLUSTER_FENCED, host=host, images=images, message=message)
        if any(images for _, images in fenced):
            self.notice()

    def _is_member(self, connection: PostgresConnection) -> bool:
        return claims.stamp(connection, self._batch, self._server.lease)
