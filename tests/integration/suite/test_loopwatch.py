"""The helper that finds blocking calls finds them, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.loopwatch import LoopWatch, frames_of_threads

PROJECT = Path(__file__).resolve().parents[3] / "watcher"


def project_function(body: str) -> Callable[..., Any]:
    """A function that counts as the project's: `body` is its one expression, of the argument `it`."""
    space: dict[str, Any] = {"time": time}
    exec(compile(f"def made_up(it):\n    return {body}\n", str(PROJECT / "made_up.py"), "exec"), space)
    function: Callable[..., Any] = space["made_up"]
    return function


async def in_the_loop(function: Callable[..., Any], *arguments: Any) -> None:
    """Run it as a callback of the running loop, and a few more."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (function(*arguments), done.set()))
    await done.wait()
    await asyncio.sleep(0.02)


async def test_a_call_of_the_project_that_blocks_is_found() -> None:
    """With its place, and about as long as it was; once, however long it lasts."""
    with LoopWatch() as watch:
        await in_the_loop(project_function("time.sleep(it)"), 0.2)
    (call,) = watch.blocked
    assert "watcher/made_up.py:2 made_up" in str(call)
    assert 0.05 < call.seconds < 5


async def test_a_lock_that_somebody_else_holds_is_found() -> None:
    """Waiting for a thread is waiting."""
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.2, lock.release).start()
    with LoopWatch() as watch:
        await in_the_loop(project_function("it.acquire()"), lock)
    assert len(watch.blocked) == 1


async def test_a_lock_that_is_waited_for_with_a_timeout_is_found() -> None:
    """It waits in the kernel as for the interpreter's lock, which is not told, but for another."""
    lock = threading.Lock()
    lock.acquire()
    with LoopWatch() as watch:
        await in_the_loop(project_function("it.acquire(timeout=0.2)"), lock)
    assert len(watch.blocked) == 1


async def test_what_the_test_itself_waits_for_is_not_told() -> None:
    """Its own calls are not the project's, even below one of the project's."""
    with LoopWatch() as watch:
        await in_the_loop(time.sleep, 0.15)
        await in_the_loop(project_function("it()"), lambda: time.sleep(0.15))
    assert watch.blocked == []


async def test_computing_and_waiting_in_the_loop_are_not_told() -> None:
    """A busy processor, a thread that fights for the interpreter's lock, and an idle loop are no blocking calls."""
    ends = time.monotonic() + 0.3
    threading.Thread(target=project_function("[None for _ in iter(lambda: time.monotonic() < it, False)]"), args=(ends,)).start()
    with LoopWatch() as watch:
        await in_the_loop(project_function("[None for _ in iter(lambda: time.monotonic() < it, False)]"), ends)
        await asyncio.sleep(0.15)
    assert watch.blocked == []


def test_nothing_is_collected_while_threads_are_listed() -> None:
    """A finalizer that runs then can stop the process for good."""
    collected_in: list[str] = []

    def look(phase: str, _: dict[str, int]) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        collected_in.append(frame.f_back.f_code.co_name)

    thresholds = gc.get_threshold()
    gc.callbacks.append(look)
    gc.set_threshold(1)
    try:
        for _ in range(10):
            frames_of_threads()
            gc.collect(0)
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(look)
    assert collected_in
    assert "frames_of_threads" not in collected_in
