"""What the store's answers mean, when to try again, what may be swept."""

from __future__ import annotations

import pytest

from tests.support.publishing import new_ticket
from watcher.model import Ticket
from watcher.publish.diagnosis import key_hint
from watcher.publish.presign import is_leftover, key_name, signing_window, staged_key
from watcher.publish.staging import HINTS, Page, StoreRefused, Trouble, Version, object_page, refusal, version_page, wait_before
from watcher.s3.signing import Credentials

NOW = 1_800_000_000.0
TOKEN = "T" * 43
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def error_body(code: str, message: str = "") -> str:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (403, error_body("InvalidAccessKeyId", "The key '004' is not valid"), Trouble.KEY),
        (403, error_body("SignatureDoesNotMatch"), Trouble.SECRET),
        (404, error_body("NoSuchBucket"), Trouble.BUCKET),
        (301, error_body("PermanentRedirect"), Trouble.REGION),
        (301, "", Trouble.REGION),
        (400, error_body("AuthorizationHeaderMalformed"), Trouble.REGION),
        (403, error_body("RequestTimeTooSkewed"), Trouble.CLOCK),
        (403, error_body("AccessDenied", "not entitled"), Trouble.DENIED),
        (401, error_body("UnauthorizedAccess"), Trouble.DENIED),
        (403, error_body("AccessDenied", "Transaction cap exceeded, see the Caps &amp; Alerts page"), Trouble.CAP),
        (403, error_body("storage_cap_exceeded"), Trouble.CAP),
        (503, error_body("SlowDown"), Trouble.BUSY),
        (503, error_body("ServiceUnavailable", "no tomes available"), Trouble.BUSY),
        (500, "<html>oops</html>", Trouble.BUSY),
        (408, "", Trouble.BUSY),
        (501, error_body("NotImplemented"), Trouble.UNSUPPORTED),
        (400, error_body("InvalidArgument"), Trouble.OTHER),
        (418, "no XML <", Trouble.OTHER),
    ],
)
def test_refusals_are_told_apart(status: int, body: str, trouble: Trouble) -> None:
    """Each cause that an operator can do something about is recognised from status, code and words."""
    found = refusal(status, body)
    assert (found.trouble, found.status) == (trouble, status)
    assert found.hint == HINTS[trouble]


def test_every_trouble_that_needs_the_operator_has_a_hint() -> None:
    """Nobody is told that something is wrong without being told what to do."""
    assert {trouble for trouble in Trouble if not HINTS[trouble]} == {Trouble.UNSUPPORTED}


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_second_try_goes_out_at_once_and_later_ones_wait(chance: float) -> None:
    """B2's busy answers want a new connection at once; only then is it given time, never more than ten seconds."""
    waits = [wait_before(attempt, 0.0, chance) for attempt in range(2, 12)]
    assert waits[0] == 0.0
    assert waits[1] > 0.0
    assert waits == sorted(waits)
    assert max(waits) <= 10.0


@pytest.mark.parametrize(("attempt", "asked", "wait"), [(2, 3.0, 3.0), (3, 4.0, 4.0), (2, 3600.0, 10.0), (6, 3600.0, 10.0)])
def test_a_pause_that_the_store_asks_for_is_kept(attempt: int, asked: float, wait: float) -> None:
    """Retry-After wins over our own plan, but cannot stop us for long."""
    assert wait_before(attempt, asked, 0.5) == wait


@pytest.mark.parametrize("namespace", ["", NAMESPACE])
def test_a_version_listing_is_read(namespace: str) -> None:
    """Versions and deletion markers come out alike, with or without the namespace."""
    body = (
        f"<ListVersionsResult {namespace}><IsTruncated>true</IsTruncated><NextKeyMarker>b</NextKeyMarker>"
        "<NextVersionIdMarker>2</NextVersionIdMarker><Version><Key>a</Key><VersionId>1</VersionId></Version>"
        "<DeleteMarker><Key>b</Key><VersionId>2</VersionId></DeleteMarker></ListVersionsResult>"
    )
    assert version_page(body) == Page((Version("a", "1"), Version("b", "2")), {"key-marker": "b", "version-id-marker": "2"})


def test_a_plain_listing_is_read() -> None:
    """A store without versions gives keys; the last page leads nowhere."""
    body = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key></Contents></ListBucketResult>"
    assert object_page(body) == Page((Version("a", None),))


@pytest.mark.parametrize("body", ["", "\xff\xd8\xff", "<html><body>Sign in to the network</body></html>", "<Error/>"])
def test_what_is_no_listing_is_a_refusal(body: str) -> None:
    """A proxy's page that comes with status 200 is trouble to be told, not a fault of ours."""
    for read in (version_page, object_page):
        with pytest.raises(StoreRefused, match="no S3-compatible store"):
            read(body)


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
