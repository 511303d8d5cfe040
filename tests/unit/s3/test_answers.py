"""What a store's answers mean, and when a call is made again."""

from __future__ import annotations

import pytest

from watcher.s3.client import wait_before
from watcher.s3.errors import S3Error, S3ErrorKind, error_of_answer
from watcher.s3.listing import Page, Version, object_page, version_page

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def error_body(code: str, message: str = "") -> str:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, error_body("InvalidAccessKeyId", "The key '004' is not valid"), S3ErrorKind.KEY),
        (403, error_body("SignatureDoesNotMatch"), S3ErrorKind.SECRET),
        (404, error_body("NoSuchBucket"), S3ErrorKind.BUCKET),
        (301, error_body("PermanentRedirect"), S3ErrorKind.REGION),
        (301, "", S3ErrorKind.REGION),
        (400, error_body("AuthorizationHeaderMalformed"), S3ErrorKind.REGION),
        (403, error_body("RequestTimeTooSkewed"), S3ErrorKind.CLOCK),
        (403, error_body("AccessDenied", "not entitled"), S3ErrorKind.DENIED),
        (401, error_body("UnauthorizedAccess"), S3ErrorKind.DENIED),
        (403, error_body("AccessDenied", "Transaction cap exceeded, see the Caps &amp; Alerts page"), S3ErrorKind.CAP),
        (403, error_body("storage_cap_exceeded"), S3ErrorKind.CAP),
        (503, error_body("SlowDown"), S3ErrorKind.BUSY),
        (503, error_body("ServiceUnavailable", "no tomes available"), S3ErrorKind.BUSY),
        (500, "<html>oops</html>", S3ErrorKind.BUSY),
        (408, "", S3ErrorKind.BUSY),
        (501, error_body("NotImplemented"), S3ErrorKind.UNSUPPORTED),
        (400, error_body("InvalidArgument", "Unsupported value for canned acl 'private'"), S3ErrorKind.ACL),
        (404, error_body("NoSuchKey"), S3ErrorKind.MISSING),
        (404, "", S3ErrorKind.MISSING),
        (400, error_body("InvalidArgument"), S3ErrorKind.OTHER),
        (418, "no XML <", S3ErrorKind.OTHER),
    ],
)
def test_refusals_are_told_apart(status: int, body: str, kind: S3ErrorKind) -> None:
    """Each cause that an operator can do something about is recognised from status, code and words."""
    found = error_of_answer(status, body)
    assert (found.kind, found.status) == (kind, status)


@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
def test_the_second_try_goes_out_at_once_and_later_ones_wait(random: float) -> None:
    """B2's busy answers want a new connection at once; only then is it given time, never more than ten seconds."""
    waits = [wait_before(attempt, 0.0, random) for attempt in range(2, 12)]
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
        with pytest.raises(S3Error, match="no S3-compatible store"):
            read(body)
