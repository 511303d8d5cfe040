"""Keep the journal in order: recovery at start, retry, outbox cursor. Functions of the connection, like `changes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.model import Event
from watcher.records import changes, image_rows, taking
from watcher.records.dialect import dialect_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from watcher.model import Sighting
    from watcher.records.dialect import Connection
    from watcher.records.queries import OutboxCursor

FAR_AHEAD_SECONDS: Final = 120.0
"""No output is put off for so long; a time further ahead was written under a clock that has been set back since."""
LONGEST_PUT_AWAY_SECONDS: Final = 900.0
"""The same for the move or deletion of an original."""


def recover(connection: Connection, now: float) -> int:
    """After a stop of any kind: a request whose answer was awaited is in doubt. Gives how many were."""
    connection.execute("DELETE FROM waiting")
    interrupted = connection.execute("SELECT image, rendition FROM outputs WHERE state = 'requested'").fetchall()
    for number, rendition in interrupted:
        image_rows.move(connection, number, rendition, ("requested",), "waiting", doubt=1, due_at=now)
        image_rows.add_history(connection, number, now, Event.IMAGE_RETRY, rendition, {"message": changes.INTERRUPTED})
    bring_near(connection, now)
    return len(interrupted)


def bring_near(connection: Connection, now: float) -> None:
    """What was put off under a clock that was far ahead is due now."""
    far, farthest = now + FAR_AHEAD_SECONDS, now + LONGEST_PUT_AWAY_SECONDS
    connection.execute("UPDATE outputs SET due_at = ? WHERE state IN ('waiting', 'enqueued') AND due_at > ?", (now, far))
    connection.execute("UPDATE images SET due_at = ? WHERE state = 'ended' AND due_at > ?", (now, farthest))


def retry(
    connection: Connection,
    sightings: Sequence[tuple[int, Sighting]],
    now: float,
    new_id: Callable[[], str],
) -> list[str]:
    """A new image for each failed one (row number, and what to take again) that is still the newest of its path."""
    made = []
    replace = """UPDATE images SET newest = 0, state = 'finished', due_at = NULL, finished_at = coalesce(finished_at, ?)
                 WHERE number = ? AND newest = 1 AND state <> 'open'"""
    for number, sighting in sightings:
        if connection.execute(replace, (now, number)).rowcount:
            identity = new_id()
            taking.insert_image(connection, identity, sighting, taking.keep_rule(connection, sighting.rule), now)
            image_rows.add_history(connection, number, now, "retried", None, {"as": identity})
            made.append(identity)
    return made


def dismiss_failed(connection: Connection, image_ids: Collection[str] | None, now: float) -> list[str]:
    """Note that these failures (None: all there are) need nothing more. Gives the ids of those that were unsettled."""
    unsettled = "outcome = 'failed' AND newest = 1 AND dismissed_at IS NULL"
    dismiss = f"UPDATE images SET dismissed_at = ? WHERE {unsettled}"  # noqa: S608 - a constant
    if image_ids is None:
        rows = connection.execute(f"{dismiss} RETURNING number, id", (now,)).fetchall()
    else:
        found = (connection.execute(f"{dismiss} AND id = ? RETURNING number, id", (now, each)).fetchall() for each in image_ids)
        rows = [row for each in found for row in each]
    for number, _ in rows:
        image_rows.add_history(connection, number, now, "dismissed", None, {})
    return [str(identity) for _, identity in rows]


def advance_outbox(connection: Connection, cursor: OutboxCursor, links: Sequence[tuple[int, str | None]] = ()) -> None:
    """Note how far the endings are written down, and the `prev` of lines by their numbers.

    A journal that knows fewer endings goes on counting from there.
    """
    connection.executemany(
        "INSERT INTO cursors (name, seq, hash) VALUES (?, ?, ?)"
        " ON CONFLICT (name /*!, host */) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        [("audit", cursor.audited, cursor.hash), ("log", cursor.logged, None)],
    )
    connection.executemany(
        "UPDATE endings SET prev = ? WHERE seq = ? /*! AND host = here() */", [(prev, seq) for seq, prev in links]
    )
    count_on(connection, cursor.audited)


def count_on(connection: Connection, seq: int) -> None:
    """The next ending gets a number above `seq`."""
    if not seq:
        return
    for statement in dialect_of(connection).count_on:
        if connection.execute(statement, {"seq": seq}).rowcount:
            return
