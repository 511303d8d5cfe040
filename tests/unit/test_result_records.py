"""The objects of the four endings, field by field."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from watcher.compressor.wire import FileFacts, Result
from watcher.model import FailedReason, FileRef, Format, Image, Notice, Observation, OutputRule, Rule, SourceFacts
from watcher.result_records import (
    ResultDetails,
    failed_record,
    link_address,
    printable,
    savings,
    stored_record,
    superseded_record,
    vanished_record,
    with_replacement,
)

STORE = {"id": "c", "bucket": "b", "region": "eu-central-003", "path": "{name}"}
RULE = Rule(
    "products", Path("/srv/p"), (OutputRule(None, {}, STORE), OutputRule("thumb", {}, STORE, "https://cdn.example.com/{key}"))
)
IMAGE = Image("id-1", FileRef("products", Path("/srv/p"), b"d/a.jpg"), Observation(1, 2, 3, 4), RULE, 1_000.0)
FACTS = SourceFacts("a.jpg", "a" * 40, 1_000, Format.JPEG)
RESULT = Result("r-1", "https://b.example/k", FileFacts(name="a.jpg", format="jpeg"), FileFacts("a.jpg", size=250, sha1="0" * 40))
HEAD = {"timestamp": "1970-01-01T00:16:42.500000Z", "id": "id-1", "folder": "products", "file": "/srv/p/d/a.jpg"}


def test_stored_record_has_every_field() -> None:
    """The product: where it is, what went in and came out, what it saved, how it went."""
    details = ResultDetails("k/a b.jpg", attempts=2, recovered=True, url_mismatch=True)

    record = stored_record(IMAGE, RULE.outputs[1], FACTS, RESULT, details, 1_002.5)

    assert record == {
        **HEAD,
        "level": "info",
        "event": "image.stored",
        "rendition": "thumb",
        "url": "https://b.example/k",
        "link": "https://cdn.example.com/k/a%20b.jpg",
        "bucket": "b",
        "region": "eu-central-003",
        "key": "k/a b.jpg",
        "request_id": "r-1",
        "input": {"name": "a.jpg", "size": 1_000, "sha1": "a" * 40, "format": "jpeg"},
        "output": {"name": "a.jpg", "size": 250, "sha1": "0" * 40},
        "saved_bytes": 750,
        "saved_percent": 75.0,
        "attempts": 2,
        "seconds": 2.5,
        "recovered": True,
        "url_mismatch": True,
    }


def test_warnings_are_there_only_where_there_is_something_to_warn_of() -> None:
    """A list of closed words, absent when empty; the last one is known only when the key is looked at."""
    details = ResultDetails("k", warnings=(Notice.NOT_WEB_SAFE, Notice.NO_FORMAL_END))
    quiet = stored_record(IMAGE, RULE.outputs[0], FACTS, RESULT, ResultDetails("k"), 1_001.0)
    told = stored_record(IMAGE, RULE.outputs[0], FACTS, RESULT, details, 1_001.0)

    assert "warnings" not in quiet
    assert told["warnings"] == ["not_web_safe", "no_formal_end"]
    assert "warnings" not in with_replacement(quiet, replaced=True, hidden=False)
    assert "warnings" not in with_replacement(quiet, replaced=False, hidden=True)
    assert with_replacement(quiet, replaced=True, hidden=True)["warnings"] == ["cached_forever"]
    assert with_replacement(told, replaced=True, hidden=True)["warnings"] == ["not_web_safe", "no_formal_end", "cached_forever"]


def test_failed_record_says_that_the_original_lacked_its_end() -> None:
    """It may be why the API does not read it."""
    image = IMAGE.with_facts(replace(FACTS, no_formal_end=True), None)
    record = failed_record(image, None, FailedReason.REJECTED, "corrupt", "", 1, 422, 1_002.5)

    assert record["warnings"] == ["no_formal_end"]


def test_link_is_there_only_where_configured() -> None:
    """No link in the rule, no field; and the folder's own output says null for its rendition."""
    record = stored_record(IMAGE, RULE.outputs[0], FACTS, RESULT, ResultDetails("k"), 1_001.0)

    assert "link" not in record
    assert record["rendition"] is None


def test_failed_record_says_why_and_what_to_do() -> None:
    """Reason, message, hint, attempts and status are what the operator reads."""
    record = failed_record(IMAGE, None, FailedReason.REJECTED, "too big", "make it smaller", 3, 413, 1_002.5)

    assert record == {
        **HEAD,
        "level": "error",
        "event": "image.failed",
        "rendition": None,
        "reason": "rejected",
        "message": "too big",
        "hint": "make it smaller",
        "attempts": 3,
        "status": 413,
        "seconds": 2.5,
    }


def test_superseded_and_vanished_records() -> None:
    """The other two endings name the image, and who took its place where that is known."""
    superseded = superseded_record(IMAGE, "thumb", 1_002.5, "id-2")
    vanished = vanished_record(IMAGE, None, 1_002.5)

    assert superseded == {
        **HEAD,
        "level": "info",
        "event": "image.superseded",
        "rendition": "thumb",
        "by": "id-2",
        "seconds": 2.5,
    }
    assert vanished == {**HEAD, "level": "info", "event": "image.vanished", "rendition": None, "seconds": 2.5}


def test_clock_set_back_gives_no_negative_duration() -> None:
    """`seconds` is never below zero."""
    assert vanished_record(IMAGE, None, 900.0)["seconds"] == 0


def test_names_that_are_no_utf8_are_valid_json_and_can_be_had_back() -> None:
    """Bytes of no encoding are shown escaped, and whole in base64; a lone surrogate of an answer does no harm."""
    image = replace(IMAGE, file=FileRef("products", Path("/srv/p"), b"\xff.jpg"))
    result = replace(RESULT, url="https://b.example/\ud800")

    record = stored_record(image, RULE.outputs[0], FACTS, result, ResultDetails("k"), 1_001.0)

    assert (
        record["file"],
        record["file_base64"],
        record["url"],
    ) == ("/srv/p/\\xff.jpg", "L3Nydi9wL/8uanBn", "https://b.example/\\ud800")
    assert json.loads(json.dumps(record, ensure_ascii=False).encode()) == record


@pytest.mark.parametrize(
    ("size", "output", "expected"),
    [
        (1_000, 1_500, (-500, -50.0)),  # it grew
        (3, 1, (2, 66.7)),  # one decimal
        (0, 0, (0, 0.0)),
        (1_000, None, (None, None)),  # the answer does not say
    ],
)
def test_savings(size: int, output: int | None, expected: tuple[int | None, float | None]) -> None:
    """Bytes and percent, also where nothing was saved or nothing is known."""
    assert expected == tuple(savings(size, FileFacts(size=output)).values())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a/b.jpg", "https://cdn/a/b.jpg?v=1"),
        ("ä?#%.jpg", "https://cdn/%C3%A4%3F%23%25.jpg?v=1"),
        ("{key}.jpg", "https://cdn/%7Bkey%7D.jpg?v=1"),
    ],
)
def test_link_address(key: str, expected: str) -> None:
    """The key is percent-encoded but for its slashes."""
    assert expected == link_address("https://cdn/{key}?v=1", key)


def test_printable_reaches_every_text() -> None:
    """Keys, values, lists: whatever is nested is fit for UTF-8 afterwards, and everything else as it was."""
    broken = {"\udcff": ["a\udcfe", {"b": ("\udcfd", 1, None, 2.5, True)}]}

    assert printable(broken) == {"\\udcff": ["a\\udcfe", {"b": ["\\udcfd", 1, None, 2.5, True]}]}
