"""Carrying jobs out: takes them in turn, journals each step, gives back what a stop interrupts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from watcher.backoff import exponential
from watcher.compressor.wire import error_body
from watcher.engine.jobs import MAX_STARTS, Job
from watcher.engine.orders import read_order
from watcher.engine.refusal import DISK_TROUBLE, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from watcher.compressor.wire import Result
    from watcher.engine.jobs import Ended, JobJournal
    from watcher.engine.orders import Order
    from watcher.engine.processing import Processor
    from watcher.engine.webhooks import Webhooks

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.2
DISK_PAUSE_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


class JobRunner:
    """Works on `at_once` jobs at a time; at most `capacity` wait or are at work."""

    def __init__(self, journal: JobJournal, processor: Processor, webhooks: Webhooks, *, at_once: int, capacity: int) -> None:
        self._journal = journal
        self._processor = processor
        self._webhooks = webhooks
        self._at_once = at_once
        self._capacity = capacity
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take up what the journal holds."""
        for identity in await self._journal.enqueued():
            self._open += 1
            self._queue.put_nowait(identity)
        for _ in range(self._at_once):
            self._spawn(self._work())

    async def stop(self) -> None:
        """Stop working; jobs that are at work are enqueued again."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_full(self) -> bool:
        """Whether no further job is taken."""
        return self._open >= self._capacity

    async def enqueue(self, identity: str, body: Any, order: Order, base_url: str) -> None:
        """A job for later, durable when this returns. Raises Refusal (429) where the queue is full."""
        if self.is_full:
            raise Refusal(429, "the job queue is full", retry_after=5)
        self._open += 1
        try:
            await self._journal.add(identity, body, base_url, order.webhook)
        except BaseException:  # a caller who goes away takes no place in the queue either
            self._open -= 1
            raise
        self._queue.put_nowait(identity)

    async def adopt(self, identity: str, body: Any, order: Order, base_url: str, at_work: asyncio.Task[Result]) -> None:
        """Make a job, durable when this returns, of a request that is at work already."""
        self._open += 1
        try:
            await self._journal.add(identity, body, base_url, order.webhook, processing=True)
        except BaseException:  # a caller who goes away leaves no work behind that nobody knows of
            self._open -= 1
            at_work.cancel()
            raise
        self._spawn(self._see_through(identity, at_work))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while True:
            identity = await self._queue.get()
            if (job := await insist(partial(self._journal.begin, identity))) is None:
                self._open -= 1
                continue
            await self._see_through(identity, asyncio.get_running_loop().create_task(self._carry_out(job)))

    async def _carry_out(self, job: Job) -> Result:
        if job.starts >= MAX_STARTS:
            raise Refusal(500, f"the engine ended {job.starts} times while it worked on this job, which is given up")
        order = read_order(job.request)
        self._processor.check(order)
        return await self._processor.run(job.id, order, job.base_url, lambda _: None)

    async def _see_through(self, identity: str, at_work: asyncio.Task[Result]) -> None:
        """Wait for the work and journal its end, or its interruption."""
        try:
            result = await at_work
        except asyncio.CancelledError:
            at_work.cancel()
            with contextlib.suppress(asyncio.CancelledError, Refusal):
                await at_work
            with contextlib.suppress(sqlite3.Error):  # the next start enqueues what was at work
                await self._journal.requeue(identity)
            raise
        except Refusal as refusal:
            if refusal.code == DISK_TROUBLE:
                await self._begin_again(identity)
                return
            await self._end(identity, "failed", error_body(refusal.code, identity, refusal.message))
        except Exception:  # noqa: BLE001 - the job's boundary: a defect fails one job, and is the log's business
            _log.exception("a job of the engine failed")
            await self._end(identity, "failed", error_body(500, identity, "the engine failed; its log says why"))
        else:
            await self._end(identity, "completed", result.body())
        self._open -= 1
        self._webhooks.wake()

    async def _end(self, identity: str, status: Ended, body: Mapping[str, Any]) -> None:
        await insist(partial(self._journal.end, identity, status, body))

    async def _begin_again(self, identity: str) -> None:
        """The engine's own disk is in trouble, which is no fault of the job: it waits, and is begun anew."""
        await insist(partial(self._journal.requeue, identity))
        await asyncio.sleep(DISK_PAUSE_SECONDS)
        self._queue.put_nowait(identity)


async def insist(step: Callable[[], Awaitable[T]]) -> T:
    """The result of a step of the journal, tried until the journal can do it: one error must not cost a worker its life."""
    tries = 0
    while True:
        try:
            return await step()
        except sqlite3.Error:
            tries += 1
            if tries == 1:
                _log.exception("the engine's journal of jobs cannot be used; it is tried again")
            await asyncio.sleep(exponential(FIRST_PAUSE_SECONDS, DISK_PAUSE_SECONDS, tries))
