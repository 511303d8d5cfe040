"""What was asked for against what the API and the store say. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.s3.addresses import B2_OBJECT, is_object_url

if TYPE_CHECKING:
    from watcher.compressor.wire import FileFacts, Result
    from watcher.model import HeadAnswer, SourceFacts

SHA1_KEY: Final = "source-sha1"
RULE_KEY: Final = "rule"
"""The two keys that every request adds to `store.metadata`, so that the stored object tells what it was made of."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a result is worth. `input_problem` is None where the API worked on what we served, else says how it differs."""

    input_problem: str | None
    url_mismatch: bool


def compare(facts: SourceFacts, result: Result, bucket: str, region: str, key: str, *, expects_b2: bool = True) -> Verdict:
    """Hold a result against the bytes that were served and the address that was asked for.

    A fact that the answer does not state is no contradiction. `expects_b2` is False where the embedded engine stores into
    something that is not B2: then no address is expected.
    """
    mismatch = expects_b2 and not is_object_url(result.url, B2_OBJECT, bucket, key, region)
    return Verdict(input_problem(facts, result.input), mismatch)


def input_problem(facts: SourceFacts, stated: FileFacts) -> str | None:
    """How the API's `input` contradicts ours, or None."""
    if stated.sha1 is not None and stated.sha1 != facts.sha1:
        return f"the API worked on other bytes than were served: its input has SHA-1 {stated.sha1[:40]}, ours {facts.sha1}"
    if stated.size is not None and stated.size != facts.size:
        return f"the API worked on other bytes than were served: its input has {stated.size} bytes, ours {facts.size}"
    return None


def is_done(head: HeadAnswer, sha1: str, rule_fingerprint: str) -> bool:
    """Whether the stored object says that it was made of these bytes under this rule."""
    return (
        head.absence is None
        and head.metadata.get(SHA1_KEY, "").lower() == sha1
        and head.metadata.get(RULE_KEY, "") == rule_fingerprint
    )


def matches(head: HeadAnswer, result: Result) -> bool:
    """Whether the stored object is what the result speaks of: it is there, and has the size (bytes) that the API states."""
    sizes_known = head.size is not None and result.output.size is not None
    return head.absence is None and (not sizes_known or head.size == result.output.size)
