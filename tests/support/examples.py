"""How many examples of a property are looked at."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """So many in each run, always the same; ten times as many where others are searched for, as `make soak` does."""
    return settings(max_examples=count if settings.default.derandomize else 10 * count, deadline=None)
