"""The loop that is woken only where it sleeps: nothing is left lying, and what it relies on of asyncio is there."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from watcher.service.event_loop import DaemonLoop
from watcher.service.process import run_to_the_end

CHANGED = "asyncio has changed its insides; adapt watcher/service/event_loop.py:"
PATIENCE_SECONDS = 60


@pytest.fixture
def loop() -> Iterator[DaemonLoop]:
    """One that does not run yet."""
    made = DaemonLoop()
    yield made
    made.close()


def test_asyncio_is_as_it_was(loop: DaemonLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is ready is one object for the loop's life, and a call from a thread is added to it before the loop is woken."""
    ready, found = getattr(loop, "_ready", None), []
    monkeypatch.setattr(loop, "_write_to_self", lambda: found.append(len(ready or ())))
    loop.call_soon_threadsafe(found.append, "called")
    assert found == [1], f"{CHANGED} a call from a thread is not in `_ready` when `_write_to_self` is called"
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert found == [1, "called"]
    assert loop._ready is ready, f"{CHANGED} `_ready` is another object than before"  # type: ignore[attr-defined] # noqa: SLF001


def test_the_daemon_runs_in_it() -> None:
    """And so does every command."""

    async def work() -> int:
        return int(isinstance(asyncio.get_running_loop(), DaemonLoop))

    assert run_to_the_end(work()) == 1


def test_a_loop_that_sleeps_is_woken_by_each_thread(loop: DaemonLoop) -> None:
    """It has no timer that would wake it; many threads call at once, thousands of times, and every call is made."""

    async def answer(pool: ThreadPoolExecutor) -> int:
        future: asyncio.Future[int] = loop.create_future()
        pool.submit(loop.call_soon_threadsafe, future.set_result, 1)
        return await future

    async def work() -> int:
        with ThreadPoolExecutor(4) as pool:
            one_by_one = [await answer(pool) for _ in range(500)]
            together = [await asyncio.gather(*(answer(pool) for _ in range(8))) for _ in range(250)]
        return len(one_by_one) + sum(map(len, together))

    done: list[int] = []
    runner = threading.Thread(target=lambda: done.append(loop.run_until_complete(work())), daemon=True)
    runner.start()
    runner.join(PATIENCE_SECONDS)
    assert done == [2500]


def test_a_loop_that_works_is_not_woken(loop: DaemonLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes the calls all the same, before it sleeps."""
    wakes, called = [], []
    monkeypatch.setattr(asyncio.SelectorEventLoop, "_write_to_self", lambda _: wakes.append(1))

    async def work() -> None:
        for number in range(10):
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.append, number))
            thread.start()
            thread.join(PATIENCE_SECONDS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(work())
    assert called == list(range(10))
    assert not wakes


def test_what_comes_just_before_it_sleeps_keeps_it_awake(loop: DaemonLoop) -> None:
    """The loop has looked, then a thread adds a call, then the loop goes to sleep: it must not."""
    loop.call_soon(lambda: None)
    assert loop._watched.select(None) is not None  # noqa: SLF001 - it would hang


def test_a_signal_wakes_it(loop: DaemonLoop) -> None:
    """Python's own handler writes into the same socket, from wherever the signal comes."""
    caught: list[int] = []

    async def work() -> None:
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR2, lambda: (caught.append(1), told.set()))
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2))
        timer.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await told.wait()
        timer.join()

    loop.run_until_complete(work())
    assert caught == [1]
