"""Finds calls that block an event loop.

    with LoopWatch() as watch: ...        # in the thread whose loop is watched
    assert not watch.blocked              # each with its length and where it happened

A thread looks at the loop's thread every few milliseconds. Two looks that find it asleep inside one callback, without having
run in between, prove one call that waited that long: the kernel counts how often a thread went to sleep. Time that the machine
took for others, waits for the interpreter's lock and plain computing are not counted, so a loaded machine makes no difference.

Only calls of the project are told: where a test itself blocks its loop (with boto3, `subprocess.run`), that is its own business.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from io import FileIO
    from types import FrameType

LIMIT_SECONDS = 0.05
LOOK_SECONDS = 0.01
_REPOSITORY = Path(__file__).resolve().parents[2]
_PROJECT = str(_REPOSITORY / "watcher") + "/"
_TESTS = str(_REPOSITORY / "tests") + "/"
_ASLEEP = ("S", "D")
_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine)
"""The number of futex(2)."""
_STARTS = frozenset({("threading.py", "start"), ("subprocess.py", "_execute_child")})
"""Starting a thread or a process waits until it has begun to run: for the processor, that is, not for a disk or a share."""


@dataclass(frozen=True)
class BlockingCall:
    """One call that kept the loop waiting: at least so many seconds, and the project's frames, innermost first."""

    seconds: float
    frames: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.seconds * 1000:.0f} ms in {' < '.join(self.frames)}"


@dataclass
class _Sleep:
    """A sleep of the thread, recognised by how often it had gone to sleep before."""

    number: str
    began: float
    frames: tuple[str, ...]


@dataclass
class LoopWatch:
    """Watches the loops of the thread that enters it. `blocked` holds what took longer than `limit` seconds."""

    limit: float = LIMIT_SECONDS
    blocked: list[BlockingCall] = field(default_factory=list)
    longest: float = 0.0
    """Seconds of the longest such call, above the limit or not."""
    _runtime: range = range(0)
    _running: bool = False
    _sleep: _Sleep | None = None
    _told: _Sleep | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _held: ExitStack = field(default_factory=ExitStack)
    _call: FileIO | None = None

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        place = Path(f"/proc/self/task/{threading.get_native_id()}")
        # held open: a test may use up what can be opened
        self._status = self._held.enter_context((place / "status").open("rb", buffering=0))
        with suppress(OSError):  # not told here
            self._call = self._held.enter_context((place / "syscall").open("rb", buffering=0))
        self._runtime = _interpreter_memory()
        self._plain_run = asyncio.Handle._run
        asyncio.Handle._run = self._watched_run()  # type: ignore[method-assign]
        self._watcher = threading.Thread(target=self._watch, name="loopwatch", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.Handle._run = self._plain_run  # type: ignore[method-assign]
        self._done.set()
        self._watcher.join(5)
        if not self._watcher.is_alive():
            self._held.close()

    def _watched_run(self) -> Any:
        plain, thread = self._plain_run, self._thread

        def run(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                return plain(handle)
            self._running = True
            try:
                return plain(handle)
            finally:
                self._running = False

        return run

    def _watch(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self._look(time.monotonic())

    def _look(self, now: float) -> None:
        state, number = self._thread_state() if self._running else ("", "")
        if state not in _ASLEEP or self._waits_for_interpreter():
            self._sleep = None
        elif self._sleep is None or self._sleep.number != number:
            self._sleep = _Sleep(number, now, self._frames())
        elif self._sleep.frames:
            self._note(self._sleep, now - self._sleep.began)

    def _note(self, sleep: _Sleep, seconds: float) -> None:
        """One entry a sleep, which grows while it lasts."""
        self.longest = max(self.longest, seconds)
        if seconds <= self.limit:
            return
        if self._told is sleep:
            self.blocked.pop()
        self._told = sleep
        self.blocked.append(BlockingCall(seconds, sleep.frames))

    def _thread_state(self) -> tuple[str, str]:
        """Whether the thread sleeps, and how often it has gone to sleep of its own accord."""
        fields = dict(line.partition(":")[::2] for line in _read(self._status).splitlines())
        return fields["State"].strip()[:1], fields["voluntary_ctxt_switches"].strip()

    def _waits_for_interpreter(self) -> bool:
        """Whether the thread sleeps for the interpreter's lock. Mostly in many short sleeps, but not on a machine that pauses."""
        try:
            words = _read(self._call).split() if self._call is not None else ["-1"]
        except OSError:  # not told here
            return False
        return words[0] == _FUTEX and int(words[1], 16) in self._runtime

    def _frames(self) -> tuple[str, ...]:
        """The project's frames, if the call that sleeps is its own; nothing where the test made it."""
        frame: FrameType | None = frames_of_threads().get(self._thread)
        shown: list[str] = []
        while frame is not None:
            path = frame.f_code.co_filename
            if (Path(path).name, frame.f_code.co_name) in _STARTS and not shown:
                return ()
            if path.startswith(_TESTS) and path != __file__:
                break
            if path.startswith(_PROJECT):
                shown.append(f"{path.removeprefix(str(_REPOSITORY) + '/')}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        return tuple(shown)


def _read(file: FileIO) -> str:
    """What the kernel says now."""
    return os.pread(file.fileno(), 4096, 0).decode()


def frames_of_threads() -> dict[int, FrameType]:
    """Those of all threads, with no garbage collection meanwhile.

    The interpreter's list of threads is locked then. Where a finalizer lets another thread run, which starts a third, that one
    waits for the list with the interpreter's own lock in its hand, and nothing ever runs again (Python before 3.11.9).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if enabled:
            gc.enable()


@cache
def _interpreter_memory() -> range:
    """Where the interpreter keeps its own lock: the mapping that holds its state. All other locks lie on the heap."""
    state = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= state < last:
            return range(first, last)
    return range(0)
