"""Whatever an API answers, it is read as one of the four kinds of answer, and what it states can be kept and told."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import BUCKET, FACTS, image_of, open_journal, sighting, take_one
from watcher.compressor.wire import Answer, FileFacts, Malformed, Pending, Refused, Result, read_answer
from watcher.result_records import savings

keys = st.sampled_from(
    ["success", "id", "status", "url", "input", "output", "name", "size", "sha1", "mime", "code", "message", "error", "detail"]
)
odd = ["", "enqueued", "completed", "failed", "\ud800", "http://x/\udfff", "a\0b"]
texts = st.one_of(st.text(max_size=20), st.sampled_from(odd))
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -1, 0, 2**63, 2**63 - 1]), st.booleans(), st.none())
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=12,
)
answers = st.dictionaries(keys, values, max_size=8)


def told(answer: Answer) -> list[str | None]:
    """Every text that is kept or told of an answer."""
    if isinstance(answer, Result):
        sides = [answer.input, answer.output]
        return [answer.id, answer.url, *(text for side in sides for text in (side.name, side.type, side.mime, side.sha1))]
    return [answer.id, answer.status] if isinstance(answer, Pending) else [answer.message]


@given(answers)
@settings(max_examples=150, deadline=None)
def test_any_answer_is_read(data: dict[str, Any]) -> None:
    """Never an error, and nothing in it that cannot be written down."""
    assert_is_read(data)


@pytest.mark.soak
@given(answers)
@settings(max_examples=3_000, deadline=None)
def test_many_more_answers_are_read(data: dict[str, Any]) -> None:
    """The same of twenty times as many."""
    assert_is_read(data)


def assert_is_read(data: dict[str, Any]) -> None:
    answer = read_answer(data)

    assert isinstance(answer, Result | Pending | Refused | Malformed)
    assert all(text.encode() is not None for text in told(answer) if text)
    if isinstance(answer, Result):
        json.dumps({**answer.body(), **savings(FACTS.size, answer.output)}, allow_nan=False)


def test_an_error_nested_without_end_is_read() -> None:
    """As deep as JSON goes."""
    data: dict[str, Any] = {"message": "deep"}
    for _ in range(900):
        data = {"error": data}

    assert isinstance(read_answer({"success": False, **data}), Refused)


async def test_half_characters_of_an_answer_can_be_kept() -> None:
    """A job is remembered by what its id says, as far as that can be written."""
    journal = open_journal()
    image = await take_one(journal, sighting())
    answer = read_answer({"id": "job-\ud800", "status": "enqueued"})
    assert isinstance(answer, Pending)
    await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
    await journal.enqueued(image.id, None, answer.id, 1_000.0)

    assert (await image_of(journal, image.id)).outputs[0].job_id == "job-\\ud800"
    assert FileFacts.read({"size": 10**400, "sha1": "\udfff"}) == FileFacts(sha1="\\udfff")
    await journal.close()
