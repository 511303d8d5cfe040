"""What hosts that share a journal tell each other beside the images: how the way to the API stands, and who may send when.

For PostgreSQL; no driver is needed to read this.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.records.dialect import Connection

Answer = TypeVar("Answer")

LONGEST_QUEUE_SECONDS: Final = 900.0
"""Places further ahead are none: the server's clock was set back."""
_CATCH_UP: Final = 100_000
_SECOND: Final = 1_000_000
_TELL: Final = """
UPDATE hosts SET api = CAST(CAST(? AS JSONB) || jsonb_build_object('at', extract(epoch FROM clock_timestamp())) AS TEXT)
WHERE name = here()
"""
_PEERS: Final = """
SELECT name, api, CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) FROM hosts
WHERE name <> here() AND alive_until > clock_timestamp() ORDER BY name
"""
_TAKE_PLACES: Final = """
WITH clock AS (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) AS now)
INSERT INTO cursors (name, host, seq) SELECT 'pace', '', clock.now + :taken FROM clock
ON CONFLICT (name, host) DO UPDATE SET seq = :taken + CASE
    WHEN cursors.seq > excluded.seq + :longest THEN excluded.seq - :taken
    ELSE greatest(cursors.seq, excluded.seq - :taken - :catch_up) END
RETURNING seq - :taken - CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT),
          set_config('synchronous_commit', 'off', true)
"""
"""The cursor `pace` of no host is the moment, in microseconds, up to which all places for requests are taken."""


class PeerRecords:
    """The other hosts, for one of them."""

    def __init__(self, change: Any, ask: Any, call: Callable[[Connection], None]) -> None:
        """`change` and `ask` have a function of the connection run; `call` tells the others that there is something new."""
        self._change = change
        self._ask = ask
        self._call = call

    async def tell(self, standing: Mapping[str, Any]) -> None:
        """How the way to the API stands here, for all others to hear at once."""

        def change(connection: Connection) -> None:
            connection.execute(_TELL, (json.dumps(standing),))
            self._call(connection)

        await self._change(change)

    async def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """How it stands on each other host that is alive, by name; `age` is how many seconds ago that was said."""
        rows: list[tuple[str, str, float]] = await self._ask(_heard)
        return [(name, _with_age(json.loads(said), now)) for name, said, now in rows]

    async def take_places(self, count: int, each: float) -> float:
        """Reserve so many places for requests, of so many seconds each, behind those of all hosts.

        Gives the seconds until the first.
        """
        wait: float = await self._ask(partial(_take_places, count=count, each=each))
        return wait


def _heard(connection: Connection) -> list[tuple[str, str, float]]:
    return connection.execute(_PEERS).fetchall()


def _with_age(said: dict[str, Any], now: float) -> dict[str, Any]:
    return {**said, "age": max(0.0, now - said.get("at", now))}


def _take_places(connection: Connection, count: int, each: float) -> float:
    values = {"taken": round(count * each * _SECOND), "longest": round(LONGEST_QUEUE_SECONDS * _SECOND), "catch_up": _CATCH_UP}
    return int(connection.execute(_TAKE_PLACES, values).fetchone()[0]) / _SECOND
