"""The threads that wait for disks and shares: each folder has its own, so that one that hangs keeps nobody else waiting.

A folder's threads are divided into lanes, so that of one folder, too, what takes long (hashing, moving to another disk) does not
hold up what tells whether the folder answers. Threads start when there is something to do and end when there was nothing for a
while. They are daemon threads: one that a dead share keeps does not keep the process.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from watcher.errors import NotAnswering
from watcher.one_processor import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

PATIENCE_SECONDS: Final = 10.0
"""A call that makes no progress for so long is given up by who waits for it."""
HANGING_SECONDS: Final = 0.5
"""A folder of which a call makes no progress for so long gets no new work of images meanwhile."""
IDLE_SECONDS: Final = 20.0
"""A thread that had nothing to do for so long ends."""


class Lane(StrEnum):
    """What a folder's threads are for."""

    PROBE = "probe"
    """Is the folder there? One at a time: a share that hangs keeps one thread, however often it is asked for."""
    INTAKE = "intake"
    """Looking through the tree and at its files."""
    ORIGINALS = "originals"
    """Opening and hashing what was taken, asking after it, closing it."""
    DISPOSAL = "disposal"
    """Moving and deleting; the target may be another disk, which may hang by itself."""
    SERVING = "serving"
    """Reading the bytes that are served."""


WIDTHS: Final = {Lane.PROBE: 1, Lane.INTAKE: 2, Lane.ORIGINALS: 4, Lane.DISPOSAL: 2, Lane.SERVING: 4}
"""Threads of one folder at most, by lane."""


APART: Final = frozenset({Lane.DISPOSAL, Lane.SERVING})
"""Lanes whose work is the kernel's: copying and sending."""


class Pools(Protocol):
    """Where calls that may wait for a folder's file system are run."""

    async def run(self, root: Path, lane: Lane, work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
        """Run `work` in one of the folder's threads. Raises NotAnswering where it makes no progress for PATIENCE_SECONDS.

        `undo` is given a result that came when nobody waited for it any more.
        """

    def start(self, root: Path, lane: Lane, work: Callable[[], object]) -> None:
        """The same, with nobody waiting for it."""


@dataclass(eq=False, slots=True)
class _LaneCall:
    """One piece of work, and who is told how it ended. `moved_at`: when it last made progress; None before it began."""

    work: Callable[[], Any]
    settle: Callable[[Any, BaseException | None], None]
    now: Callable[[], float]
    moved_at: float | None = None

    def moves(self) -> None:
        """It made progress."""
        self.moved_at = self.now()


_here = threading.local()


def made_progress() -> None:
    """Called from long work in a folder's thread: it moves, so whoever waits for it goes on waiting."""
    call: _LaneCall | None = getattr(_here, "call", None)
    if call is not None:
        call.moves()


@dataclass(slots=True)
class _Crew:
    """The threads of one lane of one folder."""

    name: str
    width: int
    now: Callable[[], float]
    apart: bool
    ready: threading.Condition = field(default_factory=threading.Condition)
    queue: deque[_LaneCall] = field(default_factory=deque)
    running: set[_LaneCall] = field(default_factory=set)
    threads: int = 0
    idle: int = 0
    closed: bool = False

    def submit(self, call: _LaneCall) -> None:
        """Have it run. Raises RuntimeError where not even one thread can be started."""
        with self.ready:
            self.queue.append(call)
            if self.idle >= len(self.queue):
                self.ready.notify()
            elif self.threads < self.width:
                self._start_thread()

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._serve, name=self.name, daemon=True).start()
        except RuntimeError:
            if not self.threads:
                self.queue.pop()
                raise
        else:
            self.threads += 1

    def _serve(self) -> None:
        with THREADS.apart() if self.apart else nullcontext():
            self._run()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            _here.call = call
            try:
                result, error = call.work(), None
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is for who waits for the call
                result, error = None, raised
            _here.call = None
            with self.ready:
                self.running.discard(call)
            call.settle(result, error)
            del call, result, error

    def _next(self) -> _LaneCall | None:
        with self.ready:
            while not self.queue:
                self.idle += 1
                woken = not self.closed and self.ready.wait(IDLE_SECONDS)
                self.idle -= 1
                if not self.queue and not woken:  # closed, or idle for too long
                    self.threads -= 1
                    return None
            call = self.queue.popleft()
            call.moves()
            self.running.add(call)
            return call

    def give_up(self, call: _LaneCall, patience: float) -> float | None:
        """Take a call back that makes no progress. Gives the seconds that it still has where it does make progress."""
        now = self.now()
        with self.ready:
            watched = [call] if call.moved_at is not None else list(self.running)
            last = max((each.moved_at or now for each in watched), default=now - patience)
            if (left := last + patience - now) > 0:
                return left
            if call in self.queue:
                self.queue.remove(call)
            return None

    def is_full_of_stuck(self, patience: float) -> bool:
        """Whether every thread it may have hangs in a call that made no progress for so long."""
        if len(self.running) < self.width:
            return False
        now = self.now()
        with self.ready:
            return len(self.running) >= self.width and all(now - (each.moved_at or now) >= patience for each in self.running)

    def hangs(self, since: float) -> bool:
        """Whether a call has made no progress since then (monotonic seconds)."""
        if not self.running:
            return False
        with self.ready:
            return any(each.moved_at is not None and each.moved_at < since for each in self.running)

    def close(self) -> None:
        """Run nothing more. Threads that wait for work end; those that hang are left behind."""
        with self.ready:
            self.closed = True
            self.queue.clear()
            self.ready.notify_all()


class _Waiter(Generic[T]):
    """Who waits in the loop for one call: until its result, or until it makes no progress any more."""

    def __init__(self, pools: RootPools, root: Path, lane: Lane, undo: Callable[[T], None] | None) -> None:
        self._pools = pools
        self._root = root
        self._lane = lane
        self._undo = undo
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    def settle_from_thread(self, result: T, error: BaseException | None) -> None:
        """The call has ended."""
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            if self._undo is not None and error is None:
                self._undo(result)

    def _settle(self, result: T, error: BaseException | None) -> None:
        if self.future.done():
            if self._undo is not None and error is None:
                self._pools.start(self._root, self._lane, partial(self._undo, result))
        elif error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    async def wait(self, crew: _Crew, call: _LaneCall, patience: float) -> T:
        """The result. Raises NotAnswering."""
        self._timer = self._loop.call_later(patience, self._check, crew, call, patience)
        try:
            return await self.future
        finally:
            self._timer.cancel()

    def _check(self, crew: _Crew, call: _LaneCall, patience: float) -> None:
        if self.future.done():
            return
        left = crew.give_up(call, patience)
        if left is None:
            self.future.set_exception(not_answering(self._root))
        else:
            self._timer = self._loop.call_later(left, self._check, crew, call, patience)


def not_answering(root: Path) -> NotAnswering:
    """What is said of a folder whose calls do not come back."""
    return NotAnswering(f"{root} does not answer", "the images wait until its disk or share is back")


class RootPools:
    """Implements `Pools`. Its methods belong to one event loop; `now` gives monotonic seconds, to any thread."""

    def __init__(self, patience: float = PATIENCE_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._now = now
        self._crews: dict[tuple[Path, Lane], _Crew] = {}
        self._closed = False

    async def run(self, root: Path, lane: Lane, work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
        """See `Pools.run`."""
        crew = self._crew(root, lane)
        if self._closed or crew.is_full_of_stuck(self._patience):
            raise not_answering(root)
        waiter = _Waiter(self, root, lane, undo)
        call = _LaneCall(work, waiter.settle_from_thread, self._now)
        self._submit(root, crew, call)
        return await waiter.wait(crew, call, self._patience)

    def start(self, root: Path, lane: Lane, work: Callable[[], object]) -> None:
        """See `Pools.start`."""
        if self._closed:  # on the way out: what has to be given back is given back, if its disk lets us
            threading.Thread(target=work, daemon=True).start()
        else:
            self._submit(root, self._crew(root, lane), _LaneCall(work, _nobody_waits, self._now))

    def answers(self, root: Path) -> bool:
        """Whether no lane of the folder is full of calls that make no progress."""
        crews = (self._crews.get((root, lane)) for lane in Lane if lane is not Lane.DISPOSAL)
        return not any(crew.is_full_of_stuck(self._patience) for crew in crews if crew is not None)

    def hangs(self, root: Path, seconds: float) -> bool:
        """Whether a call on what lies there has made no progress for so long. Moves to another disk are not asked."""
        since = self._now() - seconds
        crews = (self._crews.get((root, lane)) for lane in Lane if lane is not Lane.DISPOSAL)
        return any(crew.hangs(since) for crew in crews if crew is not None)

    def forget(self, root: Path) -> None:
        """The folder is not configured any more."""
        for lane in Lane:
            if (crew := self._crews.pop((root, lane), None)) is not None:
                crew.close()

    def close(self) -> None:
        """Let all threads go; one that hangs on a dead share is not waited for."""
        self._closed = True
        for crew in self._crews.values():
            crew.close()
        self._crews.clear()

    def _crew(self, root: Path, lane: Lane) -> _Crew:
        crew = self._crews.get((root, lane))
        if crew is None:
            crew = self._crews[root, lane] = _Crew(f"{lane} of {root}", WIDTHS[lane], self._now, lane in APART)
        return crew

    @staticmethod
    def _submit(root: Path, crew: _Crew, call: _LaneCall) -> None:
        try:
            crew.submit(call)
        except RuntimeError as error:
            raise NotAnswering(f"no thread can be started for {root}: {error}", "raise the limit of tasks (TasksMax=)") from None


def _nobody_waits(_: object, error: BaseException | None) -> None:
    """What was not waited for must not fail: a fault of ours is shown where all are."""
    if error is not None and not isinstance(error, OSError):
        traceback.print_exception(error, file=sys.stderr)
