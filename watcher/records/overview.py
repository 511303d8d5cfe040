"""The journal's figures, as functions of a connection: asked by `status` beside a daemon, and by the daemon for its page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from watcher.figures import ENDED, JournalFigures, Throughput
from watcher.model import ENDINGS, Event, timestamp
from watcher.records import queries
from watcher.records.rows import OPEN, load_images

if TYPE_CHECKING:
    import sqlite3

    from watcher.model import Record

LAST_ERRORS: Final = 5
RECENT_STEPS: Final = 10_000
"""So far back a delay is looked for."""
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


def journal_figures(connection: sqlite3.Connection, now: float) -> JournalFigures:
    """All of them; `now` in Unix seconds."""
    totals = queries.totals(connection)
    return JournalFigures(
        waiting=totals.waiting,
        in_flight=totals.requested + totals.enqueued,
        failed=failed_now(connection),
        oldest_open=oldest_open(connection),
        ended={name: getattr(totals, name) for name in ENDED},
        last_minute=_throughput(connection, now - _MINUTE),
        last_hour=_throughput(connection, now - _HOUR),
        unwritten_audit_lines=max(0, queries.last_seq(connection) - queries.outbox_cursor(connection).audited),
        last_errors=last_errors(connection, LAST_ERRORS),
        last_delay=last_delay(connection) if totals.open else None,
    )


def failed_now(connection: sqlite3.Connection) -> int:
    """How many outputs have failed and were neither retried nor replaced by a newer version of their file."""
    query = """SELECT count(*) FROM outputs CROSS JOIN images ON images.number = outputs.image
               WHERE outputs.state = 'failed' AND images.newest = 1"""
    return int(connection.execute(query).fetchone()[0])


def oldest_open(connection: sqlite3.Connection) -> float | None:
    """When the image that has been waiting longest was detected (Unix seconds); None where nothing waits."""
    query = f"SELECT min(image) FROM outputs WHERE state IN {OPEN}"  # noqa: S608 - a constant
    row = connection.execute(f"SELECT detected_at FROM images WHERE number = ({query})").fetchone()  # noqa: S608 - as above
    return float(row[0]) if row else None


def ended_since(connection: sqlite3.Connection, since: float) -> dict[str, int]:
    """How many outputs ended at or after `since` (Unix seconds), by event; every ending event is there."""
    query = "SELECT event, count(*) FROM endings WHERE at >= ? GROUP BY event"
    return {**{str(event): 0 for event in sorted(ENDINGS)}, **dict(connection.execute(query, (since,)))}


def _throughput(connection: sqlite3.Connection, since: float) -> Throughput:
    counts = ended_since(connection, since)
    return Throughput(stored=counts[Event.IMAGE_STORED], failed=counts[Event.IMAGE_FAILED])


def last_errors(connection: sqlite3.Connection, limit: int) -> list[Record]:
    """The newest failed endings, newest first."""
    query = "SELECT record FROM endings WHERE event = 'image.failed' ORDER BY seq DESC LIMIT ?"
    return [json.loads(record) for (record,) in connection.execute(query, (limit,))]


def last_delay(connection: sqlite3.Connection) -> Record | None:
    """The newest step that put an image off, which is why it waits; None where none of the last ones did."""
    query = """SELECT image, at, rendition, detail FROM history
               WHERE event = 'image.retry' AND number > (SELECT max(number) FROM history) - ? ORDER BY number DESC LIMIT 1"""
    row = connection.execute(query, (RECENT_STEPS,)).fetchone()
    if row is None:
        return None
    number, at, rendition, detail = row
    (image,) = load_images(connection, [number])
    message = json.loads(detail).get("message")
    return {"timestamp": timestamp(at), "id": image.id, **image.file.fields(), "rendition": rendition, "message": message}
