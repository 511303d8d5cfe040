"""What a request for a temporary URL is answered."""

import pytest

from watcher.publish.answers import (
    Representation,
    ResponsePlan,
    answer,
    prefixes_of,
    requested_span,
    shown_name,
    temporary_url,
    token_in,
)

WHAT = Representation("a" * 40, 1000, 1_700_000_000)
LATER = "Wed, 15 Nov 2023 00:00:00 GMT"
EARLIER = "Mon, 13 Nov 2023 00:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=900-", (900, 100)),
        ("bytes=900-5000", (900, 100)),
        ("bytes=-1", (999, 1)),
        ("bytes=-5000", (0, 1000)),
        ("Bytes= 10-19 ", (10, 10)),
    ],
)
def test_a_single_range_is_given(header: str, span: tuple[int, int]) -> None:
    """A range inside the file gives exactly its bytes, cut at the end of the file."""
    assert requested_span(header, 1000) == span


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_is_refused(header: str) -> None:
    """A range that begins behind the end, or asks for nothing, cannot be satisfied: 416 with the size."""
    refused = answer("GET", {"Range": header}, WHAT)
    assert refused.status == 416
    assert refused.content_range(1000) == "bytes */1000"


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,5-6", "", f"bytes=0-{'9' * 5000}", "bytes=٣-٤"]
)
def test_a_range_that_makes_no_sense_is_ignored(header: str) -> None:
    """Malformed, foreign, many at once, absurdly long: the whole file is the answer."""
    assert answer("GET", {"Range": header}, WHAT) == ResponsePlan(200, 0, 1000)


def test_a_range_is_for_get_alone() -> None:
    """HEAD tells of the whole, as RFC 9110 asks."""
    assert answer("HEAD", {"Range": "bytes=0-1"}, WHAT) == ResponsePlan(200, 0, 1000)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (WHAT.etag, 206),
        (WHAT.last_modified, 206),
        ('"other"', 200),
        (f"W/{WHAT.etag}", 200),
        (LATER, 200),
    ],
)
def test_a_range_of_another_version_is_answered_with_the_whole(condition: str, status: int) -> None:
    """If-Range lets the range through for the very same version only."""
    assert answer("GET", {"Range": "bytes=0-1", "If-Range": condition}, WHAT).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": WHAT.etag}, 304),
        ({"If-None-Match": f"W/{WHAT.etag}"}, 304),
        ({"If-None-Match": f'"x", {WHAT.etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, 200),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": WHAT.last_modified}, 304),
        ({"If-Modified-Since": EARLIER}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": WHAT.etag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": f"W/{WHAT.etag}"}, 412),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": WHAT.etag, "If-Unmodified-Since": EARLIER}, 200),
        ({"If-Unmodified-Since": EARLIER}, 412),
        ({"If-Unmodified-Since": LATER}, 200),
        ({"If-Match": '"x"', "If-None-Match": WHAT.etag}, 412),
    ],
)
def test_preconditions(headers: dict[str, str], status: int) -> None:
    """Preconditions decide in the order of RFC 9110: entity tags before dates, refusals before 304."""
    assert answer("GET", headers, WHAT).status == status


@pytest.mark.parametrize(
    ("public_path", "path", "token"),
    [
        ("", "/t/abc/x.jpg", "abc"),
        ("", "/t/abc", "abc"),
        ("", "/t/", ""),
        ("", "/", None),
        ("", "/robots.txt", None),
        ("", "/x/t/abc/x.jpg", None),
        ("/drops", "/drops/t/abc/x.jpg", "abc"),
        ("/drops", "/t/abc/x.jpg", "abc"),
        ("/a/b", "/a/b/t/abc/x", "abc"),
        ("/a/b", "/b/t/abc/x", "abc"),
        ("/a/b", "/a/t/abc/x", "abc"),
        ("/a/b", "/c/t/abc/x", None),
        ("/t", "/t/t/abc/x", "abc"),
        ("/t", "/t/abc/x", "abc"),
    ],
)
def test_the_token_is_found_under_any_part_of_the_public_path(public_path: str, path: str, token: str | None) -> None:
    """A proxy may pass the public path on, strip it, or strip a part of it; nothing else leads anywhere."""
    assert token_in(path, prefixes_of(public_path)) == token


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Großes Bild (1).jpg", "Großes Bild (1).jpg"),
        ("Großes.jpg", "Großes.jpg"),
        ("a/b\\c\x00d\n.jpg", "a-b-c-d-.jpg"),
        ("bad\udcff.jpg", "bad-.jpg"),
        ("..", "image"),
        ("", "image"),
        ("x" * 300 + ".jpeg", "x" * 195 + ".jpeg"),
        ("é" * 150 + ".jpg", "é" * 98 + ".jpg"),
        ("y" * 300, "y" * 200),
    ],
)
def test_names_are_made_fit_to_be_seen(name: str, shown: str) -> None:
    """The name in a URL keeps what can be read, its extension, and at most 200 bytes."""
    assert shown_name(name) == shown


def test_the_url_is_ascii() -> None:
    """Whatever the name, the URL is plain ASCII with the token before the name."""
    url = temporary_url("https://h/p", "tok", "ä ö?#%.jpg")
    assert url == "https://h/p/t/tok/%C3%A4%20%C3%B6---.jpg"
