"""Which engine has which job in hand. Functions of a connection, to be called inside a transaction.

An engine holds jobs and calls under its `number`, and every change of what it holds asks for that number. Whoever finds that an
engine's lease has ended takes everything out of its hands and deletes the number, in one transaction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from watcher.job_store import KEPT_SECONDS, Job, JobState, QueueFull, WebhookCall, read_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.job_store import Ended, NewJob
    from watcher.records.dialect import Connection

CHANNEL: Final = "compressor_watcher_jobs"
"""Who listens there hears that jobs wait."""
_SWEEP_LOCK: Final = 1_129_598_041
MOST_AT_ONCE: Final = 5_000
"""So many old jobs are deleted in one transaction."""


# --- engines ----------------------------------------------------------------------------------------------------------------


def join(connection: Connection, name: str, instance: str, lease: float) -> int:
    """A new number, under which nothing is held yet. An engine that worked in the same state folder is gone, and lets go."""
    query = "SELECT number FROM engines WHERE instance = ? FOR UPDATE"
    remove(connection, [row[0] for row in connection.execute(query, (instance,)).fetchall()])
    statement = """INSERT INTO engines (name, instance, alive_until)
                   VALUES (?, ?, clock_timestamp() + make_interval(secs => ?)) RETURNING number"""
    (number,) = connection.execute(statement, (name, instance, lease)).fetchone()
    return int(number)


def leave(connection: Connection, number: int) -> None:
    """Others may go on with what this engine had in hand, at once and as if it had not begun it."""
    statement = "UPDATE jobs SET starts = greatest(starts - 1, 0) WHERE engine = ?"
    connection.execute(statement, (number,))
    remove(connection, [number])


def remove(connection: Connection, numbers: Sequence[int]) -> int:
    """Take everything out of these engines' hands, and delete them. Gives how much that was."""
    taken = list(numbers)
    if not taken:
        return 0
    jobs = "UPDATE jobs SET status = 'enqueued', engine = NULL WHERE engine = ANY(?)"
    calls = "UPDATE jobs SET calling = NULL WHERE calling = ANY(?)"
    count = connection.execute(jobs, (taken,)).rowcount + connection.execute(calls, (taken,)).rowcount
    connection.execute("DELETE FROM engines WHERE number = ANY(?)", (taken,))
    _call(connection)
    return count


def stamp(connection: Connection, number: int, instance: str, batch: int, lease: float) -> bool:
    """Renew an engine's lease, and name the transaction. False where it was fenced, or where the number is another one's: a
    server that took over may give out again what the one before had given out last.

    Holds the engine's row until the transaction ends: nobody can fence it meanwhile.
    """
    statement = """UPDATE engines SET batch = ?, alive_until = clock_timestamp() + make_interval(secs => ?)
                   WHERE number = ? AND instance = ?"""
    return connection.execute(statement, (batch, lease, number, instance)).rowcount == 1


def went_through(connection: Connection, number: int, batch: int) -> bool:
    """Whether the transaction of this name was committed. Waits for one that is on its way still: it holds the engine's row."""
    row = connection.execute("SELECT batch FROM engines WHERE number = ? FOR NO KEY UPDATE", (number,)).fetchone()
    return row is not None and row[0] == batch


def count_alive(connection: Connection, number: int) -> int:
    """How many engines are up, this one included."""
    query = "SELECT count(*) FROM engines WHERE alive_until > clock_timestamp() OR number = ?"
    return max(1, int(connection.execute(query, (number,)).fetchone()[0]))


def fence_dead(connection: Connection, number: int) -> list[tuple[str, int]]:
    """Fence engines whose lease has ended. Gives their names, and how much each of them had in hand."""
    query = "SELECT number, name FROM engines WHERE alive_until < clock_timestamp() AND number <> ? FOR UPDATE SKIP LOCKED"
    return [(str(name), remove(connection, [dead])) for dead, name in connection.execute(query, (number,)).fetchall()]


# --- jobs -------------------------------------------------------------------------------------------------------------------


def _call(connection: Connection) -> None:
    """Others hear of it when the transaction is committed."""
    connection.execute("SELECT pg_notify(?, '')", (CHANNEL,))


def add(connection: Connection, new: NewJob, now: float, most: int, engine: int | None) -> Job:
    """A new job, in the hands of `engine` if there is one. Raises QueueFull."""
    query = "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE status IN ('enqueued', 'processing') LIMIT ?) AS open"
    if connection.execute(query, (most,)).fetchone()[0] >= most:
        raise QueueFull("the job queue is full")
    status, starts = ("enqueued", 0) if engine is None else ("processing", 1)
    connection.execute(
        """INSERT INTO jobs (id, status, request, base_url, starts, changed_at, engine, webhook)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (new.id, status, json.dumps(new.request), new.base_url, starts, now, engine, new.webhook),
    )
    if engine is None:
        _call(connection)
    return Job(new.id, new.request, new.base_url, 0, engine or 0)


def claim(connection: Connection, engine: int, now: float, limit: int) -> list[Job]:
    """See JobStore."""
    rows = connection.execute(
        """UPDATE jobs SET status = 'processing', engine = ?, starts = starts + 1, changed_at = ? WHERE number = ANY(ARRAY(
               SELECT number FROM jobs WHERE status = 'enqueued' ORDER BY number LIMIT ? FOR UPDATE SKIP LOCKED
           )) RETURNING number, id, request, base_url, starts - 1""",
        (engine, now, limit),
    ).fetchall()
    return [Job(identity, read_request(request), base, starts, engine) for _, identity, request, base, starts in sorted(rows)]


def holds(connection: Connection, job: Job) -> bool:
    """Whether the job is held under its number still."""
    query = "SELECT 1 FROM jobs WHERE id = ? AND engine = ?"
    return connection.execute(query, (job.id, job.holder)).fetchone() is not None


def requeue(connection: Connection, job: Job) -> None:
    """See JobStore."""
    connection.execute(
        "UPDATE jobs SET status = 'enqueued', engine = NULL, starts = greatest(starts - 1, 0) WHERE id = ? AND engine = ?",
        (job.id, job.holder),
    )
    _call(connection)


def end(connection: Connection, job: Job, status: Ended, answer: str, now: float) -> bool:
    """See JobStore."""
    ended = connection.execute(
        """UPDATE jobs SET status = ?, request = NULL, answer = ?, changed_at = ?, engine = NULL,
           webhook_due = CASE WHEN webhook IS NULL THEN NULL ELSE CAST(? AS DOUBLE PRECISION) END WHERE id = ? AND engine = ?""",
        (status, answer, now, now, job.id, job.holder),
    )
    return ended.rowcount == 1


def find(connection: Connection, identity: str) -> JobState | None:
    """See JobStore."""
    row = connection.execute("SELECT status, answer FROM jobs WHERE id = ?", (identity,)).fetchone()
    return None if row is None else JobState(row[0], json.loads(row[1]) if row[1] else {})


def forget_old(connection: Connection, now: float) -> int:
    """Delete some of what ended long ago, unless another engine is at it. Gives how many jobs."""
    if not connection.execute("SELECT pg_try_advisory_xact_lock(?)", (_SWEEP_LOCK,)).fetchone()[0]:
        return 0
    connection.execute("DELETE FROM files WHERE epoch <= ?", (int(now),))
    statement = """DELETE FROM jobs WHERE number = ANY(ARRAY(
        SELECT number FROM jobs WHERE status IN ('completed', 'failed') AND changed_at < ? ORDER BY changed_at LIMIT ?))"""
    return connection.execute(statement, (now - KEPT_SECONDS, MOST_AT_ONCE)).rowcount


# --- webhooks ---------------------------------------------------------------------------------------------------------------


def claim_calls(connection: Connection, engine: int, now: float, limit: int) -> tuple[list[WebhookCall], float | None]:
    """See JobStore."""
    rows = connection.execute(
        """UPDATE jobs SET calling = ? WHERE number = ANY(ARRAY(
               SELECT number FROM jobs WHERE webhook_due <= ? AND calling IS NULL
               ORDER BY webhook_due, number LIMIT ? FOR UPDATE SKIP LOCKED
           )) RETURNING webhook_due, number, id, webhook, answer, webhook_tries, changed_at""",
        (engine, now, limit),
    ).fetchall()
    query = "SELECT min(webhook_due) FROM jobs WHERE webhook_due IS NOT NULL AND calling IS NULL"
    calls = [WebhookCall(identity, url, body, tries, ended, engine) for _, _, identity, url, body, tries, ended in sorted(rows)]
    return calls, connection.execute(query).fetchone()[0]


def delivered(connection: Connection, call: WebhookCall) -> None:
    """See JobStore."""
    statement = "UPDATE jobs SET webhook_due = NULL, calling = NULL WHERE id = ? AND calling = ?"
    connection.execute(statement, (call.id, call.holder))


def try_again(connection: Connection, call: WebhookCall, due: float) -> None:
    """See JobStore."""
    statement = """UPDATE jobs SET webhook_tries = webhook_tries + 1, webhook_due = ?, calling = NULL
                   WHERE id = ? AND calling = ?"""
    connection.execute(statement, (due, call.id, call.holder))


def release_calls(connection: Connection, engine: int) -> None:
    """See JobStore."""
    connection.execute("UPDATE jobs SET calling = NULL WHERE calling = ?", (engine,))


# --- files ------------------------------------------------------------------------------------------------------------------


def put_part(connection: Connection, epoch: int, name: str, part: int, content: bytes) -> None:
    """A part of a file, in place of what was there; the first one in place of all that was there."""
    if part == 0:
        connection.execute("DELETE FROM files WHERE epoch = ? AND name = ?", (epoch, name))
    statement = """INSERT INTO files (epoch, name, part, content) VALUES (?, ?, ?, ?)
                   ON CONFLICT (epoch, name, part) DO UPDATE SET content = excluded.content"""
    connection.execute(statement, (epoch, name, part, content))


def get_part(connection: Connection, epoch: int, name: str, part: int) -> bytes | None:
    """A part of a file; None behind the last one."""
    query = "SELECT content FROM files WHERE epoch = ? AND name = ? AND part = ?"
    row = connection.execute(query, (epoch, name, part)).fetchone()
    return None if row is None else bytes(row[0])
