"""Stores of the engine's jobs, and a time that tests set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.publishing import MovedClock, RecordedLog
from watcher.engine.sqlite_jobs import SqliteJobs

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.records.postgres.jobs.store import PostgresJobs


class SetClock(MovedClock):
    """Unix seconds, as the test says; all other time is real, but can be moved on."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


async def open_sqlite(path: Path, clock: SetClock) -> SqliteJobs:
    store = SqliteJobs(path, clock.now)
    await store.open()
    return store


async def open_shared(
    url: str,
    clock: SetClock,
    *,
    name: str = "here",
    instance: str | None = None,
    lease: float = 30.0,
    log: RecordedLog | None = None,
) -> PostgresJobs:
    """One engine's; `instance` is like its name unless told otherwise."""
    from watcher.records.postgres.database import Server
    from watcher.records.postgres.jobs.store import PostgresJobs, jobs_server

    server = jobs_server(Server(url, host=name, lease=lease))
    store = PostgresJobs(server, instance=name, events=log or RecordedLog(), clock=clock)
    await store.open()
    return store
