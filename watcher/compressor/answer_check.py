"""What was asked for against what the API and the store say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.model import Absence
from watcher.s3.addresses import B2_OBJECT, is_object_url

if TYPE_CHECKING:
    from watcher.compressor.wire import FileFacts, Result
    from watcher.model import HeadAnswer, SourceFacts, StoredObject

SHA1_KEY: Final = "source-sha1"
RULE_KEY: Final = "rule"
"""The two keys that every request adds to `store.metadata`, so that the stored object tells what it was made of."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a result differs from what was asked for. The problems are None where nothing contradicts."""

    input_problem: str | None
    """The API worked on other bytes than were served."""
    store_problem: str | None
    """The store holds something else than the API says it stored."""
    url_mismatch: bool


def compare(
    facts: SourceFacts,
    result: Result,
    asked: StoredObject,
    region: str,
    *,
    head: HeadAnswer | None = None,
    expects_b2: bool = True,
) -> Comparison:
    """Hold a result against the bytes that were served, the address that was asked for, and what the store says, if it was asked.

    A fact that the answer does not state is no contradiction. `expects_b2` is False where the embedded engine stores into
    something that is not B2: then no address is expected.
    """
    mismatch = expects_b2 and not is_object_url(result.url, B2_OBJECT, asked.bucket, asked.key, region)
    return Comparison(input_problem(facts, result.input), store_problem(head, result, asked), mismatch)


def input_problem(facts: SourceFacts, stated: FileFacts) -> str | None:
    """How the API's `input` contradicts ours, or None."""
    if stated.sha1 is not None and stated.sha1 != facts.sha1:
        return f"the API worked on other bytes than were served: its input has SHA-1 {stated.sha1[:40]}, ours {facts.sha1}"
    if stated.size is not None and stated.size != facts.size:
        return f"the API worked on other bytes than were served: its input has {stated.size} bytes, ours {facts.size}"
    return None


def store_problem(head: HeadAnswer | None, result: Result, asked: StoredObject) -> str | None:
    """How the stored object contradicts the result, or None: also where the store was not asked or will not say."""
    if head is None or head.absence is Absence.FORBIDDEN:
        return None
    if matches(head, result) and is_done(head, asked):
        return None
    return f"the store does not hold what the API says it stored ({head.absence or 'another object'} at {asked.key})"


def is_done(head: HeadAnswer, asked: StoredObject) -> bool:
    """Whether the stored object says that it was made of these bytes under this rule."""
    return (
        head.absence is None
        and head.metadata.get(SHA1_KEY, "").lower() == asked.sha1
        and head.metadata.get(RULE_KEY, "") == asked.rule
    )


def matches(head: HeadAnswer, result: Result) -> bool:
    """Whether the stored object is what the result speaks of: it is there, and has the size (bytes) that the API states."""
    sizes_known = head.size is not None and result.output.size is not None
    return head.absence is None and (not sizes_known or head.size == result.output.size)
