"""A result against what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from watcher.compressor.answer_check import Comparison, compare, is_done, matches
from watcher.compressor.wire import FileFacts, Result
from watcher.model import Absence, Format, HeadAnswer, SourceFacts, StoredObject

SHA1 = "0" * 39 + "a"
FACTS = SourceFacts("cat.jpg", SHA1, 123, Format.JPEG)
KEY = "products/Größe 1+2/cat.jpg"


def result(url: str = "https://bu.s3.eu-central-003.backblazeb2.com/products/Größe 1+2/cat.jpg", **stated: Any) -> Result:
    """A result that states this of its input."""
    return Result("id", url, FileFacts(**stated), FileFacts(size=99))


def asked(key: str = KEY) -> StoredObject:
    """What should lie at a key of the one bucket of these tests."""
    return StoredObject("bu", key, "drop", b"cat.jpg", SHA1, "r1")


def judged(told: Result, key: str = KEY, *, expects_b2: bool = True) -> Comparison:
    """Against what was asked for in these tests."""
    return compare(FACTS, told, asked(key), "eu-central-003", expects_b2=expects_b2)


@pytest.mark.parametrize("stated", [{}, {"sha1": SHA1}, {"size": 123}, {"sha1": SHA1, "size": 123}])
def test_an_input_that_is_ours_or_not_stated_is_right(stated: dict[str, Any]) -> None:
    """The vendor page's own sample states neither size nor SHA-1."""
    assert judged(result(**stated)) == Comparison(None, None, url_mismatch=False)


@pytest.mark.parametrize(
    ("stated", "word"), [({"sha1": "f" * 40}, "SHA-1"), ({"size": 122}, "122 bytes"), ({"size": 0}, "0 bytes")]
)
def test_an_input_that_is_not_ours_is_named(stated: dict[str, Any], word: str) -> None:
    """Other bytes were worked on than were served."""
    problem = judged(result(**stated)).input_problem
    assert problem is not None
    assert word in problem


B2 = "https://bu.s3.eu-central-003.backblazeb2.com/"


@pytest.mark.parametrize(
    "url",
    [
        B2 + "products/Größe 1+2/cat.jpg",
        B2 + "products/Gr%C3%B6%C3%9Fe%201%2B2/cat.jpg",
        B2 + "products/Gr%c3%b6%c3%9fe%201+2/cat.jpg",
        B2 + "products%2FGr%C3%B6%C3%9Fe%201+2%2Fcat.jpg",
    ],
)
def test_an_address_is_compared_percent_decoded(url: str) -> None:
    """However the API escapes it."""
    assert not judged(result(url)).url_mismatch


@pytest.mark.parametrize(
    "url",
    [
        B2 + "cat.jpg",
        "http" + B2.removeprefix("https") + "products/Größe 1+2/cat.jpg",
        "https://other.s3.eu-central-003.backblazeb2.com/products/Größe 1+2/cat.jpg",
        "https://bu.s3.us-west-004.backblazeb2.com/products/Größe 1+2/cat.jpg",
        "https://s3.eu-central-003.backblazeb2.com/bu/products/Größe 1+2/cat.jpg",
        B2 + "products/Größe 1 2/cat.jpg",
        "",
    ],
)
def test_another_address_is_a_mismatch(url: str) -> None:
    """The vendor page's sample drops the folder; that is worth a flag."""
    assert judged(result(url)).url_mismatch


def test_a_key_with_a_percent_sign_matches_its_plain_address() -> None:
    """An API that does not escape is not accused."""
    assert not judged(result(B2 + "50%25.jpg"), "50%25.jpg").url_mismatch
    assert not judged(result(B2 + "50%2525.jpg"), "50%25.jpg").url_mismatch


def test_no_address_is_expected_of_something_that_is_not_b2() -> None:
    """The embedded engine stores into folders too."""
    assert not judged(result("http://127.0.0.1/x"), expects_b2=False).url_mismatch


def head(**metadata: str) -> HeadAnswer:
    """An object with this metadata."""
    return HeadAnswer(size=99, metadata={key.replace("_", "-"): value for key, value in metadata.items()})


@pytest.mark.parametrize(
    ("answer", "done"),
    [
        (head(source_sha1=SHA1, rule="r1"), True),
        (head(source_sha1=SHA1.upper(), rule="r1"), True),
        (head(source_sha1=SHA1, rule="r2"), False),
        (head(source_sha1="b" * 40, rule="r1"), False),
        (head(source_sha1=SHA1), False),
        (head(), False),
        (HeadAnswer(Absence.ABSENT), False),
        (HeadAnswer(Absence.FORBIDDEN, metadata={"source-sha1": SHA1, "rule": "r1"}), False),
    ],
)
def test_done_is_what_was_made_of_these_bytes_under_this_rule(answer: HeadAnswer, done: bool) -> None:
    """Anything less is sent again."""
    assert is_done(answer, asked()) is done


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (HeadAnswer(size=99), True),
        (HeadAnswer(size=None), True),
        (HeadAnswer(size=98), False),
        (HeadAnswer(Absence.ABSENT), False),
        (HeadAnswer(Absence.UNREACHABLE), False),
    ],
)
def test_the_stored_object_has_the_stated_size(answer: HeadAnswer, same: bool) -> None:
    """For `mode = "always"`."""
    assert matches(answer, result()) is same


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, None),
        (head(source_sha1=SHA1, rule="r1"), None),
        (HeadAnswer(Absence.FORBIDDEN), None),
        (head(source_sha1="b" * 40, rule="r1"), "another object"),
        (HeadAnswer(size=98, metadata={"source-sha1": SHA1, "rule": "r1"}), "another object"),
        (HeadAnswer(Absence.ABSENT), "absent"),
    ],
)
def test_a_store_that_holds_something_else_is_told(answer: HeadAnswer | None, words: str | None) -> None:
    """One that will not say contradicts nothing."""
    problem = compare(FACTS, result(), asked(), "eu-central-003", head=answer).store_problem
    assert (problem is None) == (words is None)
    assert words is None or words in str(problem)
