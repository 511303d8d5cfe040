"""Stores of the engine's jobs, and a time that tests set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.engine.sqlite_jobs import SqliteJobs

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class SetClock:
    """Unix seconds, as the test says."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        return self.time


async def open_sqlite(path: Path, clock: SetClock) -> SqliteJobs:
    store = SqliteJobs(path, clock.now)
    await store.open()
    return store
