"""When a receiver that did not confirm is tried again. Pure: randomness comes in as an argument."""

from __future__ import annotations

from typing import Final

from watcher.backoff import exponential, half_jitter

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0


def pause_after(failures: int, random: float, asked: float | None = None) -> float:
    """Seconds to wait after so many failures in a row (from 1): half of 1, 2, 4 ... 300 s and, by `random` in [0, 1), up to it.

    `asked` is what the receiver wants (Retry-After): not shorter than that, and never beyond 300 s.
    """
    own = half_jitter(exponential(FIRST_SECONDS, LONGEST_SECONDS, failures), random)
    return min(LONGEST_SECONDS, max(own, asked or 0.0))
