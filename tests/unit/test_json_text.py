"""JSON for what is written and read in large numbers."""

import json
import math

import pytest

from watcher.json_text import dumps, loads
from watcher.model import Event


@pytest.mark.parametrize("value", [None, {"a": [1, 2.5, "ü\u2028\0", True]}, 1 << 70, {"n": -(1 << 64)}, "\U0001f4f7"])
def test_values_come_back(value: object) -> None:
    """Numbers of any size among them; and the standard library reads the same."""
    assert value == loads(dumps(value)) == json.loads(dumps(value))
    assert b"\n" not in dumps(value)


def test_words_of_a_catalogue_are_texts() -> None:
    """As the standard library has it."""
    assert dumps({"event": Event.IMAGE_STORED}) == b'{"event":"image.stored"}'


def test_what_is_no_utf8_is_refused() -> None:
    """Whoever writes it decides what to show in its place."""
    with pytest.raises(UnicodeEncodeError):
        dumps({"file": "\udcff.jpg"})


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", b"\xff", "nul"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    """With the error that everybody catches."""
    with pytest.raises(ValueError, match=r".+"):
        loads(text)


def test_what_only_the_standard_library_takes_is_read() -> None:
    """Lines of an earlier version may hold it."""
    assert math.isnan(loads("[NaN]")[0])
