"""What the write thread of a daemon asks of PostgreSQL: a host among several, that knows what it was told is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.model import Event
from watcher.records.postgres import claims, database
from watcher.records.postgres.journal_engine import MemberEngine
from watcher.records.threads import MAX_BACKOFF_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server

UNSURE_SECONDS: Final = 900.0
"""So long after a server took over the store is asked before anything is sent."""
SET_BACK: Final = (
    "the database lacks what this host wrote last, as a standby does that was behind, or an older backup: the endings are put"
    " back from the audit file, and the host joins again"
)

BEGUN_ANEW: Final = (
    "the database had nothing of the journal any more: a new one was begun, which learns from the audit files what lies in the"
    " store, and the host joins it"
)


class HostEngine(MemberEngine):
    """The Engine of a daemon: a host of the cluster.

    A server that took over may lack what was committed last, of this host and of others. Each host finds what it lacks of its own
    and puts it back; until all have had time for that, none of them begins anything.
    """

    def __init__(
        self,
        server: Server,
        connection: PostgresConnection,
        *,
        instance: str,
        epoch: int,
        clock: Clock,
        tell: Callable[..., None],
        put_back: Callable[[PostgresConnection], int] = lambda _: 0,
    ) -> None:
        """See `MemberEngine`; `instance` names this host's state folder. `put_back` makes the endings again that the database
        lacks, and gives how many it lacked.
        """
        super().__init__(server, connection, number=epoch, clock=clock, tell=tell, schema=database.schema())
        self._instance = instance
        self._put_back = put_back
        self._neighbours: frozenset[str] = frozenset()
        self._awaited: dict[str, object] = {}
        self._strangers_until = self._awaits_until = self._unsure_until = float("-inf")
        self.on_move: Callable[[], None] = lambda: None
        """Called from the thread that makes changes, where another server may lack what was written."""

    @property
    def is_unsure(self) -> bool:
        """Whether the database may lack what was written of late. From any thread."""
        return self._clock.monotonic() < self._unsure_until

    def look_out(self, awaited: dict[str, object]) -> None:
        """The database may lack what was written last. `awaited` are other hosts and their leases, which each of them renews when
        it has seen to what it wrote itself. Those that were alive of late are awaited as well: it may not know of them.
        """
        now = self._clock.monotonic()
        self._awaited = {**dict.fromkeys(self._neighbours), **awaited}
        self._awaits_until = now + self._server.lease + MAX_BACKOFF_SECONDS
        self._unsure_until = now + UNSURE_SECONDS
        self.on_move()

    def holds_back(self, connection: PostgresConnection) -> bool:
        """Whether a host is awaited still. By this host's clock: a server that was behind takes leases for ended that last.

        Not for longer than a lease, and the longest pause between tries to connect. Whom a new journal does not know has a lease.
        """
        now = self._clock.monotonic()
        if now < self._strangers_until:
            return True
        if now >= self._awaits_until:
            self._awaited = {}
        if self._awaited:
            leases = claims.other_members(connection)
            self._awaited = {name: until for name, until in self._awaited.items() if leases.get(name) == until}
        return bool(self._awaited)

    def _greet(self, connection: PostgresConnection) -> None:
        has_moved = self._server.adopt(connection)
        if not claims.is_set_back(connection, self.number, self._durable):
            if has_moved:
                self.look_out(claims.other_members(connection))
            return
        awaited, is_known = claims.other_members(connection), claims.is_known(connection)
        connection.execute("BEGIN")
        self.number = claims.join(connection, self._instance, self._server.lease, self._clock.now(), above=self.number)
        lacked = self._put_back(connection)
        connection.execute("COMMIT")
        self._durable = 0
        if not is_known:
            self._strangers_until = self._clock.monotonic() + self._server.lease
        self.look_out(awaited)
        self.tell_set_back(lacked, SET_BACK if is_known else BEGUN_ANEW)

    def tell_set_back(self, lacked: int, message: str = SET_BACK) -> None:
        """The database had lost what this host wrote."""
        self._tell(Event.CLUSTER_FENCED, host=self._server.host, endings=lacked, message=message)

    def _stamp(self, connection: PostgresConnection, batch: int) -> bool:
        return claims.stamp(connection, batch, self._server.lease)

    def _went_through(self, connection: PostgresConnection, batch: int) -> bool:
        return claims.went_through(connection, batch)

    def _join(self, connection: PostgresConnection) -> int:
        return claims.join(connection, self._instance, self._server.lease, self._clock.now())

    def _leave(self, connection: PostgresConnection) -> None:
        claims.leave(connection, self._clock.now())

    def _count_alive(self, connection: PostgresConnection) -> int:
        self._neighbours = claims.others_alive(connection)
        return 1 + len(self._neighbours)

    def _fence_dead(self, connection: PostgresConnection) -> list[tuple[str, int]]:
        return claims.fence_dead(connection, self._clock.now())

    def _own_fence_words(self) -> str:
        return "this host was not heard of for longer than its lease: others go on with what it had, and it joins again"

    def _fence_fields(self, host: str, count: int) -> dict[str, object]:
        message = f"{host} was not heard of for longer than its lease; others that see its files go on with them"
        return {"images": count, "message": message}
