"""The gate at work: who waits, who is let in, what is asked and said, with tasks, time and a real API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.standin import DEFAULT_KEY, Fault, Standin
from watcher.compressor.circuit_state import Phase
from watcher.compressor.client import CompressorClient
from watcher.compressor.gate import CircuitGate
from watcher.errors import CallFailed
from watcher.model import Event, Failure, FailureKind

DOWN = Failure(FailureKind.TRANSIENT, "the API cannot be reached", unreachable=True)
ANSWERED_500 = Failure(FailureKind.TRANSIENT, "the API answered 500", status=500)
BAD_KEY = Failure(FailureKind.BLOCKED, "the API answered 401", "set a key", status=401, event=Event.API_UNAUTHORIZED)
SLOW_DOWN = Failure(FailureKind.THROTTLED, "the API answered 429", status=429, retry_after=30)


class Account:
    """`GET /account`, answering what the test says or what a real one does, counting."""

    def __init__(self, ask: Callable[[], Awaitable[None]] | None = None) -> None:
        self._ask = ask
        self.failure: Exception | None = None
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> None:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self._ask() if self._ask else asyncio.sleep(0))
            if self.failure is not None:
                raise self.failure
        finally:
            self.at_once -= 1


class Parts:
    """A gate with everything that a test wants to look at."""

    def __init__(self, ask: Callable[[], Awaitable[None]] | None = None, per_second: float | None = None) -> None:
        self.account = Account(ask)
        self.log = RecordedLog()
        self.clock = MovedClock()
        self.gate = CircuitGate(self.account, self.log, self.clock, lambda: 0.5, per_second)

    @property
    def phase(self) -> Phase:
        return self.gate.state.phase

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.log.lines]

    async def asked(self, times: int) -> None:
        """Wait until the account was asked so often."""
        await wait_until(lambda: self.account.asked == times)

    async def reach(self, phase: Phase, seconds: float = 0.0) -> None:
        """Move the time and wait until the circuit is there."""
        self.clock.move(seconds)
        await wait_until(lambda: self.phase is phase)


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    made = Parts()
    yield made
    await made.gate.close()


def entering(gate: CircuitGate, *names: str) -> dict[str, asyncio.Task[None]]:
    """Tasks that want in."""
    return {name: asyncio.create_task(gate.enter(name), name=name) for name in names}


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def let_in(tasks: dict[str, asyncio.Task[None]]) -> set[str]:
    """Who is in."""
    return {name for name, task in tasks.items() if task.done() and not task.cancelled()}


async def cancel(tasks: dict[str, asyncio.Task[None]]) -> None:
    """Give up waiting."""
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def test_a_free_way_holds_nobody_up(parts: Parts) -> None:
    """A thousand requests, no wait, no question to the account, no line."""
    for number in range(1000):
        await parts.gate.enter(f"image-{number}")
        parts.gate.succeeded(f"image-{number}")
    assert parts.gate.state.is_free
    assert (parts.account.asked, parts.log.lines) == (0, [])


async def test_an_outage_lets_one_try_and_then_all(parts: Parts) -> None:
    """Everybody waits; when the account answers one is let in, and at its success the others."""
    await parts.gate.enter("first")
    assert parts.gate.failed("first", DOWN) is False
    tasks = entering(parts.gate, "a", "b", "c")
    await settle()
    assert let_in(tasks) == set()
    assert parts.gate.state.waiting == 3
    await parts.reach(Phase.HALF_OPEN, 1)
    await settle()
    assert let_in(tasks) == {"a"}
    parts.gate.succeeded("a")
    await settle()
    assert let_in(tasks) == {"a", "b", "c"}
    assert parts.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
    assert parts.log.of(Event.API_RECOVERED)[0]["waited"] == 4


async def test_an_outage_costs_one_question_at_a_time(parts: Parts) -> None:
    """Fifty images wait; the account is asked after 1, 2, 4 ... 60 s (three quarters of it here), never twice at once."""
    parts.account.failure = CallFailed(DOWN)
    await parts.gate.enter("first")
    parts.gate.failed("first", DOWN)
    tasks = entering(parts.gate, *(f"image-{number}" for number in range(50)))
    for number, wait in enumerate([0.75, 1.5, 3, 6, 12, 24, 45, 45]):
        await wait_until(lambda: parts.clock.sleepers == 1)
        assert parts.account.asked == number
        parts.clock.move(wait)
        await parts.asked(number + 1)
    await cancel(tasks)
    assert parts.account.most_at_once == 1
    assert parts.events == [Event.API_UNAVAILABLE]


async def test_a_trial_that_is_cancelled_passes_the_turn_on(parts: Parts) -> None:
    """Whether it was only about to be let in, or already sending."""
    await parts.gate.enter("first")
    parts.gate.failed("first", DOWN)
    tasks = entering(parts.gate, "a", "b", "c")
    await parts.reach(Phase.HALF_OPEN, 1)
    tasks["a"].cancel()
    await wait_until(lambda: let_in(tasks) == {"b"} or tasks["a"].done())
    if "a" in let_in(tasks):
        parts.gate.abandoned("a")
    await wait_until(lambda: "b" in let_in(tasks))
    parts.gate.abandoned("b")
    await wait_until(lambda: "c" in let_in(tasks))


async def test_the_turn_of_who_is_cancelled_before_running_is_not_lost(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled in the very moment of being let in."""
    await parts.gate.enter("first")
    parts.gate.failed("first", DOWN)
    tasks = entering(parts.gate, "a", "b")
    await settle()
    release = parts.gate._release  # noqa: SLF001 - the moment cannot be hit from outside

    def release_and_cancel() -> None:
        release()
        tasks["a"].cancel()

    monkeypatch.setattr(parts.gate, "_release", release_and_cancel)
    await parts.reach(Phase.HALF_OPEN, 1)
    await wait_until(lambda: let_in(tasks) == {"b"})


async def test_an_image_that_did_not_fail_tries_first(parts: Parts) -> None:
    """One that fails by itself must not keep the way shut for the others."""
    await parts.gate.enter("failing")
    parts.gate.failed("failing", DOWN)
    tasks = entering(parts.gate, "failing", "other")
    await parts.reach(Phase.HALF_OPEN, 1)
    await settle()
    assert let_in(tasks) == {"other"}
    parts.gate.succeeded("other")
    await settle()


async def test_a_charge_is_told_once(parts: Parts) -> None:
    """The failure counted for nobody at first; a success of another makes it one attempt, asked for once."""
    await parts.gate.enter("bad")
    assert parts.gate.failed("bad", ANSWERED_500) is False
    assert parts.gate.attempts_charged("bad") == 0
    await parts.gate.enter("good")
    parts.gate.succeeded("good")
    assert parts.gate.attempts_charged("bad") == 1
    assert parts.gate.attempts_charged("bad") == 0


async def test_a_charge_of_who_has_ended_is_not_kept(parts: Parts) -> None:
    """Nothing grows with the images that went through."""
    await parts.gate.enter("bad")
    parts.gate.failed("bad", ANSWERED_500)
    await parts.gate.enter("good")
    parts.gate.succeeded("good")
    parts.gate.forget("bad")
    assert parts.gate.attempts_charged("bad") == 0
    assert parts.gate._circuit.suspects == frozenset()  # noqa: SLF001 - what is only kept shows nowhere


async def test_a_throttled_time_holds_everybody(parts: Parts) -> None:
    """Nobody before the time that was asked for, and the account is not asked at all."""
    await parts.gate.enter("a")
    assert parts.gate.failed("a", SLOW_DOWN) is False
    tasks = entering(parts.gate, "b", "c")
    parts.clock.move(29)
    await settle()
    assert let_in(tasks) == set()
    await parts.reach(Phase.HALF_OPEN, 1)
    await wait_until(lambda: let_in(tasks) == {"b"})
    parts.gate.succeeded("b")
    await wait_until(lambda: let_in(tasks) == {"b", "c"})
    assert parts.account.asked == 0
    assert parts.events == [Event.API_THROTTLED, Event.API_RECOVERED]


async def test_a_new_key_is_tried_at_once(parts: Parts) -> None:
    """After a reload nobody has to wait for the next minute."""
    parts.account.failure = CallFailed(BAD_KEY)
    await parts.gate.enter("a")
    parts.gate.failed("a", BAD_KEY)
    for number, wait in enumerate([5, 10, 20]):
        await wait_until(lambda: parts.clock.sleepers == 1)
        parts.clock.move(wait)
        await parts.asked(number + 1)
    await wait_until(lambda: parts.clock.sleepers == 1)
    parts.account.failure = None
    parts.gate.recheck()
    await parts.asked(4)
    await asyncio.wait_for(parts.gate.enter("a"), 10)
    parts.gate.succeeded("a")
    assert parts.events == [Event.API_UNAUTHORIZED, Event.API_RECOVERED]


async def test_a_probe_that_breaks_keeps_nobody_waiting_for_ever(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    """A defect of ours is told in full, counts as a failed probe, and the next one may find out that all is well."""
    await parts.gate.enter("a")
    parts.gate.failed("a", DOWN)
    parts.account.failure = ZeroDivisionError("a defect")
    tasks = entering(parts.gate, "b")
    await settle()
    parts.clock.move(1)
    await parts.asked(1)
    await settle()
    assert not tasks["b"].done()
    assert "ZeroDivisionError: a defect" in capsys.readouterr().err
    parts.account.failure = None
    parts.clock.move(60)
    await asyncio.wait_for(tasks["b"], 10)


async def test_the_state_tells_since_when_and_why(parts: Parts) -> None:
    """For status pages: the phase, Unix seconds, the message, how many wait and are under way."""
    await parts.gate.enter("a")
    await parts.gate.enter("b")
    assert (parts.gate.state.since, parts.gate.state.in_flight) == (None, 2)
    began = parts.clock.now()
    parts.gate.failed("a", DOWN)
    tasks = entering(parts.gate, "c")
    await settle()
    parts.clock.move(0.5)
    state = parts.gate.state
    assert (state.phase, state.message, state.waiting, state.in_flight) == (Phase.OPEN, DOWN.message, 1, 1)
    assert state.since is not None
    assert abs(state.since - began) < 0.4
    await cancel(tasks)


async def test_a_pace_is_kept() -> None:
    """Forty a second: no window of a quarter second sees more than its share and the little that is made up for."""
    parts = Parts(per_second=40)
    entries: list[float] = []

    async def one(name: str) -> None:
        await parts.gate.enter(name)
        entries.append(time.monotonic())
        parts.gate.succeeded(name)

    await asyncio.gather(*(one(f"image-{number}") for number in range(32)))
    for index, began in enumerate(entries):
        assert sum(began <= entry < began + 0.25 for entry in entries[index:]) <= 10 + 4 + 2
    assert entries[-1] - entries[0] >= 31 / 40 - 0.15
    await parts.gate.close()


async def test_a_pace_can_be_lifted_while_running() -> None:
    """A reload without the limit: no more waiting."""
    parts = Parts(per_second=0.001)
    await parts.gate.enter("a")
    parts.gate.pace(None)
    await asyncio.wait_for(parts.gate.enter("b"), 10)
    await parts.gate.close()


async def test_who_waits_for_his_pace_does_not_slip_through_a_circuit_that_opened() -> None:
    """Paced requests ask the circuit again when their time has come."""
    parts = Parts(per_second=1)
    await parts.gate.enter("a")
    tasks = entering(parts.gate, "b")
    await settle()
    parts.gate.failed("a", SLOW_DOWN)
    parts.clock.move(2)
    await settle()
    assert let_in(tasks) == set()
    await cancel(tasks)
    await parts.gate.close()


async def test_closing_leaves_no_task_behind(parts: Parts) -> None:
    """In an outage with a probe to come."""
    await parts.gate.enter("a")
    parts.gate.failed("a", DOWN)
    await settle()
    await parts.gate.close()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("gate-")] == []


async def test_a_real_api_that_goes_and_comes_back_is_found_again() -> None:
    """Stopped, refused, waited for, started on the same port, recovered: one line each, and nothing but probes meanwhile."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=10) as client:
        parts = Parts(client.account)
        await standin.stop()
        await parts.gate.enter("a")
        with pytest.raises(CallFailed) as caught:
            await client.account()
        parts.gate.failed("a", caught.value.failure)
        tasks = entering(parts.gate, "a", "b")
        for number in range(3):
            await wait_until(lambda: parts.clock.sleepers == 1)
            parts.clock.move(60)
            await parts.asked(number + 1)
        await wait_until(lambda: parts.clock.sleepers == 1)
        await standin.start()
        parts.clock.move(60)
        await wait_until(lambda: len(let_in(tasks)) == 1)
        parts.gate.succeeded(let_in(tasks).pop())
        await asyncio.gather(*tasks.values())
        assert (standin.calls["account"], standin.calls["fetch"]) == (1, 0)
        assert parts.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
        await parts.gate.close()


async def test_an_api_that_answers_500_to_everything_is_an_outage_at_the_first_failure() -> None:
    """The account page fails too: said at once, and nobody is charged."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=10) as client:
        standin.faults = [Fault("status", on=("fetch", "account"), status=500)]
        parts = Parts(client.account)
        await parts.gate.enter("a")
        parts.gate.failed("a", ANSWERED_500)
        await wait_until(lambda: parts.phase is Phase.OPEN)
        assert parts.events == [Event.API_UNAVAILABLE]
        await parts.gate.close()
