"""How much is let go of at once."""

from watcher.records.retention import FIRST_PORTION, LARGEST_PORTION, PORTION_SECONDS, next_limit


def test_portions_fit_the_time_that_the_last_one_took() -> None:
    """Smaller at once where a disk is slow, larger by and by where it is fast, and never none."""
    assert 10 == next_limit(100, 10 * PORTION_SECONDS)
    assert 200 == next_limit(100, PORTION_SECONDS / 10)
    assert 100 == next_limit(100, PORTION_SECONDS)
    assert LARGEST_PORTION == next_limit(LARGEST_PORTION, 0.0)
    assert 1 == next_limit(FIRST_PORTION, 1e6)
