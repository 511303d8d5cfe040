"""What the thread of the jobs asks of PostgreSQL: an engine among those that share them, under a lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.records.postgres.jobs import claims
from watcher.records.postgres.journal_engine import MemberEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.database import Schema
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server


class JobsEngine(MemberEngine):
    """The Engine of `watcher.records.commit` for one that takes jobs."""

    def __init__(
        self,
        server: Server,
        connection: PostgresConnection,
        *,
        instance: str,
        number: int,
        clock: Clock,
        tell: Callable[..., None],
        schema: Schema,
    ) -> None:
        """See `MemberEngine`; `instance` names the state folder."""
        super().__init__(server, connection, number=number, clock=clock, tell=tell, schema=schema)
        self._instance = instance

    def _stamp(self, connection: PostgresConnection, batch: int) -> bool:
        return claims.stamp(connection, self.number, self._instance, batch, self._server.lease)

    def _went_through(self, connection: PostgresConnection, batch: int) -> bool:
        return claims.went_through(connection, self.number, batch)

    def _join(self, connection: PostgresConnection) -> int:
        return claims.join(connection, self._server.host, self._instance, self._server.lease)

    def _leave(self, connection: PostgresConnection) -> None:
        claims.leave(connection, self.number)

    def _count_alive(self, connection: PostgresConnection) -> int:
        return claims.count_alive(connection, self.number)

    def _fence_dead(self, connection: PostgresConnection) -> list[tuple[str, int]]:
        return claims.fence_dead(connection, self.number)

    def _own_fence_words(self) -> str:
        return "this engine was not heard of for longer than its lease: others go on with its jobs, and it joins again"

    def _fence_fields(self, host: str, count: int) -> dict[str, object]:
        message = f"the engine {host} was not heard of for longer than its lease; others go on with what it had in hand"
        return {"jobs": count, "message": message}
