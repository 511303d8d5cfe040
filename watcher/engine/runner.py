"""Carrying jobs out: takes as many as it has hands for, has each step journalled, and lets go at a stop of what has not ended."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from watcher.compressor.wire import error_body
from watcher.engine.orders import read_order
from watcher.engine.refusal import DISK_TROUBLE, Refusal
from watcher.errors import Fenced, Unavailable
from watcher.job_store import NewJob, QueueFull

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.compressor.wire import Result
    from watcher.engine.orders import Order
    from watcher.engine.processing import Processor
    from watcher.engine.webhooks import Webhooks
    from watcher.job_store import Ended, Job, JobStore

MAX_STARTS: Final = 5
"""A job that was begun so often and never ended is given up: it may be what kills the engine."""
DISK_PAUSE_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class Holding:
    """Whether work is still this engine's own. Work that is no job (yet) is."""

    def __init__(self, store: JobStore, job: Job | None = None) -> None:
        self._store = store
        self.job = job

    async def confirm(self) -> None:
        """Raises Fenced where another engine has the job by now. One that cannot be asked about is gone on with."""
        if self.job is None:
            return
        try:
            held = await self._store.holds(self.job)
        except Unavailable:
            return
        if not held:
            raise Fenced("another engine has this job by now")


class JobRunner:
    """Works on `at_once` jobs at a time; at most `capacity` wait or are at work."""

    def __init__(self, store: JobStore, processor: Processor, webhooks: Webhooks, *, at_once: int, capacity: int) -> None:
        self._store = store
        self._processor = processor
        self._webhooks = webhooks
        self._at_once = at_once
        self._capacity = capacity
        self._taken: set[asyncio.Task[None]] = set()
        self._adopted: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._stopping_since: float | None = None

    async def run(self) -> None:
        """Take jobs, one for each free hand, until told to take no more."""
        while self._stopping_since is None:
            self._news.clear()
            if (free := self._at_once - len(self._taken)) > 0:
                for job in await self._store.claim(free):
                    self._spawn(self._taken, job, asyncio.get_running_loop().create_task(self._carry_out(job)))
            await self._news.wait()

    def wake(self) -> None:
        """There may be something to take."""
        self._news.set()

    def take_no_more(self) -> None:
        """Begin nothing from now on."""
        self._stopping_since = time.monotonic()
        self._news.set()

    async def stop(self, patience: float) -> None:
        """Let jobs that are at work end, until `patience` seconds after `take_no_more`. The store gives the others back."""
        begun = self._stopping_since or time.monotonic()
        tasks = [*self._taken, *self._adopted]
        if tasks and (left := begun + patience - time.monotonic()) > 0:
            await asyncio.wait(tasks, timeout=left)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def enqueue(self, identity: str, body: Any, order: Order, base_url: str) -> None:
        """A job for later, durable when this returns. Raises Refusal (429) where the queue is full, and Unavailable."""
        try:
            await self._store.add(NewJob(identity, body, base_url, order.webhook), self._capacity)
        except QueueFull as full:
            raise Refusal(429, full.message, retry_after=5) from None
        self.wake()

    def holding(self) -> Holding:
        """Of a request that may become a job."""
        return Holding(self._store)

    async def adopt(self, new: NewJob, at_work: asyncio.Task[Result], holding: Holding) -> bool:
        """Make a job, durable when this returns, of a request that is at work already. False where none can be taken now."""
        try:
            job = await self._store.add(new, self._capacity, at_work=True)
        except (QueueFull, Unavailable):
            return False
        except BaseException:  # a caller who goes away leaves no work behind that nobody knows of
            at_work.cancel()
            raise
        holding.job = job
        self._spawn(self._adopted, job, at_work)
        return True

    def _spawn(self, among: set[asyncio.Task[None]], job: Job, at_work: asyncio.Task[Result]) -> None:
        task = asyncio.get_running_loop().create_task(self._see_through(job, at_work))
        among.add(task)

        def done(task: asyncio.Task[None]) -> None:
            among.discard(task)
            self._news.set()

        task.add_done_callback(done)

    async def _carry_out(self, job: Job) -> Result:
        if job.starts >= MAX_STARTS:
            raise Refusal(500, f"the engine ended {job.starts} times while it worked on this job, which is given up")
        order = read_order(job.request)
        self._processor.check(order)
        return await self._processor.run(job.id, order, job.base_url, lambda _: None, Holding(self._store, job).confirm)

    async def _see_through(self, job: Job, at_work: asyncio.Task[Result]) -> None:
        """Wait for the work and journal its end."""
        try:
            result = await at_work
        except asyncio.CancelledError:
            at_work.cancel()
            await asyncio.gather(at_work, return_exceptions=True)
            raise
        except Fenced:
            _log.info("job %s is another engine's by now; what was made of it here is dropped", job.id)
        except Unavailable:
            await self._begin_again(job)
        except Refusal as refusal:
            if refusal.code == DISK_TROUBLE:
                await self._begin_again(job)
            else:
                await self._end(job, "failed", error_body(refusal.code, job.id, refusal.message))
        except Exception:  # noqa: BLE001 - the job's boundary: a defect fails one job, and is the log's business
            _log.exception("a job of the engine failed")
            await self._end(job, "failed", error_body(500, job.id, "the engine failed; its log says why"))
        else:
            await self._end(job, "completed", result.body())

    async def _end(self, job: Job, status: Ended, body: Mapping[str, Any]) -> None:
        if await self._store.end(job, status, body):
            self._webhooks.wake()

    async def _begin_again(self, job: Job) -> None:
        """The trouble is the engine's own, and no fault of the job: it waits, and is begun anew, here or elsewhere.

        The hand that held it is not free meanwhile.
        """
        await self._store.requeue(job)
        await asyncio.sleep(DISK_PAUSE_SECONDS)
