"""What goes wrong, in words and pauses."""

import base64

import pytest

from watcher.engine.api import presented_key
from watcher.engine.b2 import judged
from watcher.engine.fetch import source_name
from watcher.engine.webhooks import pause


def report(status: int, code: str = "", message: str = "") -> str:
    """As obstore reports a failed call."""
    return (
        f"Generic S3 error: Error performing PUT http://s3/bucket/key in 1ms - Server returned non-2xx status code: {status} X: "
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>\n\nDebug source:\nGeneric {{ status code: 200 }}"
    )


@pytest.mark.parametrize(
    ("text", "words", "retryable"),
    [
        (report(503, "SlowDown"), "busy", True),
        (report(500, "InternalError"), "busy", True),
        (report(408), "busy", True),
        (report(429), "busy", True),
        ("HTTP error: error sending request", "cannot be reached", True),
        (report(403, "AccessDenied", "storage cap exceeded"), "cap", False),
        (report(403, "AccessDenied", "not entitled"), "may not write", False),
        (report(403, "UnauthorizedAccess"), "may not write", False),
        (report(403, "InvalidAccessKeyId", "The key '004secret' is not valid"), "not valid in store.region", False),
        (report(403, "SignatureDoesNotMatch"), "application_key", False),
        (report(404, "NoSuchBucket"), "no such bucket", False),
        (report(400, "InvalidArgument", "Unsupported value for canned acl 'private'"), "store.acl is `private`", False),
        (report(400, "AuthorizationHeaderMalformed"), "not in store.region", False),
        ("Received redirect without LOCATION", "not in store.region", False),
        (report(403, "RequestTimeTooSkewed"), "clock", False),
        (report(400, "KeyTooLongError"), "status 400 KeyTooLongError", False),
        (report(400), "status 400)", False),
    ],
)
def test_a_stores_refusal_is_put_into_words(text: str, words: str, retryable: bool) -> None:
    """The cause is named, whether it may pass is told, and nothing of B2's own words (key ids) is repeated."""
    failure = judged(text, "private")
    assert words in failure.message
    assert failure.retryable is retryable
    assert "004secret" not in str(failure)


def test_pauses_grow_and_end() -> None:
    """Doubling from half a second to a second, at most ten minutes, with jitter below and never above."""
    assert [pause(tries, 1.0) for tries in range(4)] == [1, 2, 4, 8]
    assert pause(0, 0.0) == 0.5
    assert pause(1000, 1.0) == 600


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer k", "k"),
        ("Basic " + base64.b64encode(b"k:").decode(), "k"),
        ("basic " + base64.b64encode(b"k").decode(), "k"),
        ("Basic " + base64.b64encode(b"k:password").decode(), None),
        ("Basic " + base64.b64encode(b"\xff:").decode(), None),
        ("Basic !", None),
        ("Digest k", None),
        ("", None),
    ],
)
def test_a_key_is_presented_in_two_ways(header: str, key: str | None) -> None:
    """Basic with the key as user and nothing as password, or Bearer."""
    assert presented_key(header) == key


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x/a/image.jpg?b=c", "image.jpg"),
        ("https://x/a/sch%C3%B6n%20hier.jpg", "schön hier.jpg"),
        ("https://x/a%2F..%2Fb.jpg", "a-..-b.jpg"),
        ("https://x/", "image"),
        ("https://x", "image"),
        ("https://x/..", "image"),
        ("https://x/%00%0a.jpg", "--.jpg"),
        ("https://x/" + "a" * 300 + ".jpg", "a" * 196 + ".jpg"),
    ],
)
def test_a_source_is_named_by_its_address(url: str, name: str) -> None:
    """The last part of the path, decoded, without anything that could lead elsewhere."""
    assert source_name(url) == name
