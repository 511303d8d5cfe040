"""The gate at work: who waits, who is let in, what is asked and said, with tasks and a clock that is moved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.gates import ANSWERED_500, BAD_KEY, DOWN, SLOW_DOWN, GateBench, cancel, entering, let_in
from tests.support.publishing import wait_until
from tests.support.settled import settled
from watcher.compressor.circuit_state import Phase
from watcher.compressor.pacing import Pace
from watcher.errors import CallFailed
from watcher.model import Event


@pytest.fixture
async def bench() -> AsyncIterator[GateBench]:
    made = GateBench()
    yield made
    await made.gate.close()


async def test_a_free_way_holds_nobody_up(bench: GateBench) -> None:
    """A thousand requests, no wait, no question to the account, no line."""
    for number in range(1000):
        await bench.gate.enter(f"image-{number}")
        bench.gate.succeeded(f"image-{number}")
    assert bench.gate.state.is_free
    assert (bench.account.asked, bench.log.lines) == (0, [])


async def test_an_outage_lets_one_try_and_then_all(bench: GateBench) -> None:
    """Everybody waits; when the account answers one is let in, and at its success the others."""
    await bench.gate.enter("first")
    assert bench.gate.failed("first", DOWN) is False
    tasks = entering(bench.gate, "a", "b", "c")
    await settled()
    assert let_in(tasks) == set()
    assert bench.gate.state.waiting == 3
    await bench.reach(Phase.HALF_OPEN, 1)
    await settled()
    assert let_in(tasks) == {"a"}
    bench.gate.succeeded("a")
    await settled()
    assert let_in(tasks) == {"a", "b", "c"}
    assert bench.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
    assert bench.log.of(Event.API_RECOVERED)[0]["waited"] == 4


async def test_an_outage_costs_one_question_at_a_time(bench: GateBench) -> None:
    """Fifty images wait; the account is asked after 1, 2, 4 ... 60 s (three quarters of it here), never twice at once."""
    bench.account.failure = CallFailed(DOWN)
    await bench.gate.enter("first")
    bench.gate.failed("first", DOWN)
    tasks = entering(bench.gate, *(f"image-{number}" for number in range(50)))
    for number, wait in enumerate([0.75, 1.5, 3, 6, 12, 24, 45, 45]):
        await wait_until(lambda: bench.clock.sleepers == 1)
        assert bench.account.asked == number
        bench.clock.move(wait)
        await bench.asked(number + 1)
    await cancel(tasks)
    assert bench.account.most_at_once == 1
    assert bench.events == [Event.API_UNAVAILABLE]


async def test_a_trial_that_is_cancelled_passes_the_turn_on(bench: GateBench) -> None:
    """Whether it was only about to be let in, or already sending."""
    await bench.gate.enter("first")
    bench.gate.failed("first", DOWN)
    tasks = entering(bench.gate, "a", "b", "c")
    await bench.reach(Phase.HALF_OPEN, 1)
    tasks["a"].cancel()
    await wait_until(lambda: let_in(tasks) == {"b"} or tasks["a"].done())
    if "a" in let_in(tasks):
        bench.gate.abandoned("a")
    await wait_until(lambda: "b" in let_in(tasks))
    bench.gate.abandoned("b")
    await wait_until(lambda: "c" in let_in(tasks))


async def test_the_turn_of_who_is_cancelled_before_running_is_not_lost(bench: GateBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled in the very moment of being let in."""
    await bench.gate.enter("first")
    bench.gate.failed("first", DOWN)
    tasks = entering(bench.gate, "a", "b")
    await settled()
    release = bench.gate._release  # noqa: SLF001 - the moment cannot be hit from outside

    def release_and_cancel() -> None:
        release()
        tasks["a"].cancel()

    monkeypatch.setattr(bench.gate, "_release", release_and_cancel)
    await bench.reach(Phase.HALF_OPEN, 1)
    await wait_until(lambda: let_in(tasks) == {"b"})


async def test_an_image_that_did_not_fail_tries_first(bench: GateBench) -> None:
    """One that fails by itself must not keep the way shut for the others."""
    await bench.gate.enter("failing")
    bench.gate.failed("failing", DOWN)
    tasks = entering(bench.gate, "failing", "other")
    await bench.reach(Phase.HALF_OPEN, 1)
    await settled()
    assert let_in(tasks) == {"other"}
    bench.gate.succeeded("other")
    await settled()


async def test_a_charge_is_told_once(bench: GateBench) -> None:
    """The failure counted for nobody at first; a success of another makes it one attempt, asked for once."""
    await bench.gate.enter("bad")
    assert bench.gate.failed("bad", ANSWERED_500) is False
    assert bench.gate.attempts_charged("bad") == 0
    await bench.gate.enter("good")
    bench.gate.succeeded("good")
    assert bench.gate.attempts_charged("bad") == 1
    assert bench.gate.attempts_charged("bad") == 0


async def test_a_charge_of_who_has_ended_is_not_kept(bench: GateBench) -> None:
    """Nothing grows with the images that went through."""
    await bench.gate.enter("bad")
    bench.gate.failed("bad", ANSWERED_500)
    await bench.gate.enter("good")
    bench.gate.succeeded("good")
    bench.gate.forget("bad")
    assert bench.gate.attempts_charged("bad") == 0
    assert bench.gate._circuit.suspects == frozenset()  # noqa: SLF001 - what is only kept shows nowhere


async def test_a_throttled_time_holds_everybody(bench: GateBench) -> None:
    """Nobody before the time that was asked for, and the account is not asked at all."""
    await bench.gate.enter("a")
    assert bench.gate.failed("a", SLOW_DOWN) is False
    tasks = entering(bench.gate, "b", "c")
    bench.clock.move(29)
    await settled()
    assert let_in(tasks) == set()
    await bench.reach(Phase.HALF_OPEN, 1)
    await wait_until(lambda: let_in(tasks) == {"b"})
    bench.gate.succeeded("b")
    await wait_until(lambda: let_in(tasks) == {"b", "c"})
    assert bench.account.asked == 0
    assert bench.events == [Event.API_THROTTLED, Event.API_RECOVERED]


async def test_a_new_key_is_tried_at_once(bench: GateBench) -> None:
    """After a reload nobody has to wait for the next minute."""
    bench.account.failure = CallFailed(BAD_KEY)
    await bench.gate.enter("a")
    bench.gate.failed("a", BAD_KEY)
    for number, wait in enumerate([5, 10, 20]):
        await wait_until(lambda: bench.clock.sleepers == 1)
        bench.clock.move(wait)
        await bench.asked(number + 1)
    await wait_until(lambda: bench.clock.sleepers == 1)
    bench.account.failure = None
    bench.gate.recheck()
    await bench.asked(4)
    await asyncio.wait_for(bench.gate.enter("a"), 10)
    bench.gate.succeeded("a")
    assert bench.events == [Event.API_UNAUTHORIZED, Event.API_RECOVERED]


async def test_a_probe_that_breaks_keeps_nobody_waiting_for_ever(bench: GateBench, capsys: pytest.CaptureFixture[str]) -> None:
    """A defect of ours is told in full, counts as a failed probe, and the next one may find out that all is well."""
    await bench.gate.enter("a")
    bench.gate.failed("a", DOWN)
    bench.account.failure = ZeroDivisionError("a defect")
    tasks = entering(bench.gate, "b")
    await settled()
    bench.clock.move(1)
    await bench.asked(1)
    await settled()
    assert not tasks["b"].done()
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err
    bench.account.failure = None
    bench.clock.move(60)
    await asyncio.wait_for(tasks["b"], 10)


async def test_the_state_tells_since_when_and_why(bench: GateBench) -> None:
    """For status pages: the phase, Unix seconds, the message, how many wait and are under way."""
    await bench.gate.enter("a")
    await bench.gate.enter("b")
    assert (bench.gate.state.since, bench.gate.state.in_flight) == (None, 2)
    began = bench.clock.now()
    bench.gate.failed("a", DOWN)
    tasks = entering(bench.gate, "c")
    await settled()
    bench.clock.move(500)
    state = bench.gate.state
    assert (state.phase, state.message, state.waiting, state.in_flight) == (Phase.OPEN, DOWN.message, 1, 1)
    assert state.since is not None
    assert abs(state.since - began) < 100
    await cancel(tasks)


def test_a_pace_is_kept() -> None:
    """Forty a second, whenever they come: none is early, and no window sees more than its share and what is made up for."""
    pace, now, entries = Pace(40), 1_000.0, list[float]()
    for number in range(200):
        now += 0.0 if number % 50 else 0.5  # fifty at once, then a rest
        entries.append(max(now, now + pace.reserve(now)))
    for index, began in enumerate(entries):
        assert sum(began <= entry < began + 0.25 for entry in entries[index:]) <= 10 + 4 + 1
    assert entries == sorted(entries)
    assert entries[-1] - entries[0] == pytest.approx(200 / 40, rel=0.05)


def test_without_a_limit_nobody_waits() -> None:
    """Also after a limit was lifted."""
    pace = Pace(0.001)
    assert pace.reserve(1_000.0) <= 0
    assert pace.reserve(1_000.0) > 900
    pace.per_second = None
    assert pace.reserve(1_000.0) == 0


async def test_a_pace_can_be_lifted_while_running() -> None:
    """A reload without the limit: no more waiting."""
    bench = GateBench(per_second=0.001)
    await bench.gate.enter("a")
    bench.gate.pace(None)
    await asyncio.wait_for(bench.gate.enter("b"), 10)
    await bench.gate.close()


async def test_who_waits_for_his_pace_does_not_slip_through_a_circuit_that_opened() -> None:
    """Paced requests ask the circuit again when their time has come."""
    bench = GateBench(per_second=1)
    await bench.gate.enter("a")
    tasks = entering(bench.gate, "b")
    await settled()
    bench.gate.failed("a", SLOW_DOWN)
    bench.clock.move(2)
    await settled()
    assert let_in(tasks) == set()
    await cancel(tasks)
    await bench.gate.close()


async def test_closing_leaves_no_task_behind(bench: GateBench) -> None:
    """In an outage with a probe to come."""
    await bench.gate.enter("a")
    bench.gate.failed("a", DOWN)
    await settled()
    await bench.gate.close()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("gate-")] == []
