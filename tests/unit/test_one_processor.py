"""When the threads of the daemon stay on one processor, and when they leave it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fakes import StillClock
from watcher.one_processor import CROWDED, LOOK_SECONDS, Threads, Usage, is_crowded, keep_together

START = Usage(at=100.0, ran=50.0, loop_ran=20.0, loop_waited=3.0)


def later(ran: float = 0.0, loop_ran: float = 0.0, loop_waited: float = 0.0, after: Usage = START) -> Usage:
    return Usage(after.at + LOOK_SECONDS, after.ran + ran, after.loop_ran + loop_ran, after.loop_waited + loop_waited)


@pytest.mark.parametrize(
    ("now", "crowded"),
    [
        pytest.param(later(), False, id="nothing was done"),
        pytest.param(later(ran=1.0, loop_ran=0.6, loop_waited=0.4), False, id="it waited for its own threads alone"),
        pytest.param(later(ran=0.6, loop_ran=0.6, loop_waited=CROWDED + 0.01), True, id="it waited for others"),
        pytest.param(later(ran=0.6, loop_ran=0.6, loop_waited=CROWDED - 0.01), False, id="it hardly waited for others"),
        pytest.param(later(ran=0.5, loop_ran=0.3, loop_waited=0.2 + CROWDED + 0.01), True, id="it waited for both"),
        pytest.param(later(ran=1.9, loop_ran=0.9, loop_waited=0.1), False, id="its threads ran elsewhere at the same time"),
    ],
)
def test_a_processor_is_crowded_where_others_keep_the_loop_waiting(now: Usage, *, crowded: bool) -> None:
    """Its own threads do not count: they would have to be waited for anywhere."""
    assert is_crowded(START, now) is crowded


class Moves(Threads):
    """Threads that are moved on paper only; `elsewhere`: somebody else chose."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.elsewhere = False

    def gather(self) -> None:
        self.made.append("gather")

    def scatter(self) -> None:
        self.made.append("scatter")

    @property
    def together(self) -> bool:
        return self.made[-1] == "gather"

    def given_up(self) -> bool:
        return self.elsewhere


class End(Exception):
    """Of the test."""


async def moves_after(*measured: Usage) -> list[str]:
    threads, values = Moves(), iter((START, *measured))

    def measure() -> Usage:
        try:
            return next(values)
        except StopIteration:
            raise End from None

    with pytest.raises(End):
        await keep_together(StillClock(), threads, measure)
    return threads.made[:-1]


async def test_they_are_together_from_the_start() -> None:
    """And stay so while nobody else wants the processor."""
    busy = later(ran=0.9, loop_ran=0.6, loop_waited=0.3)
    assert await moves_after(busy, later(ran=0.9, loop_ran=0.6, loop_waited=0.3, after=busy)) == ["gather"]


async def test_the_kernel_is_asked_for_another_processor_where_one_is_crowded() -> None:
    """For one look it may move them; then they are gathered where it has the loop run."""
    crowded = later(ran=0.4, loop_ran=0.4, loop_waited=0.6)
    assert await moves_after(crowded) == ["gather", "scatter"]
    assert await moves_after(crowded, later(ran=0.9, loop_ran=0.6, after=crowded)) == ["gather", "scatter", "gather"]


async def test_what_somebody_else_chose_is_left_so() -> None:
    """Who runs taskset on the daemon has a reason."""
    threads = Moves()
    threads.elsewhere = True
    await keep_together(StillClock(), threads, lambda: START)
    assert threads.made == ["gather", "scatter"]


def refusing(*values: Usage) -> Iterator[Usage]:
    yield from values
    raise OSError("not allowed")


@pytest.mark.parametrize("values", [(), (START,)], ids=["at once", "later"])
async def test_a_kernel_that_does_not_tell_is_left_alone(values: tuple[Usage, ...]) -> None:
    """Nobody could tell there that others crowd the processor."""
    threads, measured = Moves(), refusing(*values)
    await keep_together(StillClock(), threads, lambda: next(measured))
    assert threads.made[-1] == "scatter"
