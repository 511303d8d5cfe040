"""How long each wait is."""

from __future__ import annotations

import pytest

from watcher.backoff import (
    RETRY_AFTER_CAP_SECONDS,
    Wait,
    backoff,
    blocked_delay,
    capped_wait,
    parse_retry_after,
    poll_interval,
    probe_delay,
)

NOON = 1_795_348_800.0
"""Sun, 22 Nov 2026 12:00:00 GMT"""


@pytest.mark.parametrize(("tries", "ceiling"), [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10_000, 60)])
def test_backoff_doubles_its_ceiling_up_to_a_minute(tries: int, ceiling: float) -> None:
    """Full jitter: anything between nothing and the ceiling."""
    assert backoff(tries, 0.0) == 0.0
    assert backoff(tries, 0.5) == ceiling / 2


def test_probes_never_follow_each_other_at_once() -> None:
    """At least half of the ceiling, at most all of it."""
    assert [probe_delay(level, 0.0) for level in (1, 2, 3, 7, 99)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert probe_delay(99, 0.999) < 60.0


def test_a_blocked_account_is_asked_after_five_seconds_then_ever_more_rarely() -> None:
    """Down to once a minute."""
    assert [blocked_delay(level) for level in range(1, 7)] == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 30.0),
        ("Sun Nov 22 12:00:30 2026", 30.0),
        ("Sun, 22 Nov 2026 13:00:30 +0100", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 400, 999_999_999_999_999_999.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, seconds: float | None) -> None:
    """Seconds or a date; the past is now; nonsense is nothing."""
    assert parse_retry_after(value, NOON) == seconds


@pytest.mark.parametrize(
    ("asked", "wait"),
    [(0, Wait(1, False)), (30, Wait(30, False)), (900, Wait(900, False)), (901, Wait(900, True)), (1e18, Wait(900, True))],
)
def test_a_wait_that_is_asked_for_has_a_floor_and_a_cap(asked: float, wait: Wait) -> None:
    """And tells when it was capped."""
    assert capped_wait(asked) == wait
    assert wait.seconds <= RETRY_AFTER_CAP_SECONDS


def test_jobs_are_looked_at_often_when_young() -> None:
    """A quarter of the age, from half a second to fifteen."""
    assert [poll_interval(age) for age in (0, 1, 2, 8, 60, 3600)] == [0.5, 0.5, 0.5, 2.0, 15.0, 15.0]
