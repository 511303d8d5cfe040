"""The words that everybody speaks."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from watcher.model import timestamp


@given(st.floats(min_value=-1e9, max_value=1e10))
@example(0.9999997)
@example(-0.0000004)
@example(1_764_000_000.9999999)
@example(-1.5)
def test_times_are_told_to_the_microsecond(seconds: float) -> None:
    """As the standard library rounds them."""
    assert timestamp(seconds) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
