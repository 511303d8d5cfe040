"""The journal's two threads: one makes changes, one answers questions. The event loop hands over and never waits for the disk.

Callers hand over functions of the connection. The write thread gathers what has come together, has it committed at once
(commit.py), and then tells everybody; where the disk refuses, the same batch is tried again until it goes through. Questions
have a connection of their own, so that they never wait behind a commit; in WAL mode every one of them sees all that was
committed before it was asked.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.backoff import exponential
from watcher.errors import Unavailable
from watcher.records.commit import DatabaseFault, commit
from watcher.records.thread_jobs import ThreadJob, deliver

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock
    from watcher.records.commit import JournalEngine
    from watcher.records.dialect import Connection
    from watcher.records.outage import Outage

Answer = TypeVar("Answer")

MAX_CHANGES: Final = 200
"""Changes in one commit."""
GATHER_SECONDS: Final = 0.004
"""How long a change waits for others to be committed with, when there were some the last time. Each commit is a wait for the
disk, and costs as much processor time as the changes of two images."""
ONE_IMAGES_CHANGES: Final = 2
"""An image by itself hands over so many together: that is not a sign that others follow."""
HEARTBEAT_SECONDS: Final = 0.5
"""How often an idle writer looks around."""
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 60.0
"""A writer that has not moved for so long is not alive (a disk that answers nothing at all)."""
PASSING_TRIES: Final = 4
"""So often a refusal that is over in a moment is met before it is said."""
MAX_QUESTIONS: Final = 50
"""Questions answered before those who asked are told."""


class WriteThread:
    """Owns the writing connection and the thread that uses it. `submit` is for the event loop, everything else for its owner."""

    def __init__(self, engine: JournalEngine, *, outage: Outage, clock: Clock) -> None:
        self._engine = engine
        self._outage = outage
        self._clock = clock
        self._jobs: queue.SimpleQueue[ThreadJob | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._abandoned = threading.Event()
        self._damaged = False
        self._beat = clock.monotonic()
        self._gathers = False
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Connection], Answer], made: Callable[[], None] | None = None) -> asyncio.Future[Answer]:
        """Have `change` made. The future is done when it is durable, or holds what the change raised; then nothing was changed.

        `change` may run more than once, and only the last run counts. A future that is cancelled takes nothing back: the change
        is made, and `made` is called when it is durable.
        """
        if self._closing.is_set():
            raise Unavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        self._outage.loop = loop
        future: asyncio.Future[Answer] = loop.create_future()
        self._jobs.put(ThreadJob(change, future, loop, made))
        return future

    def alive(self) -> bool:
        """Whether the thread does its work; waiting for room on the disk is part of it, a damaged file is not."""
        moving = self._clock.monotonic() - self._beat < STUCK_SECONDS
        return self._thread.is_alive() and moving and not self._damaged

    @property
    def is_away(self) -> bool:
        """Whether the database was said to be away: everybody waits for it, and nobody hangs."""
        return self._outage.lasting

    def changed_by_others(self) -> bool:
        """Whether another process changed the journal since this was last asked."""
        return self._engine.changed_by_others()

    def accept_no_more(self) -> None:
        """What is submitted from now on is refused. To be called where `submit` is called from."""
        if not self._closing.is_set():
            self._closing.set()
            self._jobs.put(None)

    def close(self, patience: float) -> None:
        """Finish what was submitted, then close the connection. After `patience` seconds of a refusing disk, give up.

        What could not be written is told so with Unavailable. To be called after `accept_no_more`, from any thread.
        """
        self._thread.join(patience)
        if self._thread.is_alive():
            self._abandoned.set()
            self._thread.join(patience)

    # --- the thread -----------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._refuse_the_rest()
            self._engine.close()

    def _turn(self) -> bool:
        """One batch, or one look around. False when it is time to end: nothing follows, or the disk was given up.

        What comes after a batch that was given up is refused without a try: changes are durable in the order they were handed
        over, and whoever heard that his could not be written must not find later ones in the journal.
        """
        self._beat = self._clock.monotonic()
        batch, last = self._gather()
        if not batch:
            self._engine.look_around()
            self._outage.look()
            return not last
        return self._write(batch) and not last

    def _gather(self) -> tuple[list[ThreadJob], bool]:
        """What is there to be written, and whether it is the last."""
        batch: list[ThreadJob] = []
        while len(batch) < MAX_CHANGES:
            try:
                job = self._jobs.get_nowait() if batch else self._jobs.get(timeout=HEARTBEAT_SECONDS)
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
            if self._gathers and len(batch) == 1:
                self._closing.wait(GATHER_SECONDS)  # not for the next one: each that comes would wake this thread
        self._gathers = len(batch) > ONE_IMAGES_CHANGES
        return batch, False

    def _write(self, batch: list[ThreadJob]) -> bool:
        """Make and commit a batch, however long the disk refuses, and tell everybody. False where it was given up."""
        tries = 0
        while True:
            try:
                self._commit(batch)
            except self._engine.errors as error:
                tries += 1
                if not self._wait_out(error, tries):
                    self._fail(batch)
                    return False
            else:
                break
        self._damaged = False
        self._outage.over("changes")
        deliver(batch)
        return True

    def _commit(self, batch: list[ThreadJob]) -> None:
        commit(self._engine, batch)
        self._beat = self._clock.monotonic()

    def _wait_out(self, error: Exception, tries: int) -> bool:
        """Wait before the next try. False when there will be none."""
        refusal = self._engine.refusal(error) or DatabaseFault(str(error), self._engine.advice)
        self._damaged = refusal.damaged
        if not refusal.passing or tries > PASSING_TRIES:
            words = f"the journal cannot be written: {refusal.message}"
            self._outage.lasts("changes", words, refusal.hint, comes_and_goes=refusal.comes_and_goes)
        pause = exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, tries)
        self._beat = self._clock.monotonic()
        return not self._abandoned.wait(pause)

    def _fail(self, batch: list[ThreadJob]) -> None:
        for job in batch:
            job.error = Unavailable("the journal could not be written", self._engine.advice)
        deliver(batch)

    def _refuse_the_rest(self) -> None:
        rest: list[ThreadJob] = []
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                rest.append(job)
        self._fail(rest)


class ReadThread:
    """Owns the reading connection and the thread that uses it. `ask` and `accept_no_more` are for the event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[ThreadJob | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="journal-reader", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[Connection], Answer]) -> asyncio.Future[Answer]:
        """The future holds the answer, or what the question raised. Raises Unavailable after `accept_no_more`."""
        if self._closed:
            raise Unavailable("the journal is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._jobs.put(ThreadJob(question, future, loop))
        return future

    def accept_no_more(self) -> None:
        """What is asked from now on is refused; the connection is let go when the rest is answered."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def close(self) -> None:
        """Wait until that is done. To be called after `accept_no_more`, from any thread."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._connection.close()

    def _turn(self) -> bool:
        """What has come together. False when it was the last."""
        job = self._jobs.get()
        answered: list[ThreadJob] = []
        while job is not None:
            self._answer(job)
            answered.append(job)
            if len(answered) >= MAX_QUESTIONS or self._jobs.empty():
                break
            job = self._jobs.get()
        deliver(answered)
        return job is not None

    def _answer(self, job: ThreadJob) -> None:
        try:
            job.result = job.work(self._connection)
        except Exception as error:  # noqa: BLE001 - the boundary to the caller's function: whatever it raises is handed to the caller
            job.error = error
