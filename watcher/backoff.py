"""When again: waits after failures, and between looks at a job. Pure: randomness and time come in as arguments.

All numbers are ours; the vendor's pages give none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

BACKOFF_CAP_SECONDS: Final = 60.0
RETRY_AFTER_CAP_SECONDS: Final = 900.0
"""The longest that we wait at an answer's word. A wrong date must not stop the work for a year; a quarter of an hour is longer
than the windows that rate limits are counted in."""
RETRY_AFTER_FLOOR_SECONDS: Final = 1.0
"""The shortest wait at an answer's word: "Retry-After: 0" must not turn into a storm."""
BLOCKED_FIRST_SECONDS: Final = 5.0

_LARGEST_EXPONENT: Final = 64
"""Beyond every cap, and below what a float holds."""
_POLL_FIRST_SECONDS: Final = 0.5
_POLL_CAP_SECONDS: Final = 15.0
_POLL_SHARE: Final = 0.25


def exponential(first: float, cap: float, times: int) -> float:
    """`first` at the first time (1), doubled at each one after it, `cap` at most."""
    return min(cap, first * 2.0 ** min(max(times, 1) - 1, _LARGEST_EXPONENT))


def half_jitter(whole: float, random: float) -> float:
    """Half of a wait and, by `random` in [0, 1), up to the whole: those who failed together do not come back together."""
    return whole * (0.5 + 0.5 * random)


def backoff(tries: int, jitter: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row (from 1): full jitter below 1, 2, 4 ... 60 s.

    `jitter` is a random value in [0, 1).
    """
    return jitter * exponential(1.0, BACKOFF_CAP_SECONDS, tries)


def probe_delay(level: int, jitter: float) -> float:
    """Seconds until an API that is down is asked again: half of 1, 2, 4 ... 60 s and, by `jitter` in [0, 1), up to the whole."""
    return half_jitter(exponential(1.0, BACKOFF_CAP_SECONDS, level), jitter)


def blocked_delay(level: int) -> float:
    """Seconds until the account is asked again while key or quota block the way: 5, 10, 20, 40, then 60."""
    return exponential(BLOCKED_FIRST_SECONDS, BACKOFF_CAP_SECONDS, level)


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for; never negative. None where there is none or it cannot be read.

    Both forms of RFC 9110: a number of seconds, or a date. `now` is Unix seconds.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:18])
    try:
        moment = parsedate_to_datetime(text)
        at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - now)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait (seconds), and whether more had been asked for."""

    seconds: float
    capped: bool


def capped_wait(retry_after: float) -> Wait:
    """What we make of a wait that was asked for: at least one second, at most a quarter of an hour."""
    seconds = min(max(retry_after, RETRY_AFTER_FLOOR_SECONDS), RETRY_AFTER_CAP_SECONDS)
    return Wait(seconds, capped=retry_after > RETRY_AFTER_CAP_SECONDS)


def poll_interval(elapsed: float) -> float:
    """Seconds until a job is asked for again, `elapsed` seconds after it was enqueued: a quarter of its age, from 0.5 to 15 s."""
    return min(_POLL_CAP_SECONDS, max(_POLL_FIRST_SECONDS, elapsed * _POLL_SHARE))
