"""The right word for a misspelt one."""

import pytest

from watcher.config.spelling import did_you_mean, nearest

KNOWN = ("recursive", "include", "exclude", "on_success", "polling")


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("recursiv", "recursive"),
        ("Include", "include"),
        ("on-success", "on_success"),
        ("onsuccess", "on_success"),
        ("poling", "polling"),
        ("colour", None),
        ("", None),
    ],
)
def test_the_nearest_word_is_named_if_one_is_near(word: str, right: str | None) -> None:
    """A far one would lead astray."""
    assert nearest(word, KNOWN) == right
    assert did_you_mean(word, KNOWN) == (f"; did you mean `{right}`?" if right else "")
