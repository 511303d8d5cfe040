"""The address of an object, and what a HEAD answers."""

from __future__ import annotations

import httpx
import pytest

from watcher.compressor.stored import read_head
from watcher.model import Absence
from watcher.s3.addresses import B2_OBJECT, object_url

KEYS = [
    "cat.jpg",
    "products/a b/c+d.jpg",
    "Größe/猫 №1.jpg",
    "odd/=&?#%\",;:@!$*'()~.jpg",
    "{bucket}/{region}.jpg",
    "100%25.jpg",
]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b/c+d.jpg", "a%20b/c%2Bd.jpg"),
        ("ü.jpg", "%C3%BC.jpg"),
        ("{bucket}.jpg", "%7Bbucket%7D.jpg"),
        ("100%25?.jpg", "100%2525%3F.jpg"),
        ("a-._~b", "a-._~b"),
    ],
)
def test_a_key_is_percent_encoded_as_the_store_wants_it(key: str, path: str) -> None:
    """Space as %20, + as %2B, slashes kept, and nothing in a key is taken for a field of the template."""
    assert object_url(B2_OBJECT, "bu", key, "eu-central-003") == f"https://bu.s3.eu-central-003.backblazeb2.com/{path}"


@pytest.mark.parametrize("key", KEYS)
def test_the_http_library_sends_the_path_as_it_was_signed(key: str) -> None:
    """No second encoding, no tidying up."""
    url = object_url(B2_OBJECT, "bu", key, "eu-central-003")
    assert httpx.URL(url).raw_path.decode() == url.removeprefix("https://bu.s3.eu-central-003.backblazeb2.com")


def test_an_object_is_read_with_its_metadata() -> None:
    """Names in lower case, values of the S3 headers as they are, of B2's native ones percent-decoded."""
    headers = httpx.Headers(
        {"Content-Length": "99", "X-Amz-Meta-Source-Sha1": "abc%20", "X-Bz-Info-Rule": "a%2Bb", "Content-Type": "image/jpeg"}
    )
    answer = read_head(200, headers)
    assert (answer.absence, answer.size) == (None, 99)
    assert answer.metadata == {"source-sha1": "abc%20", "rule": "a+b"}


@pytest.mark.parametrize(
    ("status", "absence"),
    [
        (404, Absence.ABSENT),
        (410, Absence.ABSENT),
        (401, Absence.FORBIDDEN),
        (403, Absence.FORBIDDEN),
        (301, Absence.FORBIDDEN),
        (400, Absence.FORBIDDEN),
        (405, Absence.FORBIDDEN),
        (408, Absence.UNREACHABLE),
        (429, Absence.UNREACHABLE),
        (500, Absence.UNREACHABLE),
        (503, Absence.UNREACHABLE),
    ],
)
def test_what_may_pass_is_asked_again_and_what_will_not_is_not(status: int, absence: Absence) -> None:
    """A store that answers neither yes nor no must not hold an image forever."""
    answer = read_head(status, httpx.Headers())
    assert answer.absence is absence
    assert str(status) in answer.message


@pytest.mark.parametrize("length", ["", "x", "-1", "1.5"])
def test_a_size_that_is_no_number_is_not_known(length: str) -> None:
    """And breaks nothing."""
    assert read_head(200, httpx.Headers({"content-length": length})).size is None
