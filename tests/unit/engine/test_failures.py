"""What goes wrong, in words and pauses."""

import base64

import pytest

from watcher.engine.api import presented_key
from watcher.engine.b2 import store_error
from watcher.engine.fetch import source_name
from watcher.engine.webhooks import pause
from watcher.s3.errors import S3Error, S3ErrorKind, error_of_answer


def refusal(status: int, code: str = "", message: str = "") -> S3Error:
    return error_of_answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>")


@pytest.mark.parametrize(
    ("error", "words", "retryable"),
    [
        (refusal(503, "SlowDown"), "busy", True),
        (refusal(500, "InternalError"), "busy", True),
        (refusal(408), "busy", True),
        (refusal(429), "busy", True),
        (S3Error(S3ErrorKind.UNREACHABLE, "no answer"), "cannot be reached", True),
        (refusal(403, "AccessDenied", "storage cap exceeded"), "cap", False),
        (refusal(403, "AccessDenied", "not entitled"), "may not write", False),
        (refusal(403, "UnauthorizedAccess"), "may not write", False),
        (refusal(403, "InvalidAccessKeyId", "The key '004secret' is not valid"), "not valid in store.region", False),
        (refusal(403, "SignatureDoesNotMatch"), "application_key", False),
        (refusal(404, "NoSuchBucket"), "no such bucket", False),
        (refusal(400, "InvalidArgument", "Unsupported value for canned acl 'private'"), "store.acl is `private`", False),
        (refusal(400, "AuthorizationHeaderMalformed"), "not in store.region", False),
        (refusal(301), "not in store.region", False),
        (refusal(403, "RequestTimeTooSkewed"), "clock", False),
        (refusal(400, "KeyTooLongError"), "status 400 KeyTooLongError", False),
        (refusal(400), "status 400)", False),
    ],
)
def test_a_stores_refusal_is_put_into_words(error: S3Error, words: str, retryable: bool) -> None:
    """The cause is named, whether it may pass is told, and nothing of B2's own words (key ids) is repeated."""
    failure = store_error(error, acl="private")
    assert words in failure.message
    assert failure.retryable is retryable
    assert "004secret" not in str(failure)


def test_a_key_that_may_not_read_is_told_from_one_that_may_not_write() -> None:
    """Each names the capability that is missing."""
    assert "readFiles" in store_error(refusal(403)).hint
    assert "writeFiles" in store_error(refusal(403), acl="private").hint


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
