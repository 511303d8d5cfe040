"""When a receiver is tried again."""

from __future__ import annotations

import pytest

from watcher.notify.pacing import pause_after


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.5, 1), (2, 1, 2), (5, 8, 16), (9, 128, 256), (10, 150, 300), (1000, 150, 300)]
)
def test_pauses_grow_to_five_minutes(failures: int, least: float, most: float) -> None:
    """Half of it, and by chance up to the whole."""
    assert pause_after(failures, 0.0) == least
    assert pause_after(failures, 0.9999) == pytest.approx(most, rel=0.001)


def test_what_a_receiver_asks_for_is_kept_within_five_minutes() -> None:
    """Retry-After makes a pause longer, never shorter."""
    assert pause_after(1, 0.0, 20.0) == 20.0
    assert pause_after(10, 0.0, 1.0) == 150.0
    assert pause_after(1, 0.0, 86_400.0) == 300.0
