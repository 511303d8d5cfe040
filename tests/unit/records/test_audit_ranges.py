"""Sets of numbers that mostly follow each other."""

from watcher.records.ranges import Ranges


def ranges(*numbers: int) -> Ranges:
    made = Ranges()
    for number in numbers:
        made.add(number)
    return made


def test_numbers_are_found_and_told_apart() -> None:
    """Whatever the order they come in, each is there once."""
    found = ranges(5, 6, 7, 1, 3, 2)

    assert [number in found for number in range(9)] == [False, True, True, True, False, True, True, True, False]
    assert (found.first, found.last) == (1, 7)


def test_second_time_is_noticed() -> None:
    """`add` says whether the number is new."""
    found = ranges(1, 2, 3)

    assert [found.add(2), found.add(4)] == [False, True]


def test_text_is_short() -> None:
    """Ranges are named from to; a long list is cut with a count."""
    assert str(ranges(1, 2, 3, 5)) == "1-3, 5"
    assert str(ranges(1, 3, 5, 7, 9, 11, 13)) == "1, 3, 5, 7, 9 and 2 more ranges"


def test_nothing_has_no_ends() -> None:
    """An empty set has neither first nor last."""
    assert (Ranges().first, Ranges().last) == (None, None)
