"""What an answer without a result says, by what is known of the original's fetches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fakes import transient
from watcher.delivery.way import LOOK_AT_STAGING, LOOK_AT_WAY, Fetches, is_our_refusal, judged, our_refusal
from watcher.model import Event, Failure, FailureKind

UNFETCHED = Failure(FailureKind.PERMANENT, "the API answered 422: could not be fetched", "mend it", status=422, not_fetched=True)
NO_CONNECTOR = replace(UNFETCHED, message="the API answered 422: no such connector", not_fetched=False)
NOBODY_CAME = Fetches(asked=1, done=0)


@pytest.mark.parametrize(
    ("fetches", "words", "hint"),
    [
        (NOBODY_CAME, "nobody came for the original", LOOK_AT_WAY),
        (Fetches(1, 0, moved=True), "before all bytes of the original had left", LOOK_AT_WAY),
        (Fetches(2, 1), "nobody came for the original", LOOK_AT_WAY),
        (Fetches(1, None), "from the staging bucket", LOOK_AT_STAGING),
    ],
)
def test_an_original_that_was_asked_for_in_vain(fetches: Fetches, words: str, hint: str) -> None:
    """It may pass, and the words name what to look at, and what the API said."""
    failure = judged(UNFETCHED, fetches)
    assert (failure.kind, failure.not_fetched, failure.hint, failure.status) == (FailureKind.TRANSIENT, True, hint, 422)
    assert words in failure.message
    assert UNFETCHED.message in failure.message


def test_an_original_that_was_fetched_was_refused_for_what_it_is() -> None:
    """All bytes left as often as they were asked for: the verdict stands."""
    failure = judged(UNFETCHED, Fetches(asked=1, done=1, moved=True))
    assert failure == replace(UNFETCHED, not_fetched=False)


@pytest.mark.parametrize("failure", [NO_CONNECTOR, transient(), Failure(FailureKind.BLOCKED, "402", event=Event.API_QUOTA)])
def test_other_failures_stay_what_they_are(failure: Failure) -> None:
    """Though nobody came for the original: there was no reason to."""
    assert judged(failure, NOBODY_CAME) is failure


@pytest.mark.parametrize(
    ("failure", "done", "ours"),
    [
        (UNFETCHED, 0, True),
        (NO_CONNECTOR, 0, True),
        (UNFETCHED, 1, False),
        (transient(), 0, True),
        (transient(unknown=True), 0, True),
        (transient(unreachable=True), 0, False),
        (Failure(FailureKind.BLOCKED, "402", event=Event.API_QUOTA), 0, False),
        (Failure(FailureKind.THROTTLED, "429"), 0, False),
    ],
)
def test_an_answer_that_followed_our_own_refusal(failure: Failure, done: int, ours: bool) -> None:
    """Says nothing, unless it cannot have come of it."""
    assert is_our_refusal(failure, Fetches(1, done, turned_away=True)) is ours
    assert not is_our_refusal(failure, Fetches(1, done))


def test_our_refusal_may_pass_and_keeps_what_is_unknown() -> None:
    """It is tried again; an answer that was lost is still asked of the store."""
    failure = our_refusal(transient(unknown=True))
    assert (failure.kind, failure.unknown) == (FailureKind.TRANSIENT, True)
