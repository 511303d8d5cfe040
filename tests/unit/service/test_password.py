"""Who may see the admin port, and how long one who guesses is not listened to."""

from __future__ import annotations

import base64

import pytest

from tests.support.fakes import StillClock
from watcher.service.password import (
    FORGIVEN_EVERY_SECONDS,
    MOST_ADDRESSES,
    MOST_FAILURES,
    PasswordCheck,
    PasswordVerdict,
    basic_password,
)

US = "192.0.2.1"


def header(password: str, user: str = "anybody") -> str:
    """As a browser sends it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def new_check(password: str | None = "right") -> tuple[PasswordCheck, StillClock]:
    clock = StillClock()
    return PasswordCheck(lambda: password, clock), clock


@pytest.mark.parametrize(
    ("authorization", "password"),
    [
        (header("word"), "word"),
        (header("a:b:c"), "a:b:c"),
        (header("", ""), ""),
        (header("Größe"), "Größe"),
        ("basic   " + base64.b64encode(b"u:word").decode(), "word"),
        ("Basic " + base64.b64encode(b"no colon").decode(), None),
        ("Basic not base64!", None),
        ("Bearer word", None),
        ("Basic", None),
        ("", None),
    ],
)
def test_the_password_of_a_header(authorization: str, password: str | None) -> None:
    """What is no header of Basic holds none."""
    assert basic_password(authorization) == password


@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        (header("right"), PasswordVerdict.RIGHT),
        (header("right", ""), PasswordVerdict.RIGHT),
        (header("wrong"), PasswordVerdict.WRONG),
        (header(""), PasswordVerdict.WRONG),
        (None, PasswordVerdict.MISSING),
        ("Bearer right", PasswordVerdict.MISSING),
    ],
)
def test_what_a_request_is_worth(authorization: str | None, verdict: PasswordVerdict) -> None:
    """Any user name will do."""
    check, _ = new_check()
    assert check.judge(authorization, US) is verdict


def test_without_a_password_everybody_is_let_in() -> None:
    """The port listens to this machine alone then."""
    check, _ = new_check(None)
    assert check.is_open
    assert check.judge(None, US) is PasswordVerdict.RIGHT


def test_one_who_guesses_is_not_listened_to_for_a_while() -> None:
    """Not even with the right word, which would tell that it is; others are."""
    check, clock = new_check()
    for _ in range(MOST_FAILURES):
        assert check.judge(header("wrong"), US) is PasswordVerdict.WRONG
    assert check.judge(header("right"), US) is PasswordVerdict.TOO_MANY
    assert check.judge(header("right"), "192.0.2.2") is PasswordVerdict.RIGHT
    clock.moment += FORGIVEN_EVERY_SECONDS
    assert check.judge(header("wrong"), US) is PasswordVerdict.WRONG
    assert check.judge(header("right"), US) is PasswordVerdict.TOO_MANY
    clock.moment += 2 * FORGIVEN_EVERY_SECONDS
    assert check.judge(header("right"), US) is PasswordVerdict.RIGHT


@pytest.mark.parametrize(
    ("other", "is_same"),
    [("2001:db8::2", True), ("2001:db8:0:0:ffff::1%eth0", True), ("2001:db8:0:1::1", False), ("192.0.2.1", False)],
)
def test_whoever_owns_one_ipv6_address_owns_those_around_it(other: str, is_same: bool) -> None:
    """A guesser may not begin anew with each of 2^64 addresses."""
    check, _ = new_check()
    for _ in range(MOST_FAILURES):
        check.judge(header("wrong"), "2001:db8::1")
    assert check.judge(header("right"), other) is (PasswordVerdict.TOO_MANY if is_same else PasswordVerdict.RIGHT)


def test_the_memory_of_guessers_is_bounded() -> None:
    """The oldest are forgotten, not the newest."""
    check, _ = new_check()
    for _ in range(MOST_FAILURES):
        check.judge(header("wrong"), "first")
    for number in range(MOST_ADDRESSES - 1):
        check.judge(header("wrong"), f"host {number}")
    assert check.judge(header("right"), "first") is PasswordVerdict.TOO_MANY
    check.judge(header("wrong"), "one more")
    assert check.judge(header("right"), "first") is PasswordVerdict.RIGHT
