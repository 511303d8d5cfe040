"""What was done hour by hour, and how long it took. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


_SHORTEST: Final = 0.01
_RATIO: Final = 1.2
_MOST_STEPS: Final = 90


@dataclass(frozen=True, slots=True)
class Hour:
    """What was done in an hour that begins at `start` (Unix seconds): images, bytes of their outputs, durations by step."""

    start: float
    stored: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    durations: Mapping[int, int] = field(default_factory=dict)


def duration_step(seconds: float) -> int:
    """The step that a duration counts in: each is a fifth longer than the one before, from 10 ms to a day."""
    if seconds <= _SHORTEST:
        return 0
    return min(_MOST_STEPS, math.ceil(math.log(seconds / _SHORTEST, _RATIO)))


def percentile(durations: Mapping[int, int], share: float) -> float | None:
    """The seconds within which this share of the durations lies, to a tenth of its size; None where there are none."""
    left = share * sum(durations.values())
    for step in sorted(durations):
        left -= durations[step]
        if left <= 0:
            return float(_SHORTEST * _RATIO ** (step - 0.5))
    return None
