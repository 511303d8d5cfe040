"""A set of numbers that mostly follow each other. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

SHOWN_NUMBERS: Final = 5
"""So many ranges of missing lines are named; a count says how many more there are."""


class Ranges:
    """A set of numbers that mostly follow each other."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, number: int) -> bool:
        """False where it was there."""
        if number in self:
            return False
        index = bisect_right(self._starts, number)
        if index and self._ends[index - 1] == number - 1:
            self._ends[index - 1] = number
        else:
            self._starts.insert(index, number)
            self._ends.insert(index, number)
        return True

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number)
        return bool(index) and number <= self._ends[index - 1]

    @property
    def first(self) -> int | None:
        """The least."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The greatest."""
        return max(self._ends, default=None)

    def __str__(self) -> str:
        shown = [f"{start}" if start == end else f"{start}-{end}" for start, end in zip(self._starts, self._ends, strict=True)]
        more = len(shown) - SHOWN_NUMBERS
        return ", ".join(shown[:SHOWN_NUMBERS]) + (f" and {more} more ranges" if more > 0 else "")
