"""A journal in which much has happened: as many images as wanted, made by SQL alone, of three folders and a month."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.records import open_journal
from watcher.model import OutputRule, Rule
from watcher.records import activity, taking
from watcher.records.rows import rule_digest

FOLDERS = ("products", "people", "places")
BUCKET = "my-bucket"
MONTH = 30 * 86_400.0
_STORED = """json_object('timestamp', '2026-01-01T00:00:00.000000Z', 'level', 'info',
  'event', 'image.stored', 'id', images.id,
  'folder', folder, 'file', '/srv/' || folder || '/' || CAST(relative AS TEXT), 'rendition', null,
  'url', 'https://my-bucket.s3.eu-central-003.backblazeb2.com/' || folder || '/' || CAST(relative AS TEXT), 'bucket', 'my-bucket',
  'region', 'eu-central-003', 'key', folder || '/' || CAST(relative AS TEXT), 'request_id', 'r' || number,
  'input', json_object('name', 'x.jpg', 'format', 'jpeg', 'mime', 'image/jpeg', 'size', 2400000, 'sha1', sha1),
  'output', json_object('name', 'x.jpg', 'format', 'jpeg', 'mime', 'image/jpeg', 'size', 214000, 'sha1', sha1),
  'saved_bytes', 2186000, 'saved_percent', 91.1, 'attempts', 1, 'seconds', 0.8, 'recovered', json('false'))"""
_FAILED = """json_object('timestamp', '2026-01-01T00:00:00.000000Z', 'level', 'error', 'event', 'image.failed', 'id', images.id,
  'folder', folder, 'file', '/srv/' || folder || '/' || CAST(relative AS TEXT), 'rendition', null, 'reason', reason,
  'message', 'the API answered 422', 'hint', 'fix what the message names', 'attempts', 1, 'status', 422, 'seconds', 1.5)"""
_FILL = f"""
INSERT INTO images (number, id, folder, relative, rule, size, mtime_ns, ctime_ns, inode, detected_at, state, name, sha1, bytes,
                    format, outcome, ended_at, finished_at)
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count)
SELECT n, printf('%08x-0000-4000-8000-%012x', (n * 2654435761) % 4294967296, n),
       CASE n % 3 WHEN 0 THEN 'products' WHEN 1 THEN 'people' ELSE 'places' END,
       CAST(printf('%03d/IMG_%07d.jpg', n % 500, n) AS BLOB), 'rule-' || (n % 3), 2400000, n, n, n,
       :now - :span * (:count - n) / :count,
       'finished', CAST('x.jpg' AS BLOB), printf('%040x', n), 2400000, 'jpeg',
       CASE WHEN n % 100 = 0 THEN 'failed' WHEN n % 50 = 1 THEN 'unchanged' ELSE 'stored' END,
       :now - :span * (:count - n) / :count + 0.8, :now - :span * (:count - n) / :count + 0.8 FROM counted;
INSERT INTO outputs (image, position, rendition, state, key, attempts, due_at, reason)
SELECT number, 0, null, outcome, folder || '/' || CAST(relative AS TEXT), 1, detected_at,
       CASE WHEN outcome = 'failed' THEN CASE number % 300 WHEN 0 THEN 'truncated' ELSE 'rejected' END END
FROM images ORDER BY number;
INSERT INTO endings (image_id, rendition, at, event, record)
SELECT images.id, null, ended_at, 'image.' || outcome, CASE outcome WHEN 'stored' THEN {_STORED} ELSE {_FAILED} END
FROM images JOIN outputs ON image = number WHERE outcome <> 'unchanged' ORDER BY number;
INSERT INTO history (image, at, event)
SELECT number, detected_at, event FROM images, (SELECT 'image.requested' AS event UNION ALL SELECT 'finished') ORDER BY number;
INSERT INTO objects (bucket, key, folder, relative, sha1, rule, output_sha1, at, published)
SELECT 'my-bucket', folder || '/' || CAST(relative AS TEXT), folder, relative, sha1, 'r', printf('%040x', number + 7), ended_at,
       json_object('url', 'https://my-bucket.s3.eu-central-003.backblazeb2.com/' || folder || '/' || CAST(relative AS TEXT))
FROM images WHERE outcome <> 'failed' ORDER BY 2;
INSERT INTO cursors (name, seq) SELECT name, (SELECT max(seq) FROM endings) FROM (SELECT 'audit' AS name UNION ALL SELECT 'log')
WHERE true ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;
"""


async def fill(path: Path, count: int, now: float) -> None:
    """Make the journal; `now` in Unix seconds is when its last image ended."""
    await open_journal(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for place, folder in enumerate(("products", "people", "places")):
            _rule(connection, f"rule-{place}", folder)
        for statement in filter(str.strip, _FILL.split(";\n")):
            connection.execute(statement, {"count": count, "now": now, "span": MONTH})
        _hours(connection, count, now)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _rule(connection: sqlite3.Connection, digest: str, folder: str) -> None:
    store = {"id": "connector", "bucket": BUCKET, "region": "eu-central-003", "path": "{folder}/{dir}/{name}"}
    rule = Rule(folder, Path("/srv") / folder, (OutputRule(None, {}, store),))
    taking.keep_rule(connection, rule)
    connection.execute("UPDATE rules SET digest = ? WHERE digest = ?", (digest, rule_digest(rule.to_json())))


def _hours(connection: sqlite3.Connection, count: int, now: float) -> None:
    """What the plots show."""
    first, last = int((now - MONTH) // activity.HOUR_SECONDS), int(now // activity.HOUR_SECONDS)
    each = count // (last - first + 1) // len(FOLDERS)
    connection.executemany(
        "INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?)",
        [
            (hour, name, each, each // 100, each * 2_400_000, each * 214_000)
            for hour in range(first, last + 1)
            for name in FOLDERS
        ],
    )
    connection.executemany(
        "INSERT INTO durations VALUES (?, ?, ?)", [(hour, step, 3) for hour in range(first, last + 1) for step in range(20, 40)]
    )
