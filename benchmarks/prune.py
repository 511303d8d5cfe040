"""How long pruning keeps others from writing: the longest commit of it, over a journal in which all is older than `keep`.

    python -m benchmarks.prune [--quick]

Images, endings and objects are let go of in portions, a commit each. What is compared with the bar is the processor time of a
commit, from its beginning to its being durable: other work on the machine hardly touches it. Meanwhile somebody else writes
now and then, and how long he waits is said.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import Figure, at_most, say, table
from tests.support.big_journal import MONTH, fill
from watcher.clock import SystemClock
from watcher.records import database
from watcher.records.journal import ThreadedJournal
from watcher.records.outage import Outage
from watcher.records.sqlite_engine import SqliteEngine
from watcher.records.threads import ReadThread, WriteThread

if TYPE_CHECKING:
    import sqlite3

    from watcher.model import Event

MOST_MILLISECONDS = 50
WRITES_EVERY_SECONDS = 0.05


class Silent:
    """Writes no log."""

    def event(self, event: Event, **fields: Any) -> None:
        """Nothing."""


class TimedEngine(SqliteEngine):
    """Notes what each commit took of the processor, in milliseconds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.took: list[float] = []
        self._began = 0.0

    def begin(self) -> sqlite3.Connection:
        """See `SqliteEngine.begin`."""
        self._began = time.thread_time()
        return super().begin()

    def commit(self) -> None:
        """See `SqliteEngine.commit`."""
        super().commit()
        self.took.append(1_000 * (time.thread_time() - self._began))


async def write_now_and_then(journal: ThreadedJournal) -> list[float]:
    """Until it is called off: how long each change waited until it was durable, in milliseconds."""
    waited: list[float] = []
    try:
        while True:
            began = time.perf_counter()
            await journal.wait_for("products", {}, [b"nothing.jpg"])
            waited.append(1_000 * (time.perf_counter() - began))
            await asyncio.sleep(WRITES_EVERY_SECONDS)
    except asyncio.CancelledError:
        return waited


async def prune(path: Path, count: int) -> tuple[float, float]:
    """Milliseconds of the processor that the longest commit took, and seconds that all of it took."""
    now, clock = time.time(), SystemClock()
    await fill(path, count, now)
    os.sync()  # else the first checkpoint has all of it to write
    schema = database.schema()
    engine = TimedEngine(database.open_own(path, schema, now).connection)
    writer = WriteThread(engine, outage=Outage(Silent(), clock), clock=clock)
    reader = ReadThread(database.open_beside(path, schema.version, writable=False))
    journal = ThreadedJournal(writer, reader, clock=clock, keep=MONTH, new_id=str)
    other, began = asyncio.create_task(write_now_and_then(journal)), time.perf_counter()
    await journal.prune(now + 2 * MONTH)
    seconds = time.perf_counter() - began
    other.cancel()
    waited = await other
    left = (await journal.totals()).ended
    await journal.close()
    assert not left, f"{left} images are still there"
    say(f"  {count:,} images in {seconds:.0f} s, {len(engine.took):,} commits; another's change was durable after")
    say(f"  {statistics.median(waited):.0f} ms (median), {max(waited):.0f} ms (longest)")
    return max(engine.took), seconds


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count = 10_000 if quick else 300_000
    with tempfile.TemporaryDirectory() as name:
        longest, seconds = asyncio.run(prune(Path(name) / "journal.db", count))
    what = f"pruning {count:,} images and objects"
    return [
        at_most(f"{what}: longest commit, ms of CPU", longest, MOST_MILLISECONDS),
        Figure(f"{what}: seconds in all", seconds),
    ]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
