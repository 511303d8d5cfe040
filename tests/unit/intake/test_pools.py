"""Each folder's own threads: one that hangs keeps neither another folder's waiting nor the process."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.publishing import wait_until
from watcher.errors import NotAnswering
from watcher.intake.pools import WIDTHS, Lane, RootPools, made_progress

NAS, LOCAL = Path("/nas"), Path("/local")


@pytest.fixture
def dead_share() -> Iterator[threading.Event]:
    """What calls on a share wait for that does not answer, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


class Patience:
    """A clock that stands still when a test says so: what is to be done in time then has all the time of a busy machine."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self) -> float:
        return time.monotonic() if self._since is None else self._since

    def hold(self) -> None:
        self._since = time.monotonic()

    def let_go(self) -> None:
        self._since = None


@pytest.fixture
def clock() -> Patience:
    """The clock of the pools of little patience."""
    return Patience()


@pytest.fixture
def pools(clock: Patience) -> Iterator[RootPools]:
    """Pools of little patience."""
    with contextlib.closing(RootPools(0.05, clock)) as made:
        yield made


@pytest.fixture
def patient_pools() -> Iterator[RootPools]:
    """Pools whose patience a busy machine does not use up."""
    with contextlib.closing(RootPools(patience=30.0)) as made:
        yield made


async def test_results_and_errors_come_back(patient_pools: RootPools) -> None:
    """What the work returns or raises is what the caller gets."""
    assert await patient_pools.run(LOCAL, Lane.INTAKE, lambda: 42) == 42
    with pytest.raises(FileNotFoundError):
        await patient_pools.run(LOCAL, Lane.INTAKE, lambda: open("/nowhere/at/all").close())


async def test_a_call_that_hangs_is_given_up(pools: RootPools, dead_share: threading.Event) -> None:
    """Who waits is told within the patience, and who asks after that at once, once every thread of the lane hangs."""
    with pytest.raises(NotAnswering, match="/nas does not answer"):
        await pools.run(NAS, Lane.PROBE, dead_share.wait)
    assert not pools.answers(NAS)
    before = threading.active_count()
    for _ in range(50):
        with pytest.raises(NotAnswering):
            await asyncio.wait_for(pools.run(NAS, Lane.PROBE, dead_share.wait), 0.04)
    assert threading.active_count() == before, "every question left another thread behind"


async def test_a_folder_hangs_while_a_call_of_it_makes_no_progress(pools: RootPools, dead_share: threading.Event) -> None:
    """Whether or not somebody still waits for it. Moves to another disk say nothing of the folder."""
    pools.start(NAS, Lane.DISPOSAL, dead_share.wait)
    assert not pools.hangs(NAS, 0)
    pools.start(NAS, Lane.ORIGINALS, dead_share.wait)
    await wait_until(lambda: pools.hangs(NAS, 0.01))
    assert not pools.hangs(NAS, 60)
    assert not pools.hangs(LOCAL, 0)
    dead_share.set()
    await wait_until(lambda: not pools.hangs(NAS, 0.01))


async def test_other_folders_do_not_notice(pools: RootPools, clock: Patience, dead_share: threading.Event) -> None:
    """All threads of one folder hang, in every lane: another folder's work is done as ever."""
    clock.hold()
    hanging = [pools.run(NAS, lane, dead_share.wait) for lane in Lane for _ in range(WIDTHS[lane] + 3)]
    ended = asyncio.gather(*hanging, return_exceptions=True)
    assert [await pools.run(LOCAL, lane, lambda: "done") for lane in Lane] == ["done"] * len(Lane)
    clock.let_go()
    assert {type(each) for each in await ended} == {NotAnswering}
    assert pools.answers(LOCAL)


async def test_a_share_that_comes_back_is_used_again(pools: RootPools, clock: Patience, dead_share: threading.Event) -> None:
    """Its threads go on as soon as the calls return; what came too late is undone."""
    undone: list[object] = []
    with pytest.raises(NotAnswering):
        await pools.run(NAS, Lane.PROBE, dead_share.wait, undo=undone.append)
    dead_share.set()
    await wait_until(lambda: undone and pools.answers(NAS))
    clock.hold()
    assert await pools.run(NAS, Lane.PROBE, lambda: "back") == "back"


async def test_slow_work_that_moves_is_not_given_up(dead_share: threading.Event) -> None:
    """A large file takes as long as it takes, also for those who wait behind it; once it does not move, all are told."""
    patience, steps, moved, looks = 0.2, threading.Semaphore(0), threading.Semaphore(0), [0]
    clock = 0.0

    def now() -> float:
        looks[0] += threading.current_thread() is threading.main_thread()
        return clock

    def read() -> None:
        while steps.acquire() and not dead_share.is_set():
            made_progress()
            moved.release()

    async def looked_at() -> None:
        """Until the one who waits has looked again whether it moves."""
        before = looks[0]
        await wait_until(lambda: looks[0] > before)

    with contextlib.closing(RootPools(patience, now)) as pools:
        await pools.run(NAS, Lane.PROBE, lambda: "a thread is there")
        waiting = [asyncio.ensure_future(pools.run(NAS, Lane.PROBE, read)) for _ in range(WIDTHS[Lane.PROBE] + 1)]
        for _ in range(3):
            clock += 0.9 * patience
            steps.release(WIDTHS[Lane.PROBE])
            for _ in range(WIDTHS[Lane.PROBE]):
                await asyncio.to_thread(moved.acquire)
            await looked_at()
        assert not any(each.done() for each in waiting)
        clock += 1.1 * patience
        results = await asyncio.gather(*waiting, return_exceptions=True)
        dead_share.set()
        steps.release(WIDTHS[Lane.PROBE])
    assert {type(each) for each in results} == {NotAnswering}


async def test_no_more_threads_than_the_lane_has(patient_pools: RootPools) -> None:
    """However much is asked for at once; and all of it is done."""
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.001)
        with lock:
            inside -= 1

    await asyncio.gather(*(patient_pools.run(LOCAL, Lane.ORIGINALS, work) for _ in range(100)))
    assert 1 < most <= WIDTHS[Lane.ORIGINALS]


async def test_work_nobody_waits_for_is_done_even_on_the_way_out(pools: RootPools) -> None:
    """Descriptors are given back after the pools were closed as before."""
    for closed in (False, True):
        done = threading.Event()
        pools.start(LOCAL, Lane.ORIGINALS, done.set)
        assert await asyncio.to_thread(done.wait, 5), closed
        pools.close()
    with pytest.raises(NotAnswering):
        await pools.run(LOCAL, Lane.ORIGINALS, done.set)


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """The interpreter ends although a call on a dead share has not returned."""
    program = """
import asyncio, contextlib, threading
from pathlib import Path
from tests.support.publishing import wait_until
from watcher.errors import NotAnswering
from watcher.intake.pools import Lane, RootPools

async def main():
    pools = RootPools(patience=0.01)
    with contextlib.suppress(NotAnswering):
        await pools.run(Path("/nas"), Lane.PROBE, threading.Event().wait)
    pools.close()

asyncio.run(main())
print("ended")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.stdout, ended.stderr) == ("ended\n", "")
