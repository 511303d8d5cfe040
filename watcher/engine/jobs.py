"""The journal of asynchronous jobs and their webhooks: a SQLite file of its own, mode 0600, each step durable before it counts.

A job is `enqueued`, `processing`, `completed` or `failed`. What was processing when the engine died is enqueued again when the
journal is opened; finished jobs can be read for a day. What a request may hold of secrets (its address, its headers) is
forgotten with the end of its job.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from watcher.engine.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")
Ended = Literal["completed", "failed"]

KEPT_SECONDS: Final = 86_400.0
"""For so long after its end a job can be read, and its webhook is tried."""
MAX_STARTS: Final = 5
"""A job that was begun so often and never ended is given up: it may be what kills the engine."""

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


@dataclass(frozen=True, slots=True)
class Job:
    """A job that waits for its turn. `request` is the body that was posted, `starts` how often it was begun before."""

    id: str
    request: Any
    base_url: str
    starts: int


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A webhook call that is due: where to, the JSON text to post, how often it was tried before, and when the job ended."""

    id: str
    url: str
    body: str
    tries: int
    ended: float


class JobJournal:
    """The journal. All calls go through one thread of its own, so that no disk is waited for in the loop."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "engine-jobs")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open or make the file; what was processing is enqueued again."""
        await self._write("UPDATE jobs SET status = 'enqueued' WHERE status = 'processing'", ())

    async def close(self) -> None:
        """Close the file; nothing may be asked afterwards."""
        await self._call(lambda database: database.close())
        self._thread.shutdown()

    async def add(self, identity: str, request: Any, base_url: str, webhook: str | None, *, processing: bool = False) -> None:
        """A new job, durable when this returns. `processing` marks one that is at work already."""
        status, starts = ("processing", 1) if processing else ("enqueued", 0)
        row = (identity, status, json.dumps(request), base_url, starts, self._clock(), webhook)
        statement = "INSERT INTO jobs (id, status, request, base_url, starts, changed, webhook) VALUES (?, ?, ?, ?, ?, ?, ?)"
        await self._write(statement, row)

    async def enqueued(self) -> list[str]:
        """The ids of the jobs that wait, oldest first."""
        statement = "SELECT id FROM jobs WHERE status = 'enqueued' ORDER BY changed, id"
        return [row["id"] for row in await self._read(statement)]

    async def begin(self, identity: str) -> Job | None:
        """Mark a waiting job as processing; None where it does not wait any more."""
        rows = await self._read("SELECT * FROM jobs WHERE id = ? AND status = 'enqueued'", (identity,))
        if not rows:
            return None
        await self._write(
            "UPDATE jobs SET status = 'processing', starts = starts + 1, changed = ? WHERE id = ?", (self._clock(), identity)
        )
        return Job(identity, json.loads(rows[0]["request"]), rows[0]["base_url"], rows[0]["starts"])

    async def requeue(self, identity: str) -> None:
        """Give a job back that could not be ended; that was not the job's fault."""
        await self._write(
            "UPDATE jobs SET status = 'enqueued', starts = max(starts - 1, 0) WHERE id = ? AND status = 'processing'", (identity,)
        )

    async def end(self, identity: str, status: Ended, answer: Mapping[str, Any]) -> None:
        """The job has its result, or has failed; its webhook is due."""
        now = self._clock()
        await self._write(
            "UPDATE jobs SET status = ?, request = NULL, answer = ?, changed = ?,"
            " webhook_due = CASE WHEN webhook IS NULL THEN NULL ELSE ? END WHERE id = ?",
            (status, json.dumps(answer), now, now, identity),
        )

    async def answer(self, identity: str) -> dict[str, Any]:
        """What `GET /1.0/jobs/{id}` says. Raises Refusal (404) for an unknown or long finished job."""
        rows = await self._read("SELECT status, answer FROM jobs WHERE id = ?", (identity,))
        if not rows:
            raise Refusal(404, "there is no such job, or it ended more than a day ago")
        answer = json.loads(rows[0]["answer"]) if rows[0]["answer"] else {}
        return job_answer(identity, rows[0]["status"], answer)

    async def due(self) -> tuple[list[WebhookCall], float | None]:
        """The webhook calls that are due, and when (on the clock) the next after them is."""
        now = self._clock()
        rows = await self._read("SELECT * FROM jobs WHERE webhook_due IS NOT NULL ORDER BY webhook_due LIMIT 100")
        deliveries = [
            WebhookCall(row["id"], row["webhook"], row["answer"], row["webhook_tries"], row["changed"])
            for row in rows
            if row["webhook_due"] <= now
        ]
        return deliveries, min((row["webhook_due"] for row in rows if row["webhook_due"] > now), default=None)

    async def delivered(self, identity: str) -> None:
        """The webhook was confirmed, or is given up."""
        await self._write("UPDATE jobs SET webhook_due = NULL WHERE id = ?", (identity,))

    async def try_again(self, identity: str, due: float) -> None:
        """The webhook was not confirmed; its next try is due then."""
        await self._write("UPDATE jobs SET webhook_tries = webhook_tries + 1, webhook_due = ? WHERE id = ?", (due, identity))

    async def forget_old(self) -> None:
        """Delete what ended more than a day ago."""
        oldest = self._clock() - KEPT_SECONDS
        await self._write("DELETE FROM jobs WHERE status IN ('completed', 'failed') AND changed < ?", (oldest,))

    async def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        def write(database: sqlite3.Connection) -> None:
            with database:
                database.execute(statement, values)

        await self._call(write)

    async def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        return await self._call(lambda database: database.execute(statement, values).fetchall())

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the journal's thread, which ends it even where the caller is cancelled."""

        def in_thread() -> T:
            if self._database is None:
                self._database = _opened(self._path)
            return work(self._database)

        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, in_thread))


def job_answer(identity: str, status: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a job in some state: its id and status, and its result or its failure."""
    if status == "failed":
        return {"success": False, "id": identity, "status": status, "code": answer["code"], "message": answer["message"]}
    return {"id": identity, "status": status, **{name: value for name, value in answer.items() if name != "id"}}


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")
    database.executescript(_SCHEMA)
    return database
