"""How many requests a number of descriptors is enough for."""

from __future__ import annotations

import pytest

from watcher.service.descriptors import affordable, granted, in_use, take_all


@pytest.mark.parametrize(
    ("wanted", "limit", "used", "possible"),
    [(16, 65_536, 60, 16), (64, 1024, 60, 64), (64, 512, 60, 28), (16, 128, 60, 1), (16, 32, 60, 1), (1, 65_536, 60, 1)],
)
def test_no_more_than_there_is_room_for_and_at_least_one(wanted: int, limit: int, used: int, possible: int) -> None:
    """Half is for connections of strangers; one request goes out however little there is."""
    assert affordable(wanted, of_one=6, limit=limit, used=used) == possible


def test_all_are_taken_and_some_are_used() -> None:
    """Twice is as good as once."""
    take_all()
    take_all()
    assert 3 <= in_use() <= granted()
