"""Calls that may hang."""

import threading

import pytest

from watcher.errors import NotAnswering
from watcher.in_time import answered, ask


def test_what_comes_back_is_given_and_what_hangs_is_left_out() -> None:
    """Nobody waits for the one that hangs longer than was said."""
    stuck = threading.Event()
    try:
        assert {"a": 1, "c": 3} == answered({"a": lambda: 1, "b": stuck.wait, "c": lambda: 3}, 0.05)
    finally:
        stuck.set()


def test_what_hangs_is_not_asked_again_until_it_has_come_back() -> None:
    """One thread for each, however often it is asked."""
    stuck, calls = threading.Event(), []

    def work() -> int:
        calls.append(1)
        stuck.wait()
        return 7

    assert {} == answered({"again": work}, 0.02)
    assert {} == answered({"again": work}, 0.02)
    assert [1] == calls
    stuck.set()
    while not answered({"again": work}, 0.02):
        continue
    assert [1, 1] == calls


def test_an_error_is_raised_where_the_answer_is_waited_for() -> None:
    """As if it had been called here."""
    with pytest.raises(ZeroDivisionError):
        ask("nothing", lambda: 1 // 0)


def test_one_that_hangs_is_named() -> None:
    """With what to do."""
    stuck = threading.Event()
    try:
        with pytest.raises(NotAnswering, match=r"^/mnt/nas does not answer \(its disk or share hangs: see to it"):
            ask("/mnt/nas", stuck.wait, 0.02)
    finally:
        stuck.set()
