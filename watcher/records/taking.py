"""Images taken into the journal, and what they replace. Called by the writer inside a transaction, free of I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from watcher.model import Event, IgnoredReason, OutputState, Taken
from watcher.records import sightings
from watcher.records.additions import settle
from watcher.records.dialect import dialect_of
from watcher.records.image_rows import add_ending, close_if_ended, end_output
from watcher.records.known_files import remember
from watcher.records.rows import load_images, observation_values, rule_digest
from watcher.result_records import failed_record, superseded_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.model import FailedReason, FileRef, Rule, Sighting
    from watcher.records.dialect import Connection

INSERT_IMAGE: Final = """
INSERT INTO images (id, folder, relative, rule, keeps_original, size, mtime_ns, ctime_ns, inode, detected_at) VALUES {rows}
"""
"""Over rows as `image_row` gives them."""
_INSERT_ONE: Final = INSERT_IMAGE.format(rows="(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)") + " RETURNING number"
_INSERT_OUTPUT: Final = "INSERT INTO outputs (image, position, rendition, due_at, backlog, key) VALUES (?, ?, ?, ?, ?, ?)"


def telling_new(
    take: Callable[[Connection, Sequence[Sighting], Callable[[], str]], list[str]],
    sightings: Sequence[Sighting],
    new_id: Callable[[], str],
) -> Callable[[Connection], Taken]:
    """A change by this `take` that tells as well which images are new: those that an id was made for."""

    def change(connection: Connection) -> Taken:
        made = set[str]()

        def noted_id() -> str:
            made.add(identity := new_id())
            return identity

        return Taken(take(connection, sightings, noted_id), made)

    return change


def take(connection: Connection, sightings: Sequence[Sighting], new_id: Callable[[], str]) -> list[str]:
    """A queued image for each sighting, and what they replace; see `Journal.take`."""
    digests = keep_rules(connection, sightings)
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
    settle(connection)
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
            end_output(connection, number, output.rendition, Event.IMAGE_SUPERSEDED, output.key)
            add_ending(connection, number, image.id, output.rendition, Event.IMAGE_SUPERSEDED, record, now)
    close_if_ended(connection, number, now)


def insert_image(connection: Connection, identity: str, sighting: Sighting, digest: str, due_at: float) -> None:
    """The rows of a new image under the rule that `keep_rule` named: it is the newest of its path from now on."""
    number = connection.execute(_INSERT_ONE, image_row(identity, sighting, digest)).fetchone()[0]
    connection.executemany(_INSERT_OUTPUT, output_rows(number, sighting, due_at))
    if dialect_of(connection).shared:
        sightings.note(connection, number, sighting.file)


def image_row(identity: str, sighting: Sighting, digest: str) -> tuple[Any, ...]:
    """The values of INSERT_IMAGE."""
    return (
        identity,
        sighting.file.folder,
        sighting.file.relative,
        digest,
        int(sighting.rule.keeps_originals),
        *observation_values(sighting.observation),
        sighting.detected_at,
    )


def output_rows(image: int | str, sighting: Sighting, due_at: float) -> list[tuple[Any, ...]]:
    """(image, position, rendition, due_at, backlog, key) of each output; `image` is its number or its id."""
    keys = sighting.keys or (None,) * len(sighting.rule.outputs)
    return [
        (image, position, output.rendition, due_at, int(sighting.backlog), key)
        for position, (output, key) in enumerate(zip(sighting.rule.outputs, keys, strict=True))
    ]


def keep_rules(connection: Connection, sightings: Sequence[Sighting]) -> dict[int, str]:
    """Keep a snapshot of each rule. Gives their names by the rules' identities."""
    return {id(rule): keep_rule(connection, rule) for rule in {id(each.rule): each.rule for each in sightings}.values()}


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
        end_output(connection, number, output.rendition, Event.IMAGE_FAILED, None, record["reason"])
        add_ending(connection, number, identity, output.rendition, Event.IMAGE_FAILED, record, now)
    close_if_ended(connection, number, now)
    return identity
