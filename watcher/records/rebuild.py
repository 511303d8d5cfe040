"""What a new journal learns from the audit file: which objects lie in the store, and where the numbering goes on."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from watcher.model import Event, StoredObject
from watcher.records import objects, upkeep
from watcher.records.queries import OutboxCursor
from watcher.records.rotated import audit_files, our_lines
from watcher.result_records import published

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from watcher.model import Record
    from watcher.records.chain import ChainedLine
    from watcher.records.dialect import Connection


def rebuild(connection: Connection, audit: Path, roots: Mapping[str, Path], now: float) -> int:
    """Fill `objects` from the stored endings in the audit file and its rotated ones, oldest first. Gives how many lie there now.

    `roots` are the folders' paths by name. The rule under which an object was made is not in the file: it counts as any.
    Numbering and chain go on after the last line. To be called inside a transaction.
    """
    last: ChainedLine | None = None
    for path in audit_files(audit):
        for line in our_lines(path):
            stored = stored_object(line.record, roots)
            if stored is not None:
                objects.put_object(connection, stored, now)
            if last is None or line.seq > last.seq:
                last = line
    cursor = OutboxCursor(last.seq, last.hash, last.seq) if last is not None else OutboxCursor(0, None, 0)
    upkeep.advance_outbox(connection, cursor)
    return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])


def stored_object(record: Record, roots: Mapping[str, Path]) -> StoredObject | None:
    """What an `image.stored` says of the store; None where it is another event or says too little."""
    texts = [record.get(name) for name in ("bucket", "key", "folder")]
    sha1 = _sha1(record.get("input"))
    if record.get("event") != Event.IMAGE_STORED or sha1 is None or not all(isinstance(text, str) for text in texts):
        return None
    bucket, key, folder = map(str, texts)
    relative = _relative(_path(record), roots.get(folder))
    rendition = record.get("rendition")
    return StoredObject(
        bucket,
        key,
        folder,
        relative,
        sha1,
        None,
        _sha1(record.get("output")),
        rendition if isinstance(rendition, str) else None,
        published(record),
    )


def _path(record: Record) -> bytes:
    encoded = record.get("file_base64")
    return base64.b64decode(encoded) if isinstance(encoded, str) else os.fsencode(str(record.get("file", "")))


def _relative(path: bytes, root: Path | None) -> bytes:
    """The path inside its folder; all of it where the folder lies elsewhere today."""
    prefix = os.fsencode(root) + b"/" if root is not None else b""
    return path.removeprefix(prefix)


def _sha1(facts: Any) -> str | None:
    value = facts.get("sha1") if isinstance(facts, dict) else None
    return value if isinstance(value, str) else None
