"""Real threads and programs on the processors of this machine: together, apart, and where somebody else wants them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from watcher import one_processor
from watcher.one_processor import Threads, usage

EVERYWHERE = frozenset(os.sched_getaffinity(0))
pytestmark = pytest.mark.skipif(len(EVERYWHERE) < 2, reason="this machine has one processor only")


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Of this process, which is let go afterwards."""
    found = Threads()
    yield found
    found.scatter()
    for task in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # a thread of an earlier test, which has ended by now
            os.sched_setaffinity(int(task), EVERYWHERE)


@contextmanager
def thread(begins: Callable[[], object] = lambda: None) -> Iterator[int]:
    """A thread at work, by its number."""
    ready, done, numbers = threading.Event(), threading.Event(), list[int]()

    def work() -> None:
        numbers.append(threading.get_native_id())
        begins()
        ready.set()
        done.wait()

    worker = threading.Thread(target=work)
    worker.start()
    ready.wait()
    try:
        yield numbers[0]
    finally:
        done.set()
        worker.join()


def place_of(number: int = 0) -> frozenset[int]:
    return frozenset(os.sched_getaffinity(number))


def of_a_program() -> frozenset[int]:
    words = "import os; print(*os.sched_getaffinity(0))"
    return frozenset(map(int, subprocess.check_output([sys.executable, "-c", words], text=True).split()))


def test_all_threads_are_on_one_processor_and_those_that_begin_later(threads: Threads) -> None:
    """Until they are let go again."""
    with thread() as before:
        threads.gather()
        with thread() as later:
            (here,) = place_of()
            assert place_of(before) == place_of(later) == {here}
            threads.scatter()
            assert place_of() == place_of(before) == place_of(later) == EVERYWHERE


def test_who_is_apart_runs_everywhere(threads: Threads) -> None:
    """Whether it went apart before the others were gathered or after; and comes back when it is done."""
    apart = threads.apart()
    with thread(apart.__enter__) as early:
        threads.gather()
        here = place_of()
        assert (place_of(early), len(here)) == (EVERYWHERE, 1)
        with threads.apart(), threads.apart():
            assert place_of() == EVERYWHERE
        assert place_of() == here
    threads.scatter()
    with threads.apart():
        threads.gather()
        assert place_of() == EVERYWHERE
    assert len(place_of()) == 1


def test_a_program_that_is_begun_apart_runs_everywhere(threads: Threads) -> None:
    """Others inherit the processor: none of ours is begun so."""
    threads.gather()
    assert of_a_program() == place_of()
    with threads.apart():
        assert of_a_program() == EVERYWHERE


def test_processors_that_went_away_are_no_reason_to_fail(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can lose processors at any moment; whoever hashes a file goes on."""

    def refused(_thread: int, _where: Iterable[int]) -> None:
        raise OSError(errno.EINVAL, "no such processor")

    threads.gather()
    with monkeypatch.context() as patched:
        patched.setattr(os, "sched_setaffinity", refused)
        with threads.apart():
            done = True
    assert done


def test_somebody_elses_choice_is_noticed_once(threads: Threads) -> None:
    """And stays."""
    threads.gather()
    assert not threads.given_up()
    (here,) = place_of()
    other = {min(EVERYWHERE - {here})}
    os.sched_setaffinity(0, other)
    assert threads.given_up()
    assert not threads.together
    threads.scatter()
    assert place_of() == other


def test_a_process_with_one_processor_is_left_alone(threads: Threads) -> None:
    """There is nothing to choose."""
    os.sched_setaffinity(0, {min(EVERYWHERE)})
    threads.gather()
    assert not threads.together


def test_a_kernel_that_counts_nothing_is_no_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says "0 0 0" of each thread."""
    task = tmp_path / str(threading.get_native_id())
    task.mkdir()
    (task / "schedstat").write_text("0 0 0\n")
    monkeypatch.setattr(one_processor, "_TASKS", tmp_path)
    with pytest.raises(OSError, match="does not count"):
        usage()


def test_usage_grows_with_work() -> None:
    """What the kernel tells of this thread and of all."""
    before = usage()
    while usage().loop_ran - before.loop_ran < 0.01:
        sum(range(10_000))
    now = usage()
    assert now.at > before.at
    assert now.ran - before.ran >= 0.005
    assert now.loop_waited >= before.loop_waited
