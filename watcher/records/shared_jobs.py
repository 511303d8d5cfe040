"""How the engines do that share their jobs, and how the jobs stand: for commands. The driver is loaded where it is needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from watcher.shown.figures import EngineFigures, JobsFigures

if TYPE_CHECKING:
    from watcher.records.dialect import Connection
    from watcher.records.place import JournalPlace

_ENGINES: Final = """
SELECT name, alive_until > clock_timestamp(), CAST(extract(epoch FROM alive_until) AS DOUBLE PRECISION),
       (SELECT count(*) FROM jobs WHERE engine = engines.number)
FROM engines ORDER BY name, number
"""
_COUNTS: Final = """
SELECT (SELECT count(*) FROM jobs WHERE status = 'enqueued'), (SELECT count(*) FROM jobs WHERE engine IS NOT NULL),
       (SELECT count(*) FROM jobs WHERE webhook_due IS NOT NULL)
"""


def shared_jobs(place: JournalPlace) -> JobsFigures | None:
    """What there is to say; None where no engines share jobs there. May wait for the database. Raises Unavailable."""
    if not place.is_shared:
        return None
    from watcher.records.postgres import database
    from watcher.records.postgres.jobs.store import jobs_server, schema

    server = jobs_server(place.server)
    if not database.is_there(server):
        return None
    with contextlib.closing(database.open_beside(server, schema(), writable=False)) as connection:
        return database.explained(server, lambda: _figures(connection))


def _figures(connection: Connection) -> JobsFigures:
    rows = connection.execute(_ENGINES).fetchall()
    engines = [EngineFigures(name, bool(alive), since, in_hand) for name, alive, since, in_hand in rows]
    return JobsFigures(engines, *connection.execute(_COUNTS).fetchone())
