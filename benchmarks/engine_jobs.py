"""What it costs that engines share their jobs: our own claims on PostgreSQL against procrastinate, a task queue on it.

    python -m benchmarks.engine_jobs [--procrastinate PYTHON] [--jobs 2000] [--repeats 3]

PYTHON is an interpreter that has procrastinate and psycopg (in an environment of its own: the engine does not need it). Both get
jobs of the size of the engine's from 32 callers at a time, each of whom waits until the job is durable, and then work them off
with four hands; the work itself is nothing. Ours also keep each job's result. The server is Debian's, with fsync on, its data on
this machine's disk. Runs are interleaved; medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from statistics import median
from typing import Any

from benchmarks.common import interleaved, say
from tests.support import postgres
from tests.support.publishing import RecordedLog
from watcher.clock import SystemClock
from watcher.compressor.wire import FileFacts, Result
from watcher.engine.runner import JobRunner
from watcher.job_store import NewJob
from watcher.records.postgres.database import Server
from watcher.records.postgres.jobs.store import PostgresJobs, jobs_server

CALLERS = 32
HANDS = 4
REQUEST = {
    "url": "https://drops.example.com/t/" + "t" * 43 + "/a-photograph-of-a-product.jpg",
    "headers": {"X-Drop-Secret": "s" * 43},
    "image": {"compression": "high", "resize": {"width": 1600, "height": 1600, "mode": "auto"}},
    "store": {
        "id": "your-connector-id",
        "bucket": "my-bucket",
        "region": "eu-central-003",
        "path": "products/2026/11/a-photograph-of-a-product.jpg",
        "headers": {"Cache-Control": "public, max-age=31536000, immutable"},
        "metadata": {"source-sha1": "a" * 40, "rule": "b" * 16},
    },
    "webhook": {"url": "https://cms.example.com/hooks/images"},
}
FACTS = FileFacts("a-photograph-of-a-product.jpg", "image", "jpeg", "image/jpeg", 338_428, "a" * 40, 1600, 1200)
THEIRS = """
import asyncio, json, sys, time
import procrastinate

async def main():
    conninfo, request = sys.argv[1], json.loads(sys.argv[5])
    jobs, callers, hands = map(int, sys.argv[2:5])
    connector = procrastinate.PsycopgConnector(conninfo=conninfo, min_size=4, max_size=8)
    app = procrastinate.App(connector=connector)

    @app.task(queue="jobs")
    async def work(request):
        return None

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        left = iter(range(jobs))

        async def call():
            for _ in left:
                await work.defer_async(request=request)

        begun, used = time.monotonic(), time.process_time()
        await asyncio.gather(*(call() for _ in range(callers)))
        added = time.monotonic()
        await app.run_worker_async(queues=["jobs"], concurrency=hands, wait=False, install_signal_handlers=False)
        ended = time.monotonic()
        print(json.dumps([jobs / (added - begun), jobs / (ended - added), (time.process_time() - used) / jobs * 1000]))

asyncio.run(main())
"""
Measured = tuple[float, float, float, float]
"""Jobs added a second, jobs worked off a second, milliseconds of processor time for a job, bytes of write-ahead log for a job."""


class NoWork:
    """A Processor whose work is nothing."""

    def check(self, order: Any) -> None:
        """Fine."""

    async def run(self, identity: str, *_: Any) -> Result:
        """The result of it."""
        return Result(identity, "https://my-bucket.s3.eu-central-003.backblazeb2.com/products/a.jpg", FACTS, FACTS)


class Ended:
    """Webhooks that nobody calls: counts ends."""

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self.all = asyncio.Event()

    def wake(self) -> None:
        """A job has ended."""
        self._left -= 1
        if not self._left:
            self.all.set()


async def ours(url: str, jobs: int) -> tuple[float, float, float]:
    """The engine's runner on its store."""
    store = PostgresJobs(jobs_server(Server(url, host="bench")), instance="bench", events=RecordedLog(), clock=SystemClock())
    ended = Ended(jobs)
    runner = JobRunner(store, NoWork(), ended, at_once=HANDS, capacity=jobs + 1)  # type: ignore[arg-type] - as far as it is used
    await store.open()
    left = iter(range(jobs))

    async def call() -> None:
        for number in left:
            await store.add(NewJob(f"job-{number:029}", REQUEST, "https://engine.example.com"), jobs + 1)

    begun, used = time.monotonic(), time.process_time()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    added = time.monotonic()
    store.woken = runner.wake
    running = asyncio.create_task(runner.run())
    await ended.all.wait()
    over = time.monotonic()
    cpu = (time.process_time() - used) / jobs * 1000
    runner.take_no_more()
    await running
    await store.close()
    return jobs / (added - begun), jobs / (over - added), cpu


def theirs(python: str, url: str, jobs: int) -> tuple[float, float, float]:
    """Procrastinate's worker."""
    arguments = [url, str(jobs), str(CALLERS), str(HANDS), json.dumps(REQUEST)]
    done = subprocess.run([python, "-c", THEIRS, *arguments], capture_output=True, text=True, check=True)
    added, worked, cpu = json.loads(done.stdout.splitlines()[-1])
    return added, worked, cpu


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--procrastinate", metavar="PYTHON")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    found: dict[str, list[Measured]] = {}
    with postgres.running(fsync="on") as server:

        def measured(name: str, run: Any) -> float:
            url = server.database()
            before = server.run_sql("SELECT pg_current_wal_lsn() - '0/0'", "postgres")[0][0]
            figures = run(url)
            after = server.run_sql("SELECT pg_current_wal_lsn() - '0/0'", "postgres")[0][0]
            found.setdefault(name, []).append((*figures, (float(str(after)) - float(str(before))) / options.jobs))
            say(f"  {name}: {figures[0]:.0f} added/s, {figures[1]:.0f} worked/s, {figures[2]:.2f} ms")
            return 0.0

        contenders = {"own": lambda: measured("own claims", lambda url: asyncio.run(ours(url, options.jobs)))}
        if options.procrastinate:
            contenders["theirs"] = lambda: measured("procrastinate", lambda url: theirs(options.procrastinate, url, options.jobs))
        interleaved(options.repeats, **contenders)
    lines = ["| | added/s | worked off/s | CPU of the process, ms a job | write-ahead log, kB a job |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        added, worked, cpu, log = (median(run[place] for run in runs) for place in range(4))
        lines.append(f"| {name} | {added:.0f} | {worked:.0f} | {cpu:.2f} | {log / 1000:.1f} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
