"""What happens to an image on its way, each as one change of the journal: called by the writer in a transaction, free of I/O.

A change of an output's state names the states it may come from; False says that the output was in none of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from watcher.model import Event, IgnoredReason, OutputState
from watcher.records.activity import Done
from watcher.records.additions import settle
from watcher.records.image_rows import (
    add_history,
    add_line,
    close_if_ended,
    close_with,
    end_output,
    finish_image,
    move,
    number_of,
    number_unless_paused,
)
from watcher.records.known_files import forget_version
from watcher.records.objects import put_object
from watcher.records.rows import load_images, name_bytes, observation_values, split_path
from watcher.result_records import with_replacement

if TYPE_CHECKING:
    from watcher.model import Ending, Postponement, SourceFacts, StoredObject, Ticket
    from watcher.records.dialect import Connection


INTERRUPTED: Final = "the answer was awaited when the work was interrupted"


def hashed(connection: Connection, image_id: str, facts: SourceFacts, ticket: Ticket) -> None:
    """What the open descriptor said, and the ticket."""
    connection.execute(
        """UPDATE images SET name = ?, sha1 = ?, bytes = ?, format = ?, width = ?, height = ?, no_formal_end = ?,
           token = ?, secret = ?, expires_at = ? WHERE id = ? /*! AND claimed_by = here() AND claim = epoch() */""",
        (
            name_bytes(facts.name),
            facts.sha1,
            facts.size,
            str(facts.format),
            facts.width,
            facts.height,
            int(facts.no_formal_end),
            ticket.token,
            ticket.secret,
            ticket.expires_at,
            image_id,
        ),
    )


def requested(connection: Connection, image_id: str, rendition: str | None, place: tuple[str, str], now: float) -> bool:
    """waiting -> requested. From now on nobody knows whose content lies at the place, until something is stored there."""
    bucket, key = place
    number = number_unless_paused(connection, image_id)
    if not move(connection, number, rendition, ("waiting",), "requested", key=key, doubt=0):
        return False
    connection.execute("UPDATE objects SET sha1 = '' WHERE bucket = ? AND key = ?", (bucket, key))
    add_history(connection, number, now, Event.IMAGE_REQUESTED, rendition, {"key": key})
    return True


def enqueued(connection: Connection, image_id: str, rendition: str | None, job_id: str, now: float) -> bool:
    """requested -> enqueued."""
    number = number_of(connection, image_id)
    if not move(connection, number, rendition, ("requested",), "enqueued", job_id=job_id, due_at=now):
        return False
    add_history(connection, number, now, Event.IMAGE_ENQUEUED, rendition, {"job_id": job_id})
    return True


def postponed(connection: Connection, image_id: str, rendition: str | None, wait: Postponement, now: float) -> bool:
    """Any open state -> waiting. Doubt needs a request, and so a key, to be about."""
    number = number_of(connection, image_id)
    values = {"due_at": wait.due_at, "attempts": wait.attempts, "tries": wait.tries, "job_id": None}
    if not move(connection, number, rendition, ("waiting", "requested", "enqueued"), "waiting", doubt=int(wait.doubt), **values):
        return False
    detail = {"message": wait.reason, "due_at": wait.due_at, "attempts": wait.attempts}
    add_history(connection, number, now, Event.IMAGE_RETRY, rendition, detail)
    return True


def interrupted(connection: Connection, image_id: str, now: float) -> None:
    """requested -> waiting, in doubt."""
    number = number_of(connection, image_id)
    (image,) = load_images(connection, [number])
    for output in image.open_outputs:
        if move(connection, number, output.rendition, ("requested",), "waiting", doubt=1, due_at=now):
            add_history(connection, number, now, Event.IMAGE_RETRY, output.rendition, {"message": INTERRUPTED})


def unchanged(connection: Connection, image_id: str, rendition: str | None, key: str, stored: StoredObject, now: float) -> bool:
    """waiting -> unchanged; the object at the key belongs to this path from now on."""
    number = number_of(connection, image_id)
    if not move(connection, number, rendition, ("waiting",), "unchanged", key=key, doubt=0):
        return False
    put_object(connection, stored, now)
    add_history(connection, number, now, Event.IMAGE_UNCHANGED, rendition, {"key": key})
    close_if_ended(connection, number, now)
    return True


def dismiss(connection: Connection, image_id: str, reason: IgnoredReason, now: float) -> None:
    """All waiting outputs -> unchanged, and the file is remembered as ignored: it should not have been taken."""
    number = number_of(connection, image_id)
    (image,) = load_images(connection, [number])
    waiting = [output for output in image.open_outputs if output.state is OutputState.WAITING]
    for output in waiting:
        move(connection, number, output.rendition, ("waiting",), "unchanged", doubt=0)
    if waiting:
        connection.execute(
            "UPDATE files SET ignored = ? WHERE /*! host = here() AND */ folder = ? AND directory = ? AND name = ?"
            " AND (size, mtime_ns, ctime_ns, inode) = (?, ?, ?, ?)",
            (
                str(reason),
                image.file.folder,
                *split_path(image.file.relative),
                *observation_values(image.observation),
            ),
        )
        add_history(connection, number, now, Event.IMAGE_IGNORED, None, {"reason": str(reason)})
        close_if_ended(connection, number, now, note="ignored")
        finish_image(connection, number, "ignored", now)


def end(connection: Connection, image_id: str, rendition: str | None, ending: Ending, now: float) -> bool:
    """Any open state -> one of the four endings, with its record and the object that lies in the store now."""
    number = number_of(connection, image_id)
    key = ending.stored.key if ending.stored is not None else None
    if not end_output(connection, number, rendition, ending.event, key, ending.record.get("reason")):
        return False
    record, done = ending.record, None
    if ending.stored is not None:
        replaced, done = put_object(connection, ending.stored, now), Done.of_output(record)
        record = with_replacement(record, replaced=replaced, hidden=ending.hides_replaced)
    if ending.event in (Event.IMAGE_VANISHED, Event.IMAGE_SUPERSEDED):
        forget_version(connection, number)
    add_line(connection, image_id, rendition, ending.event, record, now)
    close_with(connection, number, now, ((ending.event, rendition, {}),), done)
    return True


def finish(connection: Connection, image_id: str, note: str, now: float, *, gone: bool = False) -> None:
    """ended -> finished. A file that we put away is forgotten at once: there is nothing that a scan could compare with."""
    number = number_of(connection, image_id)
    finish_image(connection, number, note, now)
    if gone:
        forget_version(connection, number)


def finish_later(connection: Connection, image_id: str, due_at: float, reason: str, now: float) -> None:
    """An ended image cannot be put away now and is due again at `due_at`. However often that is tried, it is one step."""
    number = number_of(connection, image_id)
    changed = connection.execute("UPDATE images SET due_at = ? WHERE number = ? AND state = 'ended'", (due_at, number)).rowcount
    if changed and _last_step(connection, number) != (Event.IMAGE_RETRY, reason):
        add_history(connection, number, now, Event.IMAGE_RETRY, None, {"message": reason})


def _last_step(connection: Connection, number: int) -> tuple[str, str | None]:
    settle(connection)
    query = "SELECT event, detail FROM history WHERE image = ? ORDER BY number DESC LIMIT 1"
    event, detail = connection.execute(query, (number,)).fetchone() or ("", "{}")
    return str(event), json.loads(detail).get("message")
