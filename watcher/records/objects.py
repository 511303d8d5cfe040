"""What lies at the keys of the bucket, as far as the journal knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.records.rows import record_text

if TYPE_CHECKING:
    from watcher.model import StoredObject
    from watcher.records.dialect import Connection


_THERE: Final = """
SELECT bucket, key, output_sha1 FROM objects WHERE (bucket = ? AND key = ?)
OR (folder = ? AND relative = ? AND newest = 1 AND rendition IS NOT DISTINCT FROM ?)
"""


def put_object(connection: Connection, stored: StoredObject, now: float) -> bool:
    """What lies at a key now. Whose output it is stays known as long as it is the same content under the same rule.

    Gives whether other content lay there. Where nobody said what came out, another source or rule counts as other content.
    """
    file = (stored.folder, stored.relative, stored.rendition)
    there = {(row[0], row[1]): row[2] for row in connection.execute(_THERE, (stored.bucket, stored.key, *file)).fetchall()}
    place = (stored.bucket, stored.key)
    replaces = place in there and (there[place] is None or there[place] != stored.output_sha1)
    if there.keys() - {place}:
        connection.execute(
            """UPDATE objects SET newest = 0 WHERE folder = ? AND relative = ? AND newest = 1
               AND rendition IS NOT DISTINCT FROM ? AND (bucket <> ? OR key <> ?)""",
            (*file, *place),
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
    return replaces
