"""Keeps the threads of this process on one processor, whichever is free.

Only one thread of an interpreter runs at a time. Spread over several processors, each hand-over of the interpreter's lock wakes
another processor and waits for it, which takes longer than most of what is then done; on one it is a switch. The kernel chooses
which processor that is, and is asked anew where other processes crowd it. (docs/BENCHMARKS.md has the figures.)

What is long and needs no lock of the interpreter goes `apart`: hashing, copying and sending large files, and other programs.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from watcher.ports import Clock

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether others crowd the processor."""
CROWDED: Final = 0.25
"""The share of that time which the event loop may wait for other processes before the kernel is asked for another processor."""
_PROCESSOR: Final = 36
"""The place of the processor in /proc/PID/stat, counted from the field behind the name (proc(5))."""
_TASKS: Final = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds: when it was measured, what all threads ran so far, what the event loop's ran, and how long it had to wait."""

    at: float
    ran: float
    loop_ran: float
    loop_waited: float


def usage() -> Usage:
    """Of this process, now. To be asked in the event loop's thread. Raises OSError where the kernel does not say."""
    ran, waited, _ = (_TASKS / str(threading.get_native_id()) / "schedstat").read_text(encoding="ascii").split()
    if not int(ran):  # built without the accounting of the scheduler: "0 0 0", however long a thread has run
        raise OSError("the kernel does not count how long threads run")
    return Usage(time.monotonic(), time.process_time(), int(ran) / 1e9, int(waited) / 1e9)


def is_crowded(before: Usage, now: Usage) -> bool:
    """Whether other processes kept the event loop waiting. For its own threads it waits no longer than they run."""
    own = (now.ran - before.ran) - (now.loop_ran - before.loop_ran)
    return now.loop_waited - before.loop_waited - own > CROWDED * (now.at - before.at)


class Threads:
    """Where the threads of this process may run. `apart` is for any thread, the rest for the event loop's."""

    def __init__(self) -> None:
        self._everywhere: Collection[int] = ()
        """The processors that the process was given."""
        self._at: int | None = None
        self._apart: Counter[int] = Counter()
        """The threads that run everywhere, and how many of their tasks want them to."""
        self._lock = threading.Lock()

    @property
    def together(self) -> bool:
        """Whether they run on one processor."""
        return self._at is not None

    def gather(self) -> None:
        """Have all threads, and those that they begin, run where the kernel has the event loop run now.

        Nothing changes where there is only one processor. Raises OSError where this process may not choose.
        """
        self._everywhere = os.sched_getaffinity(0)
        loop = _TASKS / str(threading.get_native_id()) / "stat"
        here = int(loop.read_text(encoding="utf-8").rpartition(")")[2].split()[_PROCESSOR])
        if len(self._everywhere) > 1 and here in self._everywhere:
            self._place((here,))

    def scatter(self) -> None:
        """Let all threads run everywhere."""
        if self.together:
            self._place(self._everywhere)

    def given_up(self) -> bool:
        """Whether somebody else chose for the event loop meanwhile, as taskset does: then it is left so."""
        if self._at is None or threading.get_native_id() in self._apart or os.sched_getaffinity(0) == {self._at}:
            return False
        self._at = None
        return True

    def _place(self, where: Collection[int]) -> None:
        with self._lock:
            self._at = next(iter(where)) if len(where) == 1 else None
            for thread in (int(task.name) for task in _TASKS.iterdir()):
                if thread not in self._apart:
                    with suppress(ProcessLookupError):  # it has ended
                        os.sched_setaffinity(thread, where)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """This thread, and the programs that it begins, run everywhere meanwhile."""
        self._move(1)
        try:
            yield
        finally:
            self._move(-1)

    def _move(self, wishes: int) -> None:
        thread = threading.get_native_id()
        with self._lock:
            self._apart[thread] += wishes
            if not self._apart[thread]:
                del self._apart[thread]
            if self._at is not None:
                with suppress(OSError):  # the machine has other processors now: where the thread runs is no reason to fail
                    os.sched_setaffinity(thread, self._everywhere if thread in self._apart else (self._at,))


THREADS: Final = Threads()
"""Those of this process."""


async def keep_together(clock: Clock, threads: Threads = THREADS, measured: Callable[[], Usage] = usage) -> None:
    """Keep the threads of this process on one processor, for as long as this runs. Some systems do not allow it: then never."""
    try:
        before = measured()
        threads.gather()
        while True:
            await clock.sleep(LOOK_SECONDS)
            now = measured()
            if threads.given_up():
                return
            if is_crowded(before, now):
                threads.scatter()
            elif not threads.together:
                threads.gather()
            before = now
    except OSError:  # a system call that is not allowed, or a kernel that does not tell how long the loop waits
        return
    finally:
        with suppress(OSError):
            threads.scatter()
