"""What receivers are told: programs the audit line's own object, people words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watcher.model import AuditLine, Event
from watcher.notify.messages import (
    MOST_GATHERED,
    Gathered,
    encoded,
    ending_id,
    ending_message,
    outage_message,
    sample_record,
)
from watcher.notify.plan import OUTAGES
from watcher.records.chain import compose


def line(seq: int = 1, event: str = "image.stored", **fields: Any) -> AuditLine:
    """A line of the audit file."""
    record = {"event": event, "folder": "products", "file": f"/drop/stühle {seq}.jpg", "rendition": None, **fields}
    return AuditLine(
        seq, f"id-{seq}", record["rendition"], float(seq), event, record["folder"], {**record, "seq": seq, "prev": None}
    )


def test_an_ending_is_told_byte_for_byte_as_the_audit_file_has_it() -> None:
    """Whoever checks the chain of hashes can do so from what was posted."""
    record = {"event": "image.stored", "file": "/drop/stühle.jpg", "id": "x", "seconds": 0.84, "rendition": None}
    whole = json.loads(compose(record, 7, "sha256:ab"))

    assert encoded(whole) == compose(record, 7, "sha256:ab")


def test_ids_are_stable_and_tell_renditions_apart() -> None:
    """Receivers tell repetitions by them; no full stop in them, which separates what is signed."""
    own, thumb, other = line(), line(rendition="thumb"), line(rendition="vignette. für später")

    assert ending_id(own) == ending_id(line()) == "msg_id-1"
    assert len({ending_id(each) for each in (own, thumb, other)}) == 3
    assert all(ending_id(each).isascii() and "." not in ending_id(each) for each in (own, thumb, other))
    assert ending_message(own).id == ending_id(own)


def test_people_read_what_happened_what_failed_and_where_the_rest_is() -> None:
    """Failures first, with what to do; a link before a URL; the first ten of each by name."""
    gathered = Gathered()
    for seq in range(1, 13):
        gathered.add(line(seq, url=f"https://b/{seq}.jpg", saved_bytes=1000))
    gathered.add(line(13, link="https://cdn/13.jpg", url="https://b/13.jpg", rendition="thumb", folder="scans"))
    gathered.add(line(14, "image.failed", message="the API refuses it", hint="mend the rule"))
    message = gathered.message(0.0)

    assert message.title == "compressor-watcher: 13 stored, 1 failed"
    assert message.text.splitlines() == [
        "products: 12 stored, 1 failed",
        "scans: 1 stored",
        "12.0 kB saved",
        "",
        "Failed:",
        "stühle 14.jpg: the API refuses it. mend the rule",
        "",
        "Stored:",
        *(f"stühle {seq}.jpg  https://b/{seq}.jpg" for seq in range(1, 11)),
        "and 3 more",
    ]


def test_a_single_rendition_is_named() -> None:
    """Two outputs of one file are not the same."""
    gathered = Gathered()
    gathered.add(line(rendition="thumb", link="https://cdn/1.jpg", url="https://b/1.jpg"))

    assert "stühle 1.jpg (thumb)  https://cdn/1.jpg" in gathered.text


def test_a_digest_for_a_program_holds_every_ending() -> None:
    """Counts, what people would read (`text`, which chat webhooks show), and the objects."""
    gathered = Gathered(keeps_lines=True)
    lines = [line(3), line(4, "image.vanished"), line(5, "image.superseded")]
    for each in lines:
        gathered.add(each)
    digest = json.loads(gathered.message(0.0).body)

    assert (digest["event"], digest["from"], digest["to"]) == ("digest", 3, 5)
    assert [digest[state] for state in ("stored", "failed", "superseded", "vanished")] == [1, 0, 1, 1]
    assert digest["endings"] == [each.record for each in lines]
    assert digest["text"].startswith("compressor-watcher: 1 stored, 1 superseded, 1 vanished\nproducts: ")
    assert gathered.message(0.0).id == "msg_id-3_to_5"


def test_a_digest_has_room_for_so_many() -> None:
    """The rest comes in the next."""
    gathered, words = Gathered(keeps_lines=True), Gathered()
    for seq in range(MOST_GATHERED):
        assert not gathered.is_full
        gathered.add(line(seq))
        words.add(line(seq))

    assert gathered.is_full
    assert not words.is_full


def test_nothing_makes_no_digest() -> None:
    """There is always an ending in one."""
    with pytest.raises(ValueError, match="nothing"):
        Gathered().message(0.0)


@pytest.mark.parametrize("event", sorted(OUTAGES))
def test_every_outage_has_words_for_people(event: Event) -> None:
    """And its own object for programs."""
    record = {"event": str(event), "message": "what happened", "hint": "what to do", "folder": "scans"}
    message = outage_message(record, "msg_1")

    assert message.title.endswith(": scans")
    assert str(event) not in message.title
    assert message.text == "what happened\nwhat to do"
    assert json.loads(message.body) == record


def test_a_sample_looks_like_an_ending_and_says_that_it_is_none() -> None:
    """Its fields are those of a stored image."""
    sample = sample_record(0.0, "my-bucket", "eu-central-003")

    assert sample["test"] is True
    assert sample["url"] == "https://my-bucket.s3.eu-central-003.backblazeb2.com/test/sample.jpg"
    assert sample["input"]["size"] - sample["output"]["size"] == sample["saved_bytes"]
