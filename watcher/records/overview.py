"""The journal's figures, as functions of a connection: asked by `status` beside a daemon, and by the daemon for its page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from watcher.model import OPEN_STATES, OutputState, timestamp
from watcher.records import followers, pauses, queries, watched
from watcher.records.rows import load_images
from watcher.result_records import printable
from watcher.shown.figures import Counts, JournalFigures, Throughput
from watcher.shown.report import DaemonReport

if TYPE_CHECKING:
    from watcher.model import Record
    from watcher.records.dialect import Connection

ERRORS_SHOWN: Final = 5
RECENT_STEPS: Final = 10_000
"""So far back a delay is looked for."""
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
IN_FLIGHT: Final = """
SELECT folder, count(*) FROM images
WHERE number IN (SELECT image FROM outputs WHERE state IN ('requested', 'enqueued')) GROUP BY folder
"""
_FOLDER_TALLIES: Final = """
SELECT folder, outcome, /*! CAST(sum( */ count /*! ) AS BIGINT) */ FROM folder_tallies
/*! GROUP BY folder, outcome */ ORDER BY folder
"""
_PUT_AWAY_LATER: Final = "SELECT count(*), max(number) FROM images WHERE state = 'ended' AND due_at > ended_at"
OLDEST: Final = "SELECT min(detected_at) FROM images WHERE state = 'open'"
OF_LATE: Final = "SELECT outcome, count(*) FROM images WHERE outcome IS NOT NULL AND ended_at >= ? GROUP BY outcome"
UNSETTLED: Final = "images.outcome = 'failed' AND images.newest = 1 AND images.dismissed_at IS NULL"
"""Failures that nobody has retried, replaced or dismissed."""
ALL_ROWS: Final = 1 << 62
FAILED: Final = f"""
SELECT folder, count(*) FROM (SELECT folder FROM images WHERE {UNSETTLED} ORDER BY number LIMIT {ALL_ROWS}) AS unsettled
GROUP BY folder
"""  # noqa: S608 - constants
"""The order and the limit have SQLite read the small index of failures; to group by folder it would read all newest images."""
LAST_ERRORS: Final = f"""
SELECT endings.record FROM images CROSS JOIN endings
WHERE endings.image_id = images.id AND endings.event = 'image.failed' AND {UNSETTLED} ORDER BY images.number DESC LIMIT ?
"""  # noqa: S608 - a constant


def journal_figures(connection: Connection, now: float) -> JournalFigures:
    """All of them; `now` in Unix seconds."""
    totals = queries.totals(connection)
    not_whole, ignored = watched.counts(connection)
    unreadable = watched.unreadable(connection)
    not_put_away, why_not_put_away = put_away_later(connection)
    return JournalFigures(
        not_whole=not_whole,
        ignored=ignored,
        unreadable=unreadable,
        not_put_away=not_put_away,
        why_not_put_away=why_not_put_away,
        folders=counts_by_folder(connection),
        outputs={str(state): getattr(totals, state) for state in OutputState},
        oldest_open=oldest_open(connection),
        last_minute=_throughput(connection, now - _MINUTE),
        last_hour=_throughput(connection, now - _HOUR),
        backlogs=backlogs(connection),
        unwritten_audit_lines=max(0, queries.last_seq(connection) - queries.outbox_cursor(connection).audited),
        paused=pauses.paused(connection),
        last_errors=last_errors(connection, ERRORS_SHOWN),
        last_delay=last_delay(connection) if any(getattr(totals, state) for state in OPEN_STATES) else None,
    )


def counts_by_folder(connection: Connection) -> dict[str, Counts]:
    """How many images of each folder stand where; costs the same over a million images."""
    tallies: dict[str, dict[str, int]] = {}
    for folder, outcome, count in connection.execute(_FOLDER_TALLIES):
        tallies.setdefault(folder, {})[outcome] = count
    in_flight = dict(connection.execute(IN_FLIGHT).fetchall())
    failed = dict(connection.execute(FAILED).fetchall())
    return {folder: _counts(ended, in_flight.get(folder, 0), failed.get(folder, 0)) for folder, ended in tallies.items()}


def _counts(tallies: dict[str, int], in_flight: int, failed: int) -> Counts:
    ended = {outcome: count for outcome, count in tallies.items() if outcome != "open"}
    return Counts(max(0, tallies.get("open", 0) - in_flight), in_flight, failed, ended)


def oldest_open(connection: Connection) -> float | None:
    """When the image that has been waiting longest was detected (Unix seconds); None where nothing waits."""
    found: float | None = connection.execute(OLDEST).fetchone()[0]
    return found


def _throughput(connection: Connection, since: float) -> Throughput:
    counts = dict(connection.execute(OF_LATE, (since,)).fetchall())
    return Throughput(stored=counts.get("stored", 0), failed=counts.get("failed", 0))


def last_errors(connection: Connection, limit: int) -> list[Record]:
    """The failed endings of images that are not settled, those of the newest images first."""
    return [json.loads(record) for (record,) in connection.execute(LAST_ERRORS, (limit,))]


def last_delay(connection: Connection) -> Record | None:
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


def put_away_later(connection: Connection) -> tuple[int, str]:
    """How many originals could not be moved or deleted and wait for the next try; and why not, of the last one."""
    count, number = connection.execute(_PUT_AWAY_LATER).fetchone()
    query = "SELECT detail FROM history WHERE image = ? AND event = 'image.retry' ORDER BY number DESC LIMIT 1"
    row = connection.execute(query, (number,)).fetchone() if count else None
    return count, "" if row is None else str(json.loads(row[0]).get("message", ""))


def report(connection: Connection) -> DaemonReport | None:
    """What a daemon said of itself last."""
    row = connection.execute("SELECT report FROM daemons /*! WHERE name = here() */ ORDER BY at DESC LIMIT 1").fetchone()
    return None if row is None else DaemonReport.from_json(json.loads(row[0]))


def backlogs(connection: Connection) -> dict[str, int]:
    """How many endings each receiver that the daemon reported last has yet to confirm."""
    said = report(connection)
    receivers = [] if said is None else [each for each in said.receivers if each.events]
    return {each.name: followers.behind(connection, each.name, each.events, each.folders) for each in receivers}


def keep_report(connection: Connection, name: str, said: DaemonReport, now: float) -> None:
    """Keep what the daemon of this name says of itself."""
    connection.execute(
        "INSERT INTO daemons (name, at, report) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET at = excluded.at, report = excluded.report",
        (name, now, json.dumps(printable(said.to_json()))),
    )
