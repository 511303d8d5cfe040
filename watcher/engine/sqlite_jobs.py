"""The jobs of one engine alone: a SQLite file of its own, mode 0600, each step durable before it counts.

What was processing when the engine died is enqueued again when the file is opened. What a request may hold of secrets (its
address, its headers) is forgotten with the end of its job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from watcher.backoff import exponential
from watcher.errors import Unavailable
from watcher.job_store import KEPT_SECONDS, Job, JobState, QueueFull, WebhookCall, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from watcher.job_store import Ended, NewJob

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    id        TEXT PRIMARY KEY,
    status    TEXT NOT NULL CHECK (status IN ('enqueued', 'processing', 'completed', 'failed')),
    request   TEXT,
    base_url  TEXT NOT NULL,
    answer    TEXT,
    starts    INTEGER NOT NULL DEFAULT 0,
    changed   REAL NOT NULL,
    webhook   TEXT,
    webhook_tries INTEGER NOT NULL DEFAULT 0,
    webhook_due   REAL
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, changed);
CREATE INDEX IF NOT EXISTS webhooks_by_due ON jobs (webhook_due) WHERE webhook_due IS NOT NULL;
"""
_log = logging.getLogger(__name__)


class SqliteJobs:
    """Implements `watcher.job_store.JobStore`. All calls go through one thread of its own: no disk is waited for in the loop."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "engine-jobs")
        self._database: sqlite3.Connection | None = None
        self._calls: set[str] = set()
        """The jobs whose webhooks are being called."""
        self.woken: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """See JobStore."""
        await self._now(lambda database: database.execute("UPDATE jobs SET status = 'enqueued' WHERE status = 'processing'"))

    async def close(self) -> None:
        """See JobStore."""
        statement = "UPDATE jobs SET status = 'enqueued', starts = max(starts - 1, 0) WHERE status = 'processing'"

        def close(database: sqlite3.Connection) -> None:
            try:
                with database:
                    database.execute(statement)
            except sqlite3.Error:
                _log.exception("jobs could not be given back; the next start does so")
            database.close()

        await self._call(close)
        self._thread.shutdown()

    async def add(self, new: NewJob, most: int, *, at_work: bool = False) -> Job:
        """See JobStore."""
        status, starts = ("processing", 1) if at_work else ("enqueued", 0)
        row = (new.id, status, json.dumps(new.request), new.base_url, starts, self._clock(), new.webhook)
        statement = "INSERT INTO jobs (id, status, request, base_url, starts, changed, webhook) VALUES (?, ?, ?, ?, ?, ?, ?)"

        def add(database: sqlite3.Connection) -> None:
            (count,) = database.execute("SELECT count(*) FROM jobs WHERE status IN ('enqueued', 'processing')").fetchone()
            if count >= most:
                raise QueueFull("the job queue is full")
            database.execute(statement, row)

        await self._now(add)
        return Job(new.id, new.request, new.base_url)

    async def claim(self, limit: int) -> list[Job]:
        """See JobStore."""

        def claim(database: sqlite3.Connection) -> list[Job]:
            query = "SELECT * FROM jobs WHERE status = 'enqueued' ORDER BY rowid LIMIT ?"
            rows = database.execute(query, (limit,)).fetchall()
            begin = "UPDATE jobs SET status = 'processing', starts = starts + 1, changed = ? WHERE id = ?"
            database.executemany(begin, [(self._clock(), row["id"]) for row in rows])
            return [Job(row["id"], read_request(row["request"]), row["base_url"], row["starts"]) for row in rows]

        return await self._insist(claim)

    async def holds(self, job: Job) -> bool:
        """See JobStore: nobody else has this file."""
        return job.holder == 0

    async def requeue(self, job: Job) -> None:
        """See JobStore."""
        statement = "UPDATE jobs SET status = 'enqueued', starts = max(starts - 1, 0) WHERE id = ? AND status = 'processing'"
        await self._insist(lambda database: database.execute(statement, (job.id,)))

    async def end(self, job: Job, status: Ended, answer: Mapping[str, Any]) -> bool:
        """See JobStore."""
        now = self._clock()
        statement = """UPDATE jobs SET status = ?, request = NULL, answer = ?, changed = ?,
                       webhook_due = CASE WHEN webhook IS NULL THEN NULL ELSE ? END WHERE id = ? AND status = 'processing'"""
        values = (status, json.dumps(answer), now, now, job.id)
        return await self._insist(lambda database: database.execute(statement, values).rowcount) == 1

    async def find(self, identity: str) -> JobState | None:
        """See JobStore."""
        query = "SELECT status, answer FROM jobs WHERE id = ?"
        row = await self._now(lambda database: database.execute(query, (identity,)).fetchone())
        return None if row is None else JobState(row["status"], json.loads(row["answer"]) if row["answer"] else {})

    async def claim_calls(self, limit: int) -> tuple[list[WebhookCall], float | None]:
        """See JobStore."""
        now, out = self._clock(), json.dumps(sorted(self._calls))
        query = """SELECT * FROM jobs WHERE webhook_due IS NOT NULL AND id NOT IN (SELECT value FROM json_each(?))
                   ORDER BY webhook_due, rowid LIMIT ?"""
        rows = await self._insist(lambda database: database.execute(query, (out, limit + 1)).fetchall())
        due = [row for row in rows[:limit] if row["webhook_due"] <= now]
        self._calls |= {row["id"] for row in due}
        calls = [WebhookCall(row["id"], row["webhook"], row["answer"], row["webhook_tries"], row["changed"]) for row in due]
        return calls, next((row["webhook_due"] for row in rows[len(due) :]), None)

    async def delivered(self, call: WebhookCall) -> None:
        """See JobStore."""
        statement = "UPDATE jobs SET webhook_due = NULL WHERE id = ?"
        await self._insist(lambda database: database.execute(statement, (call.id,)))
        self._calls.discard(call.id)

    async def try_again(self, call: WebhookCall, due: float) -> None:
        """See JobStore."""
        statement = "UPDATE jobs SET webhook_tries = webhook_tries + 1, webhook_due = ? WHERE id = ?"
        await self._insist(lambda database: database.execute(statement, (due, call.id)))
        self._calls.discard(call.id)

    async def release_calls(self) -> None:
        """See JobStore."""
        self._calls.clear()

    async def forget_old(self) -> None:
        """See JobStore."""
        oldest = self._clock() - KEPT_SECONDS
        statement = "DELETE FROM jobs WHERE status IN ('completed', 'failed') AND changed < ?"
        await self._now(lambda database: database.execute(statement, (oldest,)))

    async def _insist(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a step, tried until the disk lets it be made: one error must not cost a job its end."""
        tries = 0
        while True:
            try:
                return await self._transact(work)
            except sqlite3.Error:
                tries += 1
                if tries == 1:
                    _log.exception("the engine's journal of jobs cannot be used; it is tried again")
                await asyncio.sleep(exponential(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, tries))

    async def _now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of a step. Raises Unavailable where it cannot be made now."""
        try:
            return await self._transact(work)
        except sqlite3.Error as error:
            _log.exception("the engine's journal of jobs cannot be used")
            raise Unavailable("the engine's journal of jobs cannot be used", str(error)) from error

    async def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transact(database: sqlite3.Connection) -> T:
            with database:
                return work(database)

        return await self._call(transact)

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the thread, which ends it even where the caller is cancelled."""

        def in_thread() -> T:
            if self._database is None:
                self._database = _opened(self._path)
            return work(self._database)

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, in_thread))


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    database.executescript(_SCHEMA)
    return database
