"""What lies at the keys of the bucket, as far as the journal knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.records.rows import record_text

if TYPE_CHECKING:
    from watcher.model import StoredObject
    from watcher.records.dialect import Connection


def replaces_content(connection: Connection, stored: StoredObject) -> bool:
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
            None if stored.published is None else record_text(stored.published),
            int(stored.kept),
        ),
    )
