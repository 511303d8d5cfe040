"""Whose attempt a failure was, who waits, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from watcher.compressor import circuit as rules
from watcher.compressor.circuit import STREAK_LIMIT
from watcher.compressor.circuit_state import Circuit, CircuitChange, Phase, Request
from watcher.model import Event, Failure, FailureKind

ANSWERED_500 = Failure(FailureKind.TRANSIENT, "the API answered 500: oops", status=500)
LOST = Failure(FailureKind.TRANSIENT, "the connection was lost", unknown=True)
REFUSED = Failure(FailureKind.TRANSIENT, "the API cannot be reached", "check compressor.url", unreachable=True)
NOT_FETCHED = Failure(FailureKind.TRANSIENT, "nobody came for the original", "look at public_url", status=422, not_fetched=True)
BAD_IMAGE = Failure(FailureKind.PERMANENT, "the API answered 422: no image", status=422)
BAD_KEY = Failure(FailureKind.BLOCKED, "the API answered 401: no", "set a key", status=401, event=Event.API_UNAUTHORIZED)
NO_QUOTA = Failure(FailureKind.BLOCKED, "the API answered 402: pay", status=402, event=Event.API_QUOTA)


def throttled(retry_after: float | None = None) -> Failure:
    """A 429."""
    return Failure(FailureKind.THROTTLED, "the API answered 429: slow down", status=429, retry_after=retry_after)


@dataclass
class Way:
    """Plays inputs to the circuit, and collects what it says and whom it charges."""

    circuit: Circuit = field(default_factory=Circuit)
    now: float = 100.0
    lines: list[tuple[Event, dict[str, object]]] = field(default_factory=list)
    charged: list[str] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def _apply(self, step: CircuitChange) -> frozenset[str]:
        self.circuit = step.circuit
        self.lines += [(line.event, dict(line.fields)) for line in step.lines]
        self.charged += sorted(step.charged)
        return step.charged

    def enter(self, name: str) -> bool:
        if not rules.may_enter(self.circuit, name):
            self.circuit = rules.waits(self.circuit, name)
            return False
        self.circuit = rules.entered(self.circuit, name)
        self.marks[name] = self.circuit.passed.count
        return True

    def succeed(self, name: str) -> None:
        self.marks.pop(name, None)
        self._apply(rules.succeeded(self.circuit, name, self.now))

    def enqueue(self, name: str) -> None:
        """It is taken as a job."""
        self.marks.pop(name, None)
        self._apply(rules.taken_as_job(self.circuit, name, self.now))

    def fail(self, name: str, failure: Failure = ANSWERED_500) -> frozenset[str]:
        mark = self.marks.pop(name, self.circuit.passed.count)
        request = Request(name, mark, frozenset(self.marks))
        return self._apply(rules.failed(self.circuit, request, failure, self.now, 0.5))

    def probe(self, failure: Failure | None = None, *, idle: bool = False) -> None:
        """Time goes on to the next probe, and it is answered."""
        assert self.circuit.wake_at is not None
        self.now = max(self.now, self.circuit.wake_at)
        self._apply(rules.probed(self.circuit, failure, self.now, 0.5, idle=idle))

    def wake(self) -> None:
        assert self.circuit.wake_at is not None
        self.now = max(self.now, self.circuit.wake_at)
        self._apply(rules.woke(self.circuit))

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.lines]

    def send(self, name: str, failure: Failure | None = None) -> None:
        assert self.enter(name), f"{name} should be let in while {self.circuit.phase}"
        if failure is None:
            self.succeed(name)
        else:
            self.fail(name, failure)


def test_an_image_that_fails_while_another_gets_through_has_used_one_attempt() -> None:
    """The charge comes with the other's success, and nothing is logged of the API."""
    way = Way()
    way.send("bad", ANSWERED_500)
    assert way.charged == []
    way.send("good")
    assert way.charged == ["bad"]
    assert way.circuit.phase is Phase.CLOSED
    assert way.events == []


def test_an_images_own_later_success_does_not_charge_it() -> None:
    """A failure that its own next try puts right was no evidence of others getting through."""
    way = Way()
    way.send("one", ANSWERED_500)
    way.send("one")
    way.send("two")
    assert way.charged == []


def test_two_failing_images_are_both_charged_when_a_third_gets_through() -> None:
    """Two images that fail by themselves do not shield each other."""
    way = Way()
    way.send("a", ANSWERED_500)
    way.send("b", LOST)
    way.send("c")
    assert sorted(way.charged) == ["a", "b"]


def test_nobody_is_charged_where_nobody_gets_through() -> None:
    """A long outage of 500s with a healthy account page: one line, ever rarer trials, and no attempt used."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, ANSWERED_500)
    assert way.circuit.phase is Phase.CHECKING
    assert way.events == []
    for number in range(20):
        way.probe()
        assert way.circuit.phase is Phase.HALF_OPEN
        way.send("abc"[number % 3], ANSWERED_500)
        assert way.circuit.phase is Phase.OPEN
    assert way.events == [Event.API_UNAVAILABLE]
    way.probe()
    way.send("d")
    assert way.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
    assert way.charged == []


def test_a_lone_image_with_a_dead_api_uses_no_attempt_however_long_it_lasts() -> None:
    """One single image, 500 at every try: said once, never charged."""
    way = Way()
    for _ in range(50):
        if way.circuit.phase is not Phase.CLOSED:
            way.probe()
        way.send("only", ANSWERED_500)
        if way.circuit.phase is Phase.CLOSED:
            way.probe()
    assert way.charged == []
    assert way.events == [Event.API_UNAVAILABLE]


def test_an_image_that_failed_beside_others_is_charged_when_it_goes_on_failing_alone() -> None:
    """After others got through, failing is the image's own even though nobody else is left, as long as the account answers."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    for _ in range(7):
        way.send("bad", ANSWERED_500)
        way.probe()
    assert way.charged == ["bad"] * 8
    assert way.events == []


def test_an_image_that_failed_beside_others_is_not_charged_once_the_api_is_down() -> None:
    """A suspect is a victim like all others when the account does not answer either."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    way.charged.clear()
    way.send("bad", ANSWERED_500)
    way.probe(ANSWERED_500)
    assert way.circuit.phase is Phase.OPEN
    way.probe(REFUSED)
    assert way.charged == []
    assert way.events == [Event.API_UNAVAILABLE]


def test_an_image_that_fails_last_of_its_batch_is_charged() -> None:
    """The others got through while its request was under way, nobody else is there, and the account answers."""
    way = Way()
    way.enter("slow")
    way.send("quick")
    assert way.fail("slow") == frozenset()
    way.probe()
    assert way.charged == ["slow"]


def test_requests_cut_off_together_are_nobodys_attempt() -> None:
    """An outage that strikes sixteen requests under way, among others that just got through, charges none of them."""
    way = Way()
    names = [f"image-{number}" for number in range(16)]
    for name in names:
        way.enter(name)
    way.send("just-before")
    for name in names:
        way.fail(name, LOST)
    way.probe(REFUSED)
    way.probe()
    way.send("image-0")
    for name in names[1:]:
        way.send(name)
    assert way.charged == []
    assert way.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]


def test_an_unreachable_api_opens_at_once() -> None:
    """Connection refused: nobody else needs to try."""
    way = Way()
    way.send("a", REFUSED)
    assert way.circuit.phase is Phase.OPEN
    assert not way.enter("b")
    assert way.lines == [
        (Event.API_UNAVAILABLE, {"message": REFUSED.message, "hint": REFUSED.hint, "probe_in": 0.75}),
    ]


def test_three_failures_that_a_trial_refutes_are_not_said_and_charge_nobody() -> None:
    """A short hiccup: the account answers, the next request gets through, the log stays quiet."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, LOST)
    assert not way.enter("d")
    way.probe()
    way.send("d")
    assert (way.charged, way.events, way.circuit.phase) == ([], [], Phase.CLOSED)


def test_the_failing_images_of_a_hiccup_become_suspects() -> None:
    """Three images that fail by themselves, next to each other, end all the same when nobody else is left."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, ANSWERED_500)
    way.probe()
    way.send("good")
    for _ in range(4):
        for name in ("a", "b", "c"):
            way.send(name, ANSWERED_500)
        way.probe()
    assert sorted(way.charged) == sorted(["a", "b", "c"] * 4)


def test_a_trial_lets_exactly_one_through() -> None:
    """While it is under way everybody else waits; given up, the next may try."""
    way = Way()
    way.send("a", REFUSED)
    way.probe()
    assert way.enter("b")
    assert not way.enter("c")
    way.circuit = rules.abandoned(way.circuit, "b")
    assert way.enter("c")


def test_probes_back_off_to_once_a_minute() -> None:
    """An API that stays down is asked ever more rarely, never more rarely than every 60 s."""
    way = Way()
    way.send("a", REFUSED)
    waits = []
    for _ in range(10):
        before = way.now
        way.probe(REFUSED)
        waits.append(round(way.now - before, 2))
    assert waits == [0.75, 1.5, 3.0, 6.0, 12.0, 24.0, 45.0, 45.0, 45.0, 45.0]


def test_recovery_says_how_long_it_was_and_how_many_waited() -> None:
    """The line after an outage: seconds, images, and what it was."""
    way = Way()
    way.send("a", REFUSED)
    for name in ("b", "c", "b"):
        way.enter(name)
    way.probe(REFUSED)
    way.now += 60
    way.probe()
    way.send("a")
    assert way.lines[-1] == (Event.API_RECOVERED, {"seconds": 60.75, "waited": 3, "after": "api.unavailable"})


@pytest.mark.parametrize(("failure", "event"), [(BAD_KEY, Event.API_UNAUTHORIZED), (NO_QUOTA, Event.API_QUOTA)])
def test_a_blocked_account_stops_everybody_and_is_asked_after_five_seconds_then_once_a_minute(
    failure: Failure, event: Event
) -> None:
    """Said once, no attempt used, and over by itself when the account is right and a request gets through."""
    way = Way()
    way.enter("a")
    way.enter("b")
    way.fail("a", failure)
    way.fail("b", failure)
    assert not way.enter("c")
    if way.circuit.phase is Phase.CHECKING:
        way.probe(failure)
    assert way.circuit.phase is Phase.BLOCKED
    waits = []
    for _ in range(6):
        before = way.now
        way.probe(failure)
        waits.append(way.now - before)
    assert waits == [5, 10, 20, 40, 60, 60]
    way.probe()
    way.send("c")
    assert way.events == [event, Event.API_RECOVERED]
    assert way.charged == []


def test_a_quota_that_the_account_page_does_not_show_is_tried_with_one_request() -> None:
    """402 on fetch to several while /account answers: one request per probe, not said again."""
    way = Way()
    way.send("a", NO_QUOTA)
    way.send("b", NO_QUOTA)
    for name in "abc":
        way.probe()
        way.send(name, NO_QUOTA)
        assert way.circuit.phase is Phase.BLOCKED
    assert way.events == [Event.API_QUOTA]
    assert way.circuit.wake_at == way.now + 20
    way.probe()
    way.send("a")
    assert way.events == [Event.API_QUOTA, Event.API_RECOVERED]
    assert way.charged == []


def test_a_lone_image_that_is_answered_403_stops_nobody_and_ends_while_others_get_through() -> None:
    """Nothing is said of the API, nobody waits, and its attempts are its own; with nobody left the account's word is enough."""
    way = Way()
    for number in range(4):
        way.send("bad", NO_QUOTA)
        way.probe()
        assert way.enter(f"good-{number}")
        way.succeed(f"good-{number}")
    for _ in range(4):
        way.send("bad", NO_QUOTA)
        way.probe()
    assert way.charged == ["bad"] * 8
    assert way.events == []


def test_a_lone_image_that_is_answered_402_with_nobody_else_there_waits_for_a_word() -> None:
    """It may be the quota, which the account does not show: no attempt is used, and nothing is said, before another one tells."""
    way = Way()
    for _ in range(20):
        way.send("only", NO_QUOTA)
        way.probe()
    assert (way.charged, way.events) == ([], [])
    way.send("another", NO_QUOTA)
    way.probe()
    way.send("only", NO_QUOTA)
    assert (way.charged, way.events) == ([], [Event.API_QUOTA])


def test_the_outputs_of_one_image_are_one_image() -> None:
    """Two renditions that are answered 403 do not make a quota."""
    way = Way()
    for _ in range(3):
        for name in ("bad/", "bad/thumb"):
            way.send(name, NO_QUOTA)
            way.probe()
    assert way.circuit.phase is Phase.CLOSED
    assert way.events == []


def test_bad_images_beside_each_other_are_found_out_by_a_trial() -> None:
    """Two that are answered 403 one after the other: one question, one trial of somebody else, and nobody is disturbed again."""
    way = Way()
    way.send("bad-1", NO_QUOTA)
    way.send("bad-2", NO_QUOTA)
    assert not way.enter("good")
    way.probe()
    way.send("good")
    for _ in range(3):
        for name in ("bad-1", "bad-2"):
            way.send(name, NO_QUOTA)
            way.probe()
    assert sorted(way.charged) == sorted(["bad-1", "bad-2"] * 3)
    assert way.events == []


def test_a_quota_that_the_account_shows_is_said_for_one_image_too() -> None:
    """One answer of 402, and the account says the same: all wait."""
    way = Way()
    way.send("only", NO_QUOTA)
    way.probe(NO_QUOTA)
    assert way.circuit.phase is Phase.BLOCKED
    assert (way.charged, way.events) == ([], [Event.API_QUOTA])


def test_a_lone_403_after_an_outage_ends_the_outage() -> None:
    """The API works again; what it says of this image stops nobody."""
    way = Way()
    way.send("a", REFUSED)
    way.probe()
    way.send("bad", NO_QUOTA)
    assert way.circuit.phase is Phase.CLOSED
    assert way.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]


def test_everybody_waits_as_long_as_a_throttling_answer_asks() -> None:
    """429 with Retry-After: nobody before that, then one, then all; no attempt used."""
    way = Way()
    way.send("a", throttled(7))
    assert not way.enter("b")
    assert way.circuit.wake_at == 107
    way.wake()
    way.send("a")
    assert way.enter("b")
    assert way.events == [Event.API_THROTTLED, Event.API_RECOVERED]
    assert way.charged == []


def test_throttling_answers_that_come_together_wait_for_the_latest() -> None:
    """Sixteen 429 under way together are one throttling: the longest wait holds, and it is said once."""
    way = Way()
    for name in ("a", "b", "c"):
        way.enter(name)
    way.fail("a", throttled(5))
    way.fail("b", throttled(9))
    way.fail("c", throttled(2))
    assert way.circuit.wake_at == 109
    assert way.circuit.level == 1
    assert way.events == [Event.API_THROTTLED]


def test_a_wait_far_in_the_future_is_capped_and_said() -> None:
    """A Retry-After of a year stops us for a quarter of an hour, and the line says so, even where throttling was said before."""
    way = Way()
    way.send("a", throttled(2))
    way.wake()
    way.send("a", throttled(31_536_000))
    event, fields = way.lines[-1]
    assert event is Event.API_THROTTLED
    assert (fields["retry_after"], fields["wait"], fields["capped"]) == (31_536_000, 900, True)
    assert way.circuit.wake_at == way.now + 900


def test_throttling_without_a_time_backs_off() -> None:
    """429 with no Retry-After, again and again: each wait is twice the one before."""
    way = Way()
    waits = []
    for _ in range(4):
        way.send("a", throttled())
        assert way.circuit.wake_at is not None
        waits.append(way.circuit.wake_at - way.now)
        way.wake()
    assert waits == [0.75, 1.5, 3.0, 6.0]


def test_an_image_that_is_refused_shows_that_the_api_works() -> None:
    """A 422 ends the streak like a success: the one that failed before it is charged."""
    way = Way()
    way.send("failing", ANSWERED_500)
    way.send("no-image", BAD_IMAGE)
    assert way.charged == ["failing"]


def test_a_late_success_hastens_the_probe_of_an_outage() -> None:
    """A request from before the outage that gets its answer after all: ask now, not in a minute."""
    way = Way()
    way.enter("slow")
    way.send("a", REFUSED)
    way.succeed("slow")
    assert way.circuit.wake_at == way.now


def test_a_late_success_does_not_end_what_key_or_rate_limit_block() -> None:
    """An answer to a request from before says nothing of the key since."""
    way = Way()
    way.enter("slow")
    way.send("a", BAD_KEY)
    way.succeed("slow")
    assert way.circuit.phase is Phase.BLOCKED
    assert way.circuit.wake_at == way.now + 5


def test_an_outage_that_turns_into_a_blocked_key_is_one_episode() -> None:
    """Each cause is said once; the recovery names the first."""
    way = Way()
    way.send("a", REFUSED)
    way.probe(BAD_KEY)
    assert way.circuit.wake_at == way.now + 5
    way.probe(REFUSED)
    assert way.circuit.phase is Phase.BLOCKED
    way.probe()
    way.send("a")
    assert way.events == [Event.API_UNAVAILABLE, Event.API_UNAUTHORIZED, Event.API_RECOVERED]
    assert way.lines[-1][1]["after"] == "api.unavailable"


def test_a_failing_account_does_not_undo_a_success_that_came_meanwhile() -> None:
    """The probe was asked because of a streak; the streak is over."""
    way = Way()
    way.enter("good")
    way.send("bad", LOST)
    way.succeed("good")
    step = rules.probed(way.circuit, ANSWERED_500, way.now, 0.5)
    assert step.circuit.phase is Phase.CLOSED
    assert step.lines == ()


def test_a_forgotten_name_leaves_nothing_behind() -> None:
    """Suspects that ended are not kept."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    assert way.circuit.suspects == {"bad"}
    way.circuit = rules.forgotten(way.circuit, "bad")
    assert way.circuit.suspects == frozenset()


def test_a_bad_image_that_ended_does_not_shield_the_next() -> None:
    """Two suspects fail in one outage; one runs out of attempts; the other is charged on."""
    way = Way()
    for name in ("bad-1", "bad-2"):
        way.send(name, ANSWERED_500)
    way.send("good")
    way.send("bad-1", REFUSED)
    way.probe()
    way.send("bad-2", ANSWERED_500)
    way.circuit = rules.forgotten(way.circuit, "bad-1")
    way.charged.clear()
    way.probe()
    way.send("bad-2", ANSWERED_500)
    assert way.charged == ["bad-2"]


def test_an_image_that_vanished_in_an_outage_still_shows_that_it_was_one() -> None:
    """Somebody who never failed by himself failed too: no suspect is charged, though the witness is gone."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    way.charged.clear()
    way.send("innocent", LOST)
    way.circuit = rules.forgotten(way.circuit, "innocent")
    way.send("bad", ANSWERED_500)
    way.probe()
    assert way.charged == []


def test_the_limit_of_a_streak_is_reached_by_failures_of_one_image_too() -> None:
    """A lone image asks the account each time, and after three failures everybody waits."""
    way = Way()
    for number in range(STREAK_LIMIT):
        assert way.circuit.phase is Phase.CLOSED, number
        way.send("only", ANSWERED_500)
        if number < STREAK_LIMIT - 1:
            way.probe()
    assert way.circuit.phase is Phase.CHECKING


def test_a_suspect_is_not_charged_while_others_may_still_tell() -> None:
    """Somebody who never failed is under way: his outcome says more than the account."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    way.charged.clear()
    way.enter("innocent")
    way.send("bad", ANSWERED_500)
    way.probe()
    assert way.charged == []
    way.succeed("innocent")
    assert way.charged == ["bad"]


def test_an_image_charged_for_failing_last_goes_on_being_charged() -> None:
    """Once its failing was its own, it stays so, though nobody gets through meanwhile."""
    way = Way()
    way.enter("slow")
    way.send("quick")
    way.fail("slow")
    way.probe()
    way.send("slow", ANSWERED_500)
    way.probe()
    assert way.charged == ["slow", "slow"]


def test_a_suspect_that_got_through_is_none_any_more() -> None:
    """Its next failure is judged like anybody's."""
    way = Way()
    way.send("was-bad", ANSWERED_500)
    way.send("good")
    way.send("was-bad")
    way.charged.clear()
    way.send("was-bad", ANSWERED_500)
    way.probe()
    assert way.charged == []


@pytest.mark.parametrize(("failure", "charged"), [(ANSWERED_500, ["bad"]), (REFUSED, [])])
def test_a_suspect_that_fails_in_a_trial_is_charged_unless_nobody_could_reach_the_api(
    failure: Failure, charged: list[str]
) -> None:
    """After an outage only the bad image is left; the account answers, so its 500 is its own."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    way.charged.clear()
    way.send("bad", REFUSED)
    way.probe()
    way.send("bad", failure)
    assert way.charged == charged
    assert way.circuit.phase is Phase.OPEN


def test_an_outage_that_was_one_bad_image_is_over_when_the_image_has_ended() -> None:
    """The account answers and nothing speaks for an outage any more: said, without waiting for the next drop."""
    way = Way()
    way.send("bad", ANSWERED_500)
    way.send("good")
    way.send("bad", REFUSED)
    way.probe()
    way.send("bad", ANSWERED_500)
    way.circuit = rules.forgotten(way.circuit, "bad")
    way.probe()
    assert way.circuit.phase is Phase.CLOSED
    assert way.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]


@pytest.mark.parametrize(("first", "probe"), [(REFUSED, None), (BAD_KEY, BAD_KEY), (LOST, ANSWERED_500)])
def test_an_account_that_was_out_and_answers_again_is_a_recovery_where_nobody_waits(
    first: Failure, probe: Failure | None
) -> None:
    """The images of the outage are gone or wait for their next try elsewhere: the operator still hears that it is over."""
    way = Way()
    way.send("a", first)
    if probe is not None:
        way.probe(probe)
    way.probe(idle=True)
    assert way.circuit.phase is Phase.CLOSED
    assert way.events[-1] is Event.API_RECOVERED
    assert way.charged == []


def test_an_account_that_always_answered_is_no_recovery() -> None:
    """A quota that only fetch shows: nothing is known until somebody tries."""
    way = Way()
    way.send("a", NO_QUOTA)
    way.send("b", NO_QUOTA)
    way.probe()
    way.send("a", NO_QUOTA)
    way.probe(idle=True)
    assert way.circuit.phase is Phase.HALF_OPEN
    assert way.events == [Event.API_QUOTA]


# --- the way from the API to the originals -------------------------------------------------------------------------------------


def test_a_way_that_is_out_is_one_outage_and_nobodys_attempt() -> None:
    """Said once although the account answers all the time; one image tries; its result ends it."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, NOT_FETCHED)
    assert not way.enter("d")
    for name in "abcab":
        way.probe()
        way.send(name, NOT_FETCHED)
    way.probe()
    way.send("d")
    assert way.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
    assert way.lines[0][1]["message"] == NOT_FETCHED.message
    assert way.lines[0][1]["hint"] == NOT_FETCHED.hint
    assert way.charged == []


def test_a_lone_image_that_nobody_comes_for_waits_however_long() -> None:
    """The account's answer is no word on the way: no attempt is used, also not of one that failed beside others before."""
    way = Way()
    way.send("a", NOT_FETCHED)
    way.send("b")
    assert way.charged == ["a"]
    for _ in range(30):
        way.send("a", NOT_FETCHED)
    assert way.charged == ["a"]


def test_an_image_that_nobody_comes_for_while_others_are_fetched_ends_and_holds_nobody_up() -> None:
    """Charged with each result of another one; nobody waits for it, nothing is said."""
    way = Way()
    for number in range(8):
        for _ in range(4 if number else 1):
            way.send("bad", NOT_FETCHED)
        way.send(f"good-{number}")
    assert way.charged == ["bad"] * 8
    assert way.events == []


def test_neither_a_job_nor_a_refusal_shows_that_the_way_is_open() -> None:
    """They need no bytes: nobody is charged at their word, and three that go unfetched between them are an outage."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, NOT_FETCHED)
        if name == "a":
            way.send("no-image", BAD_IMAGE)
        if name == "b":
            assert way.enter("job")
            way.enqueue("job")
    assert (way.charged, way.circuit.phase) == ([], Phase.CHECKING)
    way.probe()
    way.send("other", BAD_IMAGE)
    assert way.circuit.phase is Phase.HALF_OPEN
    way.send("a", NOT_FETCHED)
    assert way.events == [Event.API_UNAVAILABLE]


def test_they_still_show_that_the_api_works_for_who_failed_otherwise() -> None:
    """A 500 beside them is the image's own; the one that nobody came for goes on waiting for a word on the way."""
    way = Way()
    way.send("unfetched", NOT_FETCHED)
    way.send("broken", ANSWERED_500)
    way.send("no-image", BAD_IMAGE)
    assert way.charged == ["broken"]
    way.send("good")
    assert way.charged == ["broken", "unfetched"]


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_trial_that_becomes_a_job_lasts_until_the_job_tells(ends_well: bool) -> None:
    """Only looks at that job are let in meanwhile."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, NOT_FETCHED)
    way.probe()
    assert way.enter("a")
    way.enqueue("a")
    assert not way.enter("b")
    assert way.enter("a?")
    way.enqueue("a?")
    assert not way.enter("b")
    assert way.enter("a?")
    if ends_well:
        way.succeed("a?")
        assert way.circuit.phase is Phase.CLOSED
    else:
        way.fail("a", NOT_FETCHED)
        assert way.circuit.phase is Phase.OPEN
    assert way.charged == []


def test_a_trial_whose_job_takes_long_or_is_given_up_lets_another_one_try() -> None:
    """After a minute, or when the image has ended."""
    way = Way()
    for name in ("a", "b", "c"):
        way.send(name, NOT_FETCHED)
    way.probe()
    for again in range(2):
        assert way.enter("a")
        way.enqueue("a")
        assert not way.enter("b")
        if again:
            way.circuit = rules.forgotten(way.circuit, "a?")
        else:
            way.wake()
        assert rules.may_enter(way.circuit, "b")
