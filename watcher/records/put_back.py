"""A journal that is older than its audit file, as a backup is, or a standby that was behind: what it lacks is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.model import Event
from watcher.records import upkeep
from watcher.records.image_rows import add_history, close_if_ended, end_output
from watcher.records.known_files import forget_version
from watcher.records.objects import put_object
from watcher.records.queries import OutboxCursor, last_seq
from watcher.records.rebuild import stored_object
from watcher.records.rotated import audit_files, newest_line, our_lines
from watcher.records.rows import record_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from watcher.records.chain import ChainedLine
    from watcher.records.dialect import Connection

_ADD: Final = """
INSERT INTO endings (/*! host, */ seq, image_id, rendition, at, event, record, prev)
VALUES (/*! here(), */ ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


def put_back(connection: Connection, audit: Path, roots: Mapping[str, Path], now: float) -> int:
    """Make the endings of the audit file that the journal knows nothing of. Gives how many lines it lacked.

    An image that is open in the journal ends by them; of one that the journal does not know, what lies in the store is known
    again. So neither is sent, or written down, a second time. `roots` are the folders' paths by name. To be called inside a
    transaction.
    """
    known, newest = last_seq(connection), newest_line(audit)
    if newest is None or newest.seq <= known:
        return 0
    lines = sorted(
        (line for path in audit_files(audit) for line in our_lines(path) if line.seq > known), key=lambda line: line.seq
    )
    for line in lines:
        _put_back(connection, line, roots, now)
    upkeep.advance_outbox(connection, OutboxCursor(newest.seq, newest.hash, newest.seq))
    return len(lines)


def _put_back(connection: Connection, line: ChainedLine, roots: Mapping[str, Path], now: float) -> None:
    record = line.record
    identity, rendition, event = str(record.get("id")), record.get("rendition"), Event(str(record.get("event")))
    values = (line.seq, identity, rendition, now, str(event), record_text(record), line.prev)
    if not connection.execute(_ADD, values).rowcount:
        return  # another host has ended it since
    stored = stored_object(record, roots)
    if stored is not None:
        put_object(connection, stored, now)
    row = connection.execute("SELECT number FROM images WHERE id = ?", (identity,)).fetchone()
    if row is None or not end_output(connection, row[0], rendition, event, record.get("key"), record.get("reason")):
        return
    if event in (Event.IMAGE_VANISHED, Event.IMAGE_SUPERSEDED):
        forget_version(connection, row[0])
    add_history(connection, row[0], now, event, rendition, {})
    close_if_ended(connection, row[0], now)
