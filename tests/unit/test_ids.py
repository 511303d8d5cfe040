"""Identities: valid, ordered by time, different by chance."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from watcher.model import time_ordered_id

MOMENTS = st.floats(0, 4e9, allow_nan=False)
CHANCES = st.integers(0, (1 << 74) - 1)


@given(MOMENTS, CHANCES)
def test_an_id_is_a_uuid_of_version_7(now: float, chance: int) -> None:
    """Whatever the moment and the chance; its first 48 bits are the milliseconds."""
    identity = UUID(time_ordered_id(now, chance))
    assert (identity.version, identity.variant, identity.int >> 80) == (7, RFC_4122, int(now * 1_000))


@given(MOMENTS, CHANCES, CHANCES)
def test_later_ids_sort_behind_earlier_ones(now: float, one: int, other: int) -> None:
    """As text, a millisecond apart, whatever the chance."""
    assert time_ordered_id(now, one) < time_ordered_id(now + 0.002, other)


@given(MOMENTS, CHANCES, CHANCES)
def test_another_chance_is_another_id(now: float, one: int, other: int) -> None:
    """No bit of the chance is lost."""
    assert (time_ordered_id(now, one) == time_ordered_id(now, other)) is (one == other)
