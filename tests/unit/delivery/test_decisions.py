"""What is done with an output, as a specification: a row for each case, the first that fits decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fakes import NOW, new_delivery, new_image, new_result, transient
from watcher.delivery.decisions import (
    WAIT_FOR_STORE,
    AskStore,
    CallFailure,
    Failed,
    Findings,
    Follow,
    Gone,
    Later,
    LookAtOriginal,
    LookForOwner,
    Send,
    Stored,
    Unchanged,
    after_action,
    after_failure,
    after_result,
    next_step,
    postponement,
)
from watcher.delivery.delivery import Policy
from watcher.model import (
    Absence,
    FailedReason,
    Failure,
    FailureKind,
    HeadAnswer,
    Output,
    OutputState,
    StoredObject,
)

WAITING = new_delivery()
IN_DOUBT = new_delivery(doubt=True)
ENQUEUED = new_delivery(state=OutputState.ENQUEUED, job_id="job-7")
SPENT = new_delivery(attempts=8)

SAME = WAITING.stored
"""This very work, put at the key by this very file."""
OLDER = replace(SAME, sha1="b" * 40)
"""An earlier version of this file."""
UNKNOWN = replace(SAME, sha1="")
"""Whatever an earlier version's unanswered request put there."""
OTHERS = replace(SAME, relative=b"z.jpg", sha1="b" * 40)
"""Another file of this folder."""
TWIN = replace(SAME, relative=b"z.jpg")
"""Another file of this folder with the same content."""
STRANGERS = replace(OTHERS, folder="another")

DONE = HeadAnswer(size=400, metadata={"source-sha1": SAME.sha1, "rule": str(SAME.rule)})
OTHER = HeadAnswer(size=400)
ABSENT = HeadAnswer(Absence.ABSENT)
FORBIDDEN = HeadAnswer(Absence.FORBIDDEN)
UNREACHABLE = HeadAnswer(Absence.UNREACHABLE)

FAILED_BEFORE = transient()
MAYBE_DONE = transient(maybe_done=True)
NEVER = Policy(verify="never")
ALWAYS = Policy(verify="always")


def moving(delivery: Any) -> Any:
    """The same delivery where originals do not stay in their folder."""
    return replace(delivery, image=new_image(on_success="delete"))


def told(decision: object) -> str:
    """A decision in a word or two."""
    if isinstance(decision, Failed):
        return f"failed: {decision.reason}"
    if isinstance(decision, Stored):
        return "recovered" if decision.recovered else "stored"
    if decision is WAIT_FOR_STORE:
        return "wait for the store"
    words = {
        Follow: "follow the job",
        AskStore: "ask the store",
        LookForOwner: "look for the owner",
        LookAtOriginal: "look at the original",
        Send: "send",
        Unchanged: "unchanged",
        Gone: "gone",
        Later: "later",
    }
    return words[type(decision)]


@pytest.mark.parametrize(
    ("delivery", "there", "head", "last", "policy", "step"),
    [
        # a job is followed, whatever else is known
        (ENQUEUED, None, None, None, Policy(), "follow the job"),
        (ENQUEUED, SAME, DONE, MAYBE_DONE, NEVER, "follow the job"),
        # nothing is known: send
        (WAITING, None, None, None, Policy(), "send"),
        (WAITING, OLDER, None, None, Policy(), "send"),
        (WAITING, None, None, FAILED_BEFORE, Policy(), "send"),
        # an answer is unknown: the store is asked before anything is sent again
        (IN_DOUBT, None, None, None, Policy(), "ask the store"),
        (IN_DOUBT, None, DONE, None, Policy(), "recovered"),
        (IN_DOUBT, None, ABSENT, None, Policy(), "send"),
        (IN_DOUBT, None, OTHER, None, Policy(), "send"),
        (IN_DOUBT, None, FORBIDDEN, None, Policy(), "send"),
        (IN_DOUBT, None, UNREACHABLE, None, Policy(), "wait for the store"),
        (IN_DOUBT, None, None, None, NEVER, "send"),
        (new_delivery(state=OutputState.REQUESTED), None, None, None, Policy(), "ask the store"),
        (new_delivery(state=OutputState.ENQUEUED), None, None, None, Policy(), "ask the store"),
        # the work may be done: the store is asked, but not insisted on
        (WAITING, None, None, MAYBE_DONE, Policy(), "ask the store"),
        (WAITING, None, DONE, MAYBE_DONE, Policy(), "recovered"),
        (WAITING, None, UNREACHABLE, MAYBE_DONE, Policy(), "send"),
        (WAITING, UNKNOWN, None, None, Policy(), "ask the store"),
        (WAITING, UNKNOWN, UNREACHABLE, None, Policy(), "send"),
        # it lies there already
        (WAITING, SAME, None, None, Policy(), "unchanged"),
        (WAITING, TWIN, None, None, Policy(), "unchanged"),
        (WAITING, replace(SAME, rule=None), None, None, Policy(), "unchanged"),
        (WAITING, replace(SAME, rule="another rule"), None, None, Policy(), "send"),
        (SPENT, SAME, None, None, Policy(), "unchanged"),
        # the key is another file's
        (WAITING, STRANGERS, None, None, Policy(), "failed: key_conflict"),
        (WAITING, OTHERS, None, None, Policy(), "look for the owner"),
        (moving(WAITING), OTHERS, None, None, Policy(), "failed: key_conflict"),
        (WAITING, replace(TWIN, rule="another rule"), None, None, Policy(), "send"),
        # no attempt is left
        (SPENT, None, None, FAILED_BEFORE, Policy(), "failed: attempts_exhausted"),
        (SPENT, None, None, None, Policy(max_attempts=9), "send"),
        (new_delivery(attempts=8, doubt=True), None, None, None, Policy(), "ask the store"),
        (new_delivery(attempts=8, doubt=True), None, DONE, None, Policy(), "recovered"),
        (new_delivery(attempts=8, doubt=True), None, ABSENT, None, Policy(), "failed: attempts_exhausted"),
    ],
)
def test_the_next_step(
    delivery: Any, there: StoredObject | None, head: HeadAnswer | None, last: Failure | None, policy: Policy, step: str
) -> None:
    """By what lies at the key, what the store said, how it failed last, and the policy."""
    assert told(next_step(delivery, Findings(there, head), last, policy)) == step


@pytest.mark.parametrize(
    ("there", "head", "policy", "step"),
    [
        (None, None, Policy(), "ask the store"),
        (OLDER, None, Policy(), "ask the store"),
        (None, DONE, Policy(), "recovered"),
        (None, ABSENT, Policy(), "send"),
        (None, UNREACHABLE, Policy(), "send"),
        (SAME, None, Policy(), "unchanged"),
        (None, None, NEVER, "send"),
    ],
)
def test_a_journal_that_may_lack_something_is_not_trusted_alone(
    there: StoredObject | None, head: HeadAnswer | None, policy: Policy, step: str
) -> None:
    """The store is asked, unless the journal knows the very same work."""
    assert told(next_step(WAITING, Findings(there, head, journal_is_unsure=True), None, policy)) == step


@pytest.mark.parametrize(("owner_is_there", "step"), [(True, "failed: key_conflict"), (False, "send")])
def test_a_key_whose_owner_has_left_the_folder_is_free(owner_is_there: bool, step: str) -> None:
    """Only where originals stay: elsewhere an absent file says nothing about the object."""
    assert told(next_step(WAITING, Findings(OTHERS, owner_is_there=owner_is_there), None, Policy())) == step


def test_a_conflict_names_the_key_and_whose_it_is() -> None:
    """And what to do about it."""
    failed = next_step(WAITING, Findings(STRANGERS), None, Policy())
    assert isinstance(failed, Failed)
    assert failed.message == "the object key products/a.jpg belongs to another file of folder another"
    assert "{sha1:.8}" in failed.hint


def test_the_last_failure_is_the_message_of_an_exhausted_output() -> None:
    """A restart may have forgotten it."""
    failed = next_step(SPENT, Findings(), transient("no room", status=500), Policy())
    assert isinstance(failed, Failed)
    assert (failed.message, failed.status, failed.attempts) == ("no room", 500, 8)
    forgotten = next_step(SPENT, Findings(), None, Policy())
    assert isinstance(forgotten, Failed)
    assert forgotten.message == "every attempt failed"


def test_what_the_store_says_takes_the_place_of_a_lost_answer() -> None:
    """The address and what is known of both files; at least the one attempt that was made."""
    stored = next_step(IN_DOUBT, Findings(head=DONE), None, Policy())
    assert isinstance(stored, Stored)
    assert (stored.attempts, stored.result.url) == (1, "https://my-bucket.s3.eu-central-003.backblazeb2.com/products/a.jpg")
    assert (stored.result.input.sha1, stored.result.output.size) == (SAME.sha1, 400)


OTHER_INPUT = new_result(sha1="f" * 40)


@pytest.mark.parametrize(
    ("delivery", "result", "found", "policy", "conclusion"),
    [
        (WAITING, new_result(), Findings(), Policy(), "stored"),
        # the API worked on other bytes: did the file change, or is something on the way?
        (WAITING, OTHER_INPUT, Findings(), Policy(), "look at the original"),
        (WAITING, OTHER_INPUT, Findings(changed=True), Policy(), "gone"),
        (WAITING, OTHER_INPUT, Findings(changed=False), Policy(), "later"),
        (new_delivery(attempts=7), OTHER_INPUT, Findings(changed=False), Policy(), "failed: input_mismatch"),
        # the store is asked after every answer
        (WAITING, new_result(), Findings(), ALWAYS, "ask the store"),
        (WAITING, new_result(), Findings(head=DONE), ALWAYS, "stored"),
        (WAITING, new_result(), Findings(head=FORBIDDEN), ALWAYS, "stored"),
        (WAITING, new_result(), Findings(head=UNREACHABLE), ALWAYS, "wait for the store"),
        (WAITING, new_result(), Findings(head=ABSENT), ALWAYS, "later"),
        (new_delivery(attempts=7), new_result(), Findings(head=OTHER), ALWAYS, "failed: store_mismatch"),
    ],
)
def test_what_a_result_is_worth(delivery: Any, result: Any, found: Findings, policy: Policy, conclusion: str) -> None:
    """It counts as an attempt, whatever it is worth."""
    decision = after_result(delivery, result, found, policy)
    assert told(decision) == conclusion
    assert not isinstance(decision, Stored | Failed) or decision.attempts == delivery.attempts + 1


REFUSED = Failure(FailureKind.PERMANENT, "the API answered 422: no", "look", status=422)
LOST = transient("lost", unknown=True)
DOWN = transient("refused", unreachable=True)
THROTTLED = Failure(FailureKind.THROTTLED, "429", status=429)


@pytest.mark.parametrize(
    ("failure", "found", "conclusion"),
    [
        (REFUSED, Findings(), "look at the original"),
        (REFUSED, Findings(changed=True), "gone"),
        (REFUSED, Findings(changed=False), "failed: rejected"),
        (LOST, Findings(), "later"),
        (DOWN, Findings(), "later"),
        (THROTTLED, Findings(), "later"),
    ],
)
def test_what_a_failure_means(failure: Failure, found: Findings, conclusion: str) -> None:
    """A refusal is the image's ending, unless its file is not what was asked for any more."""
    call = CallFailure(failure, counts=True, reason=FailedReason.REJECTED)
    assert told(after_failure(WAITING, call, found, None)) == conclusion


@pytest.mark.parametrize(
    ("failure", "last", "tried", "doubt", "maybe_done"),
    [
        (LOST, None, True, True, False),
        (FAILED_BEFORE, None, True, False, False),
        (MAYBE_DONE, None, True, False, True),
        (FAILED_BEFORE, MAYBE_DONE, True, False, True),
        (DOWN, None, False, False, False),
        (THROTTLED, None, False, False, False),
    ],
)
def test_how_an_output_waits_after_a_failure(
    failure: Failure, last: Failure | None, tried: bool, doubt: bool, maybe_done: bool
) -> None:
    """Who was held up with all others does not back off; that work may be done is not forgotten."""
    later = after_failure(WAITING, CallFailure(failure, counts=False, reason=FailedReason.REJECTED), Findings(), last)
    assert isinstance(later, Later)
    assert later.failure is not None
    assert (later.tried, later.doubt, later.failure.maybe_done) == (tried, doubt, maybe_done)


@pytest.mark.parametrize(
    ("output", "later", "due_in", "attempts", "tries", "doubt"),
    [
        ({}, Later("x"), 0.0, 0, 0, False),
        ({}, Later("x", tried=True), 0.5, 0, 1, False),
        ({"tries": 2}, Later("x", tried=True, counts=True), 2.0, 1, 3, False),
        ({"tries": 50}, Later("x", tried=True), 30.0, 0, 51, False),
        ({"attempts": 7}, Later("x", tried=True, counts=True), 0.0, 8, 1, False),
        ({"doubt": True}, Later("x"), 0.0, 0, 0, True),
        ({"doubt": True}, Later("x", doubt=False), 0.0, 0, 0, False),
        ({}, Later("x", doubt=True), 0.0, 0, 0, True),
    ],
)
def test_when_the_next_turn_is_due(
    output: dict[str, Any], later: Later, due_in: float, attempts: int, tries: int, doubt: bool
) -> None:
    """Backoff grows with the tries, to a minute; the turn that ends an exhausted output is due at once."""
    waits = postponement(new_delivery(**output), later, Policy(), NOW, 0.5)
    assert (waits.due_at - NOW, waits.attempts, waits.tries, waits.doubt) == (due_in, attempts, tries, doubt)


@pytest.mark.parametrize(
    ("states", "action"),
    [
        (["stored"], "delete"),
        (["stored", "unchanged"], "delete"),
        (["stored", "failed"], "move:/srv/rejected"),
        (["failed", "superseded"], "keep"),
        (["stored", "vanished"], "keep"),
    ],
)
def test_what_becomes_of_the_original(states: list[str], action: str) -> None:
    """By the worst of its outputs; another version at the path is nobody's to touch."""
    outputs = [Output(str(number), OutputState(state)) for number, state in enumerate(states)]
    assert after_action(new_image(*outputs, on_success="delete", on_failure="move:/srv/rejected")) == action
