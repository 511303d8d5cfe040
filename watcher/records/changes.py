"""Every change of the journal, as a function of the connection: called by the writer inside a transaction, free of I/O.

A change of an output's state names the states it may come from; False says that the output was in none of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Fenced, Paused
from watcher.json_text import dumps
from watcher.model import Event, IgnoredReason, OutputState
from watcher.records import activity, pauses, sightings
from watcher.records.dialect import dialect_of
from watcher.records.rows import (
    OPEN,
    load_images,
    name_bytes,
    observation_values,
    rule_digest,
    split_path,
)
from watcher.result_records import failed_record, printable, superseded_record, with_replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from watcher.model import (
        Ending,
        FailedReason,
        FileRef,
        Observation,
        Postponement,
        Record,
        Rule,
        Sighting,
        SourceFacts,
        Stamp,
        StoredObject,
        Ticket,
    )
    from watcher.records.dialect import Connection

INTERRUPTED: Final = "the answer was awaited when the work was interrupted"
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


# --- files and images -------------------------------------------------------------------------------------------------------


def take(connection: Connection, sightings: Sequence[Sighting], new_id: Callable[[], str]) -> list[str]:
    """A queued image for each sighting, and what they replace; see `Journal.take`."""
    digests: dict[int, str] = {}
    for rule in {id(sighting.rule): sighting.rule for sighting in sightings}.values():
        digests[id(rule)] = keep_rule(connection, rule)
    return [_take_one(connection, sighting, digests[id(sighting.rule)], new_id) for sighting in sightings]


def _take_one(connection: Connection, sighting: Sighting, digest: str, new_id: Callable[[], str]) -> str:
    newest = _newest(connection, sighting.file)
    same = newest is not None and sightings.is_same(connection, newest[2:], sighting)
    if newest is not None and same and not _was_lost(connection, newest[0]):
        # it had left the tree for a while, or another host took it: known from now on, and what was said of it still holds
        remember(connection, sighting.file, sighting.observation, _dismissed_for(connection, newest[0]))
        if dialect_of(connection).shared:
            sightings.note(connection, newest[0], sighting.file)
        return str(newest[1])
    remember(connection, sighting.file, sighting.observation, None)
    identity = new_id()
    if newest is not None:
        _replace(connection, newest[0], identity, sighting.detected_at)
    insert_image(connection, identity, sighting, digest, sighting.detected_at)
    return identity


def _newest(connection: Connection, file: FileRef) -> tuple[Any, ...] | None:
    """(number, id, and the observation) of the newest image of a path."""
    query = """SELECT number, id, size, mtime_ns, ctime_ns, inode FROM images WHERE folder = ? AND relative = ? AND newest = 1"""
    row: tuple[Any, ...] | None = connection.execute(query, (file.folder, file.relative)).fetchone()
    return row


def _was_lost(connection: Connection, number: int) -> bool:
    """Whether an output of the image ended because the file was not there: when it is back, it is to be taken again."""
    query = "SELECT EXISTS (SELECT 1 FROM outputs WHERE image = ? AND state IN ('vanished', 'superseded'))"
    return bool(connection.execute(query, (number,)).fetchone()[0])


def _dismissed_for(connection: Connection, number: int) -> IgnoredReason | None:
    """Why the image should not have been taken, if that was found."""
    query = "SELECT detail FROM history WHERE image = ? AND event = ?"
    row = connection.execute(query, (number, str(Event.IMAGE_IGNORED))).fetchone()
    return None if row is None else IgnoredReason(json.loads(row[0])["reason"])


def _replace(connection: Connection, number: int, by: str, now: float) -> None:
    """A path has a newer image: those of its outputs for which no answer can come any more are superseded."""
    connection.execute("UPDATE images SET newest = 0 WHERE number = ?", (number,))  # keeps others from the row as well
    (image,) = load_images(connection, [number])
    for output in image.open_outputs:
        if output.state is OutputState.WAITING and not output.doubt:
            record = superseded_record(image, output.rendition, now, by)
            _end_output(connection, number, output.rendition, Event.IMAGE_SUPERSEDED, output.key)
            add_ending(connection, number, image.id, output.rendition, Event.IMAGE_SUPERSEDED, record, now)
    close_if_ended(connection, number, now)


def insert_image(connection: Connection, identity: str, sighting: Sighting, digest: str, due_at: float) -> None:
    """The rows of a new image under the rule that `keep_rule` named: it is the newest of its path from now on."""
    file = sighting.file
    keys = sighting.keys or (None,) * len(sighting.rule.outputs)
    number = connection.execute(
        """INSERT INTO images (id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number""",
        (
            identity,
            file.folder,
            file.relative,
            digest,
            int(sighting.rule.keeps_originals),
            *observation_values(sighting.observation),
            sighting.detected_at,
        ),
    ).fetchone()[0]
    connection.executemany(
        "INSERT INTO outputs (image, position, rendition, due_at, backlog, key) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, position, output.rendition, due_at, int(sighting.backlog), key)
            for position, (output, key) in enumerate(zip(sighting.rule.outputs, keys, strict=True))
        ],
    )
    if dialect_of(connection).shared:
        sightings.note(connection, number, file)


def keep_rule(connection: Connection, rule: Rule) -> str:
    """Keep a snapshot of the rule, once for all images that have it. Gives its name."""
    body = rule.to_json()
    digest = rule_digest(body)
    connection.execute("INSERT INTO rules (digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, body))
    return digest


def give_up(
    connection: Connection,
    sighting: Sighting,
    told: tuple[FailedReason, str, str],
    now: float,
    new_id: Callable[[], str],
) -> str:
    """An image that fails at once, by (reason, message, hint); the same version of a file only once."""
    before = _newest(connection, sighting.file)
    (identity,) = take(connection, [sighting], new_id)
    if before is not None and before[1] == identity:
        return identity
    number = int(connection.execute("SELECT number FROM images WHERE id = ?", (identity,)).fetchone()[0])
    (image,) = load_images(connection, [number])
    for output in image.outputs:
        record = failed_record(image, output.rendition, *told, attempts=0, status=None, now=now)
        _end_output(connection, number, output.rendition, Event.IMAGE_FAILED, None, record["reason"])
        add_ending(connection, number, identity, output.rendition, Event.IMAGE_FAILED, record, now)
    close_if_ended(connection, number, now)
    return identity


def remember(
    connection: Connection, file: FileRef, observation: Observation, ignored: IgnoredReason | None, message: str = ""
) -> None:
    """What scans compare with; and why it is ignored, if it is, with a message for people."""
    connection.execute(
        """INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode, ignored, message)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (folder, directory, name /*!, host */) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
           ctime_ns = excluded.ctime_ns, inode = excluded.inode, ignored = excluded.ignored, message = excluded.message""",
        (
            file.folder,
            *split_path(file.relative),
            *observation_values(observation),
            None if ignored is None else str(ignored),
            message or None,
        ),
    )


def forget(connection: Connection, folder: str, versions: Mapping[bytes, Stamp]) -> None:
    """These versions are no longer in the tree; a later one that was taken meanwhile stays known."""
    connection.executemany(
        """DELETE FROM files WHERE /*! host = here() AND */ folder = ? AND directory = ? AND name = ?
           AND (size, mtime_ns, ctime_ns, inode & 9223372036854775807) = (?, ?, ?, ?)""",
        [(folder, *split_path(relative), *version) for relative, version in versions.items()],
    )


# --- one image's way --------------------------------------------------------------------------------------------------------


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
    number = number_of(connection, image_id)
    if pauses.is_paused(connection, number):
        raise Paused("its folder is paused")
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
        _finish(connection, number, "ignored", now)


def end(connection: Connection, image_id: str, rendition: str | None, ending: Ending, now: float) -> bool:
    """Any open state -> one of the four endings, with its record and the object that lies in the store now."""
    number = number_of(connection, image_id)
    key = ending.stored.key if ending.stored is not None else None
    if not _end_output(connection, number, rendition, ending.event, key, ending.record.get("reason")):
        return False
    record = ending.record
    if ending.stored is not None:
        record = with_replacement(record, replaced=_replaces(connection, ending.stored), hidden=ending.hides_replaced)
        put_object(connection, ending.stored, now)
        activity.add_bytes(connection, ending.record, now)
    if ending.event in (Event.IMAGE_VANISHED, Event.IMAGE_SUPERSEDED):
        _unjudge(connection, number)
    add_ending(connection, number, image_id, rendition, ending.event, record, now)
    close_if_ended(connection, number, now)
    return True


def _unjudge(connection: Connection, number: int) -> None:
    """The version is no longer cared for. A directory that is moved away and back brings it back with nothing changed."""
    query = "SELECT folder, relative, size, mtime_ns, ctime_ns, inode FROM images WHERE number = ?"
    folder, relative, *observation = connection.execute(query, (number,)).fetchone()
    connection.execute(
        "DELETE FROM files WHERE folder = ? AND directory = ? AND name = ?"  # whichever host knows it, and as what
        " AND size = ? AND mtime_ns = ? AND (ctime_ns = ? AND inode = ? /*! OR true */)",
        (folder, *split_path(relative), *observation),
    )


def finish(connection: Connection, image_id: str, note: str, now: float) -> None:
    """ended -> finished."""
    _finish(connection, number_of(connection, image_id), note, now)


def _finish(connection: Connection, number: int, note: str, now: float) -> None:
    changed = connection.execute(
        "UPDATE images SET state = 'finished', due_at = NULL, finished_at = ?, token = NULL, secret = NULL, expires_at = NULL"
        " WHERE number = ? AND state = 'ended'",
        (now, number),
    ).rowcount
    if changed:
        add_history(connection, number, now, "finished", None, {"note": note})


def finish_later(connection: Connection, image_id: str, due_at: float, reason: str, now: float) -> None:
    """An ended image cannot be put away now and is due again at `due_at`. However often that is tried, it is one step."""
    number = number_of(connection, image_id)
    changed = connection.execute("UPDATE images SET due_at = ? WHERE number = ? AND state = 'ended'", (due_at, number)).rowcount
    if changed and _last_step(connection, number) != (Event.IMAGE_RETRY, reason):
        add_history(connection, number, now, Event.IMAGE_RETRY, None, {"message": reason})


def _last_step(connection: Connection, number: int) -> tuple[str, str | None]:
    query = "SELECT event, detail FROM history WHERE image = ? ORDER BY number DESC LIMIT 1"
    event, detail = connection.execute(query, (number,)).fetchone() or ("", "{}")
    return str(event), json.loads(detail).get("message")


# --- pieces -----------------------------------------------------------------------------------------------------------------


_NUMBER: Final = """
SELECT number /*!, claimed_by = here() AND claim = epoch() */ FROM images WHERE id = ? /*! FOR NO KEY UPDATE */
"""


def number_of(connection: Connection, image_id: str) -> int:
    """The row number of an image, for a change that its turn makes. KeyError where there is none.

    Where hosts share the journal the image has to be in this one's hands, by the claim under which it was given out. Raises
    Fenced where it is not any more.
    """
    row = connection.execute(_NUMBER, (image_id,)).fetchone()
    if row is None:
        raise KeyError(image_id)
    if len(row) > 1 and not row[1]:
        raise Fenced("another host has this image now")
    return int(row[0])


def move(
    connection: Connection, number: int, rendition: str | None, sources: Sequence[str], target: str, **values: object
) -> bool:
    """Change an output's state, if it is in one of `sources`."""
    assignments = "".join(f", {column} = ?" for column in values)
    states = ", ".join(f"'{state}'" for state in sources)
    which = f"image = ? AND rendition IS NOT DISTINCT FROM ? AND state IN ({states})"
    statement = f"UPDATE outputs SET state = ?{assignments} WHERE {which}"  # noqa: S608 - column and state names of this module
    return connection.execute(statement, (target, *values.values(), number, rendition)).rowcount == 1


def _end_output(
    connection: Connection, number: int, rendition: str | None, event: Event, key: str | None, reason: str | None = None
) -> bool:
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
    text = _text(record)
    connection.execute(dialect_of(connection).add_ending, (image_id, rendition, now, str(event), text))
    add_history(connection, number, now, event, rendition, {})


def _text(record: Record) -> str:
    """The record as JSON; what is no text in it is shown in its place."""
    try:
        return dumps(record).decode()
    except UnicodeEncodeError:
        return dumps(printable(record)).decode()


def add_history(connection: Connection, number: int, now: float, event: str, rendition: str | None, detail: Record) -> None:
    """One step of an image's history."""
    connection.execute(
        "INSERT INTO history (image, at, event, rendition, detail) VALUES (?, ?, ?, ?, ?)",
        (number, now, str(event), rendition, _text(detail) if detail else "{}"),
    )


def close_if_ended(connection: Connection, number: int, now: float, *, note: str = KEPT) -> None:
    """open -> ended, where no output is open any more; on to finished, with this note, where the rule keeps every original."""
    closed = connection.execute(
        f"""UPDATE images SET state = 'ended', due_at = :now, ended_at = :now, outcome = {_OUTCOME}
            WHERE number = :number AND state = 'open'
            AND NOT EXISTS (SELECT 1 FROM outputs WHERE image = images.number AND state IN {OPEN})
            RETURNING folder, outcome, :now - detected_at, keeps_original""",  # noqa: S608 - constants
        {"now": now, "number": number},
    ).fetchone()
    if closed is None:
        return
    folder, outcome, seconds, keeps_original = closed
    activity.add_image(connection, folder, outcome, seconds, now)
    if keeps_original:
        _finish(connection, number, note, now)


def _replaces(connection: Connection, stored: StoredObject) -> bool:
    """Whether other content lay at the key. Where nobody said what came out, another source or rule counts as other content."""
    row = connection.execute(
        "SELECT output_sha1 FROM objects WHERE bucket = ? AND key = ?", (stored.bucket, stored.key)
    ).fetchone()
    return row is not None and (row[0] is None or row[0] != stored.output_sha1)


def put_object(connection: Connection, stored: StoredObject, now: float) -> None:
    """What lies at a key now. Whose output it is stays known as long as it is the same content under the same rule."""
    connection.execute(
        """UPDATE objects SET newest = 0 WHERE folder = ? AND relative = ? AND newest = 1
           AND rendition IS NOT DISTINCT FROM ? AND (bucket <> ? OR key <> ?)""",
        (stored.folder, stored.relative, stored.rendition, stored.bucket, stored.key),
    )
    connection.execute(
        """INSERT INTO objects (bucket, key, folder, relative, sha1, rule, output_sha1, at, rendition, published, kept)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (bucket, key) DO UPDATE SET folder = excluded.folder, relative = excluded.relative, sha1 = excluded.sha1,
           rule = excluded.rule, at = excluded.at, rendition = excluded.rendition, kept = excluded.kept,
           newest = 1, published = coalesce(excluded.published, objects.published), output_sha1 = coalesce(
               excluded.output_sha1, CASE WHEN objects.sha1 = excluded.sha1 THEN objects.output_sha1 END)""",
        (
            stored.bucket,
            stored.key,
            stored.folder,
            stored.relative,
            stored.sha1,
            stored.rule,
            stored.output_sha1,
            now,
            stored.rendition,
            None if stored.published is None else _text(stored.published),
            int(stored.kept),
        ),
    )
