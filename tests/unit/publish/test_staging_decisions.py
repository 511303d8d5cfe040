"""Where originals are staged, what may be swept, and how long a link lives."""

from __future__ import annotations

import pytest

from tests.support.publishing import new_ticket
from watcher.model import Ticket
from watcher.publish.diagnosis import key_hint
from watcher.publish.presign import is_leftover, key_name, signing_window, staged_key
from watcher.publish.staging import HINTS
from watcher.s3.errors import S3ErrorKind
from watcher.s3.signing import Credentials

NOW = 1_800_000_000.0
TOKEN = "T" * 43


def test_every_kind_of_refusal_has_a_hint() -> None:
    """Nobody is told that something is wrong without being told what to do."""
    assert {kind for kind in S3ErrorKind if not HINTS.get(kind)} == set()


def leftover(key: str, *, owner: str = "me", live: tuple[str, ...] = ()) -> bool:
    return is_leftover(key, "staging/", owner, live, NOW)


def key_of(expires: float, owner: str, token: str = TOKEN) -> str:
    return staged_key("staging/", owner, Ticket(token, "s", expires), "photo.jpg")


def test_what_is_past_its_time_may_go_whoever_staged_it() -> None:
    """Every link to it is dead, whatever the other daemon's `ttl`."""
    assert leftover(key_of(NOW - 3600, "me"))
    assert leftover(key_of(NOW - 3600, "other"))
    assert leftover(key_of(NOW - 3600, ""))


def test_clocks_may_differ_a_little() -> None:
    """What ended a moment ago is left for the next sweep."""
    assert not leftover(key_of(NOW - 60, "other"))


def test_what_still_works_stays() -> None:
    """Other daemons' staged originals, and one's own live ones, are not touched."""
    assert not leftover(key_of(NOW + 60, "other"))
    assert not leftover(key_of(NOW + 60, ""))
    assert not leftover(key_of(NOW + 60, "me"), live=(TOKEN,))
    assert not leftover(key_of(NOW + 60, "me"), owner="")


def test_ones_own_of_no_live_ticket_goes_at_once() -> None:
    """A crash of this very daemon left it."""
    assert leftover(key_of(NOW + 60, "me"))


@pytest.mark.parametrize(
    "key",
    [
        "staging/photo.jpg",
        "staging/watcher-photo.jpg",
        "staging/watcher-1000000000/photo.jpg",
        "staging/watcher-1000000000/t/x/y.jpg",
        "staging/watcher-100/t/y.jpg",
        "other/watcher-1000000000/t/y.jpg",
        "watcher-1000000000/t/y.jpg",
    ],
)
def test_foreign_objects_are_never_leftovers(key: str) -> None:
    """Whatever is not exactly of our form is somebody else's."""
    assert not leftover(key)


def test_a_ticket_s_link_is_dated_by_the_ticket() -> None:
    """The same window whenever it is asked for, ending with the ticket."""
    ticket = Ticket("t", "s", NOW + 3600)
    windows = {signing_window(ticket, 3600.0, NOW + later) for later in (0.0, 10.0, 1800.0)}
    assert windows == {(NOW, 3600)}


def test_a_ticket_of_a_longer_ttl_is_not_dated_in_the_future() -> None:
    """After `ttl` was made shorter, an old ticket's link works at once and still ends with the ticket."""
    assert signing_window(Ticket("t", "s", NOW + 3600), 60.0, NOW) == (NOW, 3600)


def test_a_link_never_lives_longer_than_seven_days() -> None:
    """More would be refused by every store."""
    assert signing_window(Ticket("t", "s", NOW + 10_000_000), 60.0, NOW)[1] == 604_800


@pytest.mark.parametrize(
    ("name", "kept"), [("a b+c%.jpg", "a-b-c-.jpg"), ("写真.jpg", "写真.jpg"), ("..", "image"), ("a/b\\c.png", "a-b-c.png")]
)
def test_names_in_keys_are_plain(name: str, kept: str) -> None:
    """Nothing that stores or signers escape differently, and no path of its own."""
    assert key_name(name) == kept


@pytest.mark.parametrize(
    ("key_id", "endpoint", "word"),
    [
        ("a1b2c3d4e5f6", "https://s3.us-west-004.backblazeb2.com", "master key"),
        ("0031234567890abcdef000001", "https://s3.us-west-004.backblazeb2.com", "region 003"),
        ("0041234567890abcdef000001", "https://s3.us-west-004.backblazeb2.com", ""),
        ("a1b2c3d4e5f6", "https://s3.example.com", ""),
        ("AKIAEXAMPLE", "https://s3.us-west-004.backblazeb2.com", ""),
    ],
)
def test_the_form_of_a_b2_key_helps_to_explain_its_refusal(key_id: str, endpoint: str, word: str) -> None:
    """A master key and a key of another region are refused as unknown; their form gives them away."""
    hint = key_hint(key_id, endpoint)
    assert word in hint
    assert bool(hint) is bool(word)


def test_credentials_hide_their_secret() -> None:
    """A repr in a traceback or a log shows no application key."""
    assert "hush" not in repr(Credentials("id", "hush", "region"))
    assert new_ticket().token not in repr(new_ticket())
