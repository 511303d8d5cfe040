"""What holds of waits, messages, answers and the circuit whatever comes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from watcher.backoff import (
    BACKOFF_CAP_SECONDS,
    RETRY_AFTER_CAP_SECONDS,
    backoff,
    capped_wait,
    parse_retry_after,
    poll_interval,
    probe_delay,
)
from watcher.compressor import circuit as rules
from watcher.compressor.circuit_state import Circuit, CircuitChange, Passed, Phase, Request
from watcher.compressor.failures import MESSAGE_LIMIT, one_line
from watcher.compressor.wire import Malformed, Pending, Refused, Result, read_answer
from watcher.model import Event, Failure, FailureKind

JITTERS = st.floats(0, 1, exclude_max=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
ANSWER_KEYS = st.sampled_from(["id", "status", "url", "input", "output", "success", "code", "message", "error"])
WORDS = st.sampled_from(["enqueued", "processing", "completed", "failed", "expired", "https://x/y", "1"])


@given(st.integers(0, 10_000), JITTERS)
def test_a_backoff_lies_between_nothing_and_a_minute(tries: int, jitter: float) -> None:
    """For any number of tries."""
    assert 0 <= backoff(tries, jitter) <= BACKOFF_CAP_SECONDS


@given(st.integers(1, 10_000), JITTERS)
def test_a_probe_waits_at_least_half_a_second(level: int, jitter: float) -> None:
    """And at most a minute, whatever the dice say."""
    assert 0.5 <= probe_delay(level, jitter) <= BACKOFF_CAP_SECONDS


@given(st.text() | st.none(), st.floats(0, 4e9))
def test_any_retry_after_gives_a_wait_that_can_be_kept(value: str | None, now: float) -> None:
    """No header, however odd, raises, goes back in time or stops us for longer than the cap."""
    asked = parse_retry_after(value, now)
    if asked is not None:
        assert asked >= 0
        assert 1 <= capped_wait(asked).seconds <= RETRY_AFTER_CAP_SECONDS


@given(st.floats(0, 1e9))
def test_a_poll_comes_again_within_fifteen_seconds(elapsed: float) -> None:
    """And never sooner than after half a second."""
    assert 0.5 <= poll_interval(elapsed) <= 15


@given(st.text(max_size=600), st.lists(st.text(min_size=8, max_size=30), max_size=3))
def test_any_text_becomes_one_short_line_without_the_secrets(text: str, secrets: list[str]) -> None:
    """Whatever an answer holds."""
    line = one_line(" ".join([text, *secrets]), secrets)
    assert line.isprintable()
    assert len(line) <= MESSAGE_LIMIT
    assert not any(secret in line for secret in secrets if secret.strip("*") and secret == secret.strip())


@given(JSON | st.dictionaries(ANSWER_KEYS, JSON | WORDS, max_size=6))
def test_any_json_is_one_of_the_four_answers(data: object) -> None:
    """Reading never raises; what says `success: false` is never a result; a result always has an address."""
    answer = read_answer(json.loads(json.dumps(data)))
    assert isinstance(answer, Result | Pending | Refused | Malformed)
    if isinstance(data, dict) and data.get("success") is False:
        assert isinstance(answer, Refused)
    if isinstance(answer, Result):
        assert answer.url
    if isinstance(answer, Pending):
        assert answer.id


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(0, 30), st.sampled_from("abc"))
def test_who_got_through_is_remembered_as_if_all_had_been_kept(passed: list[str], mark: int, name: str) -> None:
    """Two counts are enough to say whether anybody else got through since a mark."""
    state = Passed()
    for each in passed:
        state = state.add(each)
    assert state.others_since(mark, name) == any(each != name for each in passed[mark:])


# --- the circuit ----------------------------------------------------------------------------------------------------------------

NAMES = [f"image-{number}" for number in range(6)]
KINDS = {
    "lost": Failure(FailureKind.TRANSIENT, "lost", unknown=True),
    "500": Failure(FailureKind.TRANSIENT, "500", status=500),
    "refused": Failure(FailureKind.TRANSIENT, "refused", unreachable=True),
    "not fetched": Failure(FailureKind.TRANSIENT, "nobody came", status=422, not_fetched=True),
    "422": Failure(FailureKind.PERMANENT, "422", status=422),
    "429": Failure(FailureKind.THROTTLED, "429", status=429, retry_after=3),
    "429 forever": Failure(FailureKind.THROTTLED, "429", status=429, retry_after=1e9),
    "429 vague": Failure(FailureKind.THROTTLED, "429", status=429),
    "401": Failure(FailureKind.BLOCKED, "401", status=401, event=Event.API_UNAUTHORIZED),
    "402": Failure(FailureKind.BLOCKED, "402", status=402, event=Event.API_QUOTA),
}
INPUTS = st.tuples(
    st.sampled_from(["enter", "enter", "end", "end", "enqueue", "forget", "abandon", "wake"]),
    st.sampled_from(NAMES),
    st.sampled_from([None, None, *KINDS]),
    JITTERS,
)


@dataclass
class World:
    """Drives the circuit as the gate does, and checks at each step what must always hold."""

    circuit: Circuit = field(default_factory=Circuit)
    now: float = 0.0
    inside: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    first_entry: dict[str, int] = field(default_factory=dict)
    got_through: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)

    def enter(self, name: str) -> bool:
        if name in self.inside:
            return False
        if not rules.may_enter(self.circuit, name):
            self.circuit = rules.waits(self.circuit, name)
            return False
        self.circuit = rules.entered(self.circuit, name)
        self.inside[name] = self.circuit.passed.count
        self.first_entry.setdefault(name, len(self.got_through))
        return True

    def end(self, name: str, failure: Failure | None, jitter: float = 0.5) -> None:
        mark = self.inside.pop(name)
        if failure is None or failure.kind is FailureKind.PERMANENT:
            self.got_through.append(name)
        else:
            self.failures[name] += 1
        if failure is None:
            self.take(rules.succeeded(self.circuit, name, self.now))
        else:
            request = Request(name, mark, frozenset(self.inside))
            self.take(rules.failed(self.circuit, request, failure, self.now, jitter))

    def enqueue(self, name: str) -> None:
        """It is taken as a job, which is asked for later by another name."""
        del self.inside[name]
        self.jobs.add(name)
        self.got_through.append(name)
        self.take(rules.taken_as_job(self.circuit, name, self.now))

    def forget(self, name: str) -> None:
        """The turn of the image is over, and so is its job."""
        self.jobs.discard(name)
        self.circuit = rules.forgotten(rules.forgotten(self.circuit, f"{name}?"), name)

    def wake(self, failure: Failure | None, jitter: float = 0.5) -> None:
        if self.circuit.wake_at is None:
            return
        self.now = max(self.now, self.circuit.wake_at)
        if self.circuit.phase in (Phase.THROTTLED, Phase.HALF_OPEN):
            self.take(rules.woke(self.circuit))
        else:
            self.take(rules.probed(self.circuit, failure, self.now, jitter, idle=jitter < 0.3))

    def take(self, step: CircuitChange) -> None:
        self.circuit = step.circuit
        self.charged.update(step.charged)
        for name in step.charged:
            others = [each for each in self.got_through[self.first_entry[name] :] if each != name]
            assert others, f"{name} was charged though nobody else got through"
            assert self.charged[name] <= self.failures[name]
        for line in step.lines:
            topic = f"{line.event} {line.fields.get('capped')}"
            assert topic not in self.said, f"{topic} was said twice"
            self.said = set() if line.event is Event.API_RECOVERED else self.said | {topic}
        self.check()

    def check(self) -> None:
        phase, wake_at = self.circuit.phase, self.circuit.wake_at
        if phase in (Phase.OPEN, Phase.BLOCKED, Phase.THROTTLED, Phase.CHECKING):
            assert wake_at is not None, "nothing would ever end this"
            assert wake_at <= self.now + RETRY_AFTER_CAP_SECONDS
        if phase is Phase.HALF_OPEN:
            assert self.circuit.trial is None or self.circuit.trial in {*self.inside, *self.jobs}
        assert (self.circuit.unfetched | self.circuit.unpaid) <= self.circuit.streak
        if phase is Phase.CLOSED:
            assert self.circuit.episode is None


@given(st.lists(INPUTS, max_size=120))
@examples(150)
def test_the_circuit_keeps_its_promises_whatever_comes(inputs: list[tuple[str, str, str | None, float]]) -> None:
    """Never stuck, nothing said twice, one trial at a time, and nobody charged for what was everybody's."""
    world = World()
    for what, name, outcome, jitter in inputs:
        failure = KINDS[outcome] if outcome else None
        if what == "enter":
            world.enter(name)
        elif what == "end" and name in world.inside:
            world.end(name, failure, jitter)
        elif what == "abandon" and name in world.inside:
            del world.inside[name]
            world.circuit = rules.abandoned(world.circuit, name)
        elif what == "enqueue" and name in world.inside:
            world.enqueue(name)
        elif what == "forget" and name not in world.inside:
            world.forget(name)
        elif what == "wake":
            world.wake(failure, jitter)
        world.check()


@given(st.lists(INPUTS, max_size=60), st.sets(st.sampled_from(NAMES[:3])), st.sampled_from(["500", "402"]))
@example(
    [("enter", "image-0", None, 0.0), ("enter", "image-1", None, 0.0), ("enter", "image-3", None, 0.0)],
    {"image-0", "image-1", "image-2"},
    "402",
)
@examples(100)
def test_when_the_api_works_again_good_images_get_through_and_bad_ones_end(
    inputs: list[tuple[str, str, str | None, float]], bad: set[str], how: str
) -> None:
    """After any history: every good image is stored, although only few more come, and every one that fails by itself uses up its
    eight attempts. A 402 that all who are left meet is the account's and waits; it ends as soon as good images come again.
    """
    world = World()
    for what, name, outcome, jitter in inputs:
        if what == "enter":
            world.enter(name)
        elif what == "end" and name in world.inside:
            world.end(name, KINDS[outcome] if outcome else None, jitter)
        elif what == "wake":
            world.wake(KINDS[outcome] if outcome else None, jitter)
    for name in list(world.inside):
        world.end(name, KINDS["lost"])
    before = world.charged.copy()
    left = dict.fromkeys(NAMES, 0)
    for turn in range(400):
        left |= {f"dropped-{turn}": 0} if turn < 3 else {}
        _play_turn(world, left, bad, KINDS[how])
        _drop_ended(world, left, before)
        if not left:
            return
    assert how == "402", f"{sorted(left)} wait for ever"
    assert left.keys() <= bad, "a good image waits for ever"
    for turn in range(400):
        left |= {f"dropped-later-{turn}": 0} if turn < 300 else {}
        _play_turn(world, left, bad, KINDS[how])
        _drop_ended(world, left, before)
    assert not left


def _play_turn(world: World, left: dict[str, int], bad: set[str], failure: Failure) -> None:
    """Everybody who is left tries; those who are let in get what they deserve; the account answers."""
    failing = world.circuit.streak | world.circuit.suspects
    tried = [name for name in sorted(left, key=lambda name: name in failing) if world.enter(name)]
    for name in tried:
        world.end(name, failure if name in bad else None)
        if name not in bad:
            del left[name]
    world.wake(None)


def _drop_ended(world: World, left: dict[str, int], before: Counter[str]) -> None:
    for name in [name for name in left if world.charged[name] - before[name] >= 8]:
        del left[name]
        world.circuit = rules.forgotten(world.circuit, name)


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
@given(
    outcomes=st.lists(st.sampled_from(["lost", "500", "refused", "not fetched"]), min_size=1, max_size=80), account=st.booleans()
)
@examples(50)
def test_nobody_is_charged_while_nobody_gets_through(names: list[str], outcomes: list[str], account: bool) -> None:
    """However long an outage lasts, however many images try, whether or not the account answers."""
    world = World()
    for number, outcome in enumerate(outcomes):
        name = names[number % len(names)]
        if world.enter(name):
            world.end(name, KINDS[outcome])
        world.wake(None if account else KINDS["500"])
    assert not world.charged


@given(st.lists(st.tuples(st.sampled_from(["bad", *NAMES]), st.booleans()), max_size=150))
@examples(100)
def test_one_image_that_is_answered_403_never_stops_the_others(turns: list[tuple[str, bool]]) -> None:
    """In whatever order they come, while the account answers: everybody is let in at once, and nothing is said."""
    world = World()
    for name, woken in turns:
        assert world.enter(name)
        world.end(name, KINDS["402"] if name == "bad" else None)
        if woken:
            world.wake(None)
    assert not world.said
    assert set(world.charged) <= {"bad"}
