"""What every change of an image is made of: its row, the state of an output, a step of its history, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.errors import Fenced, Paused
from watcher.model import Event, OutputState
from watcher.records.activity import Done
from watcher.records.additions import add_steps, count
from watcher.records.dialect import dialect_of
from watcher.records.rows import OPEN, record_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.model import Record
    from watcher.records.additions import Step
    from watcher.records.dialect import Connection
    from watcher.records.rows import Row


KEPT: Final = "kept"
_OUTCOME: Final = """(
    SELECT state FROM outputs WHERE image = images.number
    ORDER BY CASE state WHEN 'failed' THEN 1 WHEN 'stored' THEN 2 WHEN 'unchanged' THEN 3 WHEN 'vanished' THEN 4 ELSE 5 END
    LIMIT 1
)"""
_STATE_OF: Final = {
    Event.IMAGE_STORED: OutputState.STORED,
    Event.IMAGE_FAILED: OutputState.FAILED,
    Event.IMAGE_SUPERSEDED: OutputState.SUPERSEDED,
    Event.IMAGE_VANISHED: OutputState.VANISHED,
}


def finish_image(connection: Connection, number: int, note: str, now: float) -> None:
    """ended -> finished."""
    changed = connection.execute(
        "UPDATE images SET state = 'finished', due_at = NULL, finished_at = ?, token = NULL, secret = NULL, expires_at = NULL"
        " WHERE number = ? AND state = 'ended'",
        (now, number),
    ).rowcount
    if changed:
        add_history(connection, number, now, "finished", None, {"note": note})


class Forgotten(Fenced, KeyError):
    """A shared journal does not know the image: its server took over from one that did."""


_NUMBER: Final = """
SELECT number /*!, claimed_by = here() AND claim = epoch() */ FROM images WHERE id = ? /*! FOR NO KEY UPDATE */
"""
_NUMBER_UNLESS_PAUSED: Final = """
SELECT number, EXISTS (SELECT 1 FROM pauses WHERE pauses.folder IN ('', images.folder))
/*!, claimed_by = here() AND claim = epoch() */ FROM images WHERE id = ? /*! FOR NO KEY UPDATE */
"""


def number_of(connection: Connection, image_id: str) -> int:
    """The row number of an image, for a change that its turn makes. KeyError where there is none.

    Where hosts share the journal the image has to be in this one's hands, by the claim under which it was given out. Raises
    Fenced where it is not any more, or not there: a server that took over may lack it.
    """
    number, *_ = _ours(connection, _NUMBER, image_id)
    return int(number)


def number_unless_paused(connection: Connection, image_id: str) -> int:
    """The same, for what is not to be sent while its folder waits. Raises Paused as well."""
    number, is_paused, *_ = _ours(connection, _NUMBER_UNLESS_PAUSED, image_id)
    if is_paused:
        raise Paused("its folder is paused")
    return int(number)


def _ours(connection: Connection, query: str, image_id: str) -> Row:
    """What a query of `images` gives; where hosts share the journal its last column says whether the image is this one's."""
    row: Row | None = connection.execute(query, (image_id,)).fetchone()
    shared = dialect_of(connection).shared
    if row is None:
        raise Forgotten("the journal does not know this image any more") if shared else KeyError(image_id)
    if shared and not row[-1]:
        raise Fenced("another host has this image now")
    return row


def move(
    connection: Connection, number: int, rendition: str | None, sources: Sequence[str], target: str, **values: object
) -> bool:
    """Change an output's state, if it is in one of `sources`."""
    assignments = "".join(f", {column} = ?" for column in values)
    states = ", ".join(f"'{state}'" for state in sources)
    which = f"image = ? AND rendition IS NOT DISTINCT FROM ? AND state IN ({states})"
    statement = f"UPDATE outputs SET state = ?{assignments} WHERE {which}"  # noqa: S608 - column and state names of this module
    return connection.execute(statement, (target, *values.values(), number, rendition)).rowcount == 1


def end_output(
    connection: Connection, number: int, rendition: str | None, event: Event, key: str | None, reason: str | None = None
) -> bool:
    """Any open state -> the state of an ending."""
    values: dict[str, object] = {"doubt": 0, "job_id": None, "reason": reason}
    if key is not None:
        values["key"] = key
    return move(connection, number, rendition, ("waiting", "requested", "enqueued"), str(_STATE_OF[event]), **values)


def add_ending(
    connection: Connection,
    number: int,
    image_id: str,
    rendition: str | None,
    event: Event,
    record: Record,
    now: float,
) -> None:
    """The line that the audit file will hold, and a word in the image's history."""
    add_line(connection, image_id, rendition, event, record, now)
    add_history(connection, number, now, event, rendition, {})


def add_line(connection: Connection, image_id: str, rendition: str | None, event: Event, record: Record, now: float) -> None:
    """The line that the audit file will hold."""
    connection.execute(dialect_of(connection).add_ending, (image_id, rendition, now, str(event), record_text(record)))


def add_history(connection: Connection, number: int, now: float, event: str, rendition: str | None, detail: Record) -> None:
    """One step of an image's history."""
    add_steps(connection, number, now, ((event, rendition, detail),))


def close_if_ended(connection: Connection, number: int, now: float, *, note: str = KEPT) -> None:
    """open -> ended, where no output is open any more; at once finished, with this note, where the rule keeps every original."""
    close_with(connection, number, now, note=note)


def close_with(
    connection: Connection, number: int, now: float, steps: Sequence[Step] = (), done: Done | None = None, *, note: str = KEPT
) -> None:
    """The same, after these steps of its history; `done` is what its outputs did."""
    closed = connection.execute(_CLOSE, {"now": now, "number": number}).fetchone()
    if closed is not None:
        folder, outcome, seconds, keeps_original = closed
        done = (done or Done(folder)).with_image(outcome, seconds)
        if keeps_original:
            steps = (*steps, ("finished", None, {"note": note}))
    if steps:
        add_steps(connection, number, now, steps)
    if done is not None:
        count(connection, done, now)


_CLOSE: Final = f"""
UPDATE images SET ended_at = :now, outcome = {_OUTCOME},
state = CASE keeps_original WHEN 1 THEN 'finished' ELSE 'ended' END,
finished_at = CASE keeps_original WHEN 1 THEN :now END, due_at = CASE keeps_original WHEN 1 THEN NULL ELSE :now END,
token = CASE keeps_original WHEN 1 THEN NULL ELSE token END,
secret = CASE keeps_original WHEN 1 THEN NULL ELSE secret END,
expires_at = CASE keeps_original WHEN 1 THEN NULL ELSE expires_at END
WHERE number = :number AND state = 'open'
AND NOT EXISTS (SELECT 1 FROM outputs WHERE image = images.number AND state IN {OPEN})
RETURNING folder, outcome, :now - detected_at, keeps_original
"""  # noqa: S608 - constants
