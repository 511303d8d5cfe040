"""What an answer is, told by its content."""

from __future__ import annotations

import pytest

from watcher.compressor.wire import FetchRequest, FileFacts, Malformed, Pending, Refused, Result, read_answer

PAGE = {
    "id": "38a8bb5e-7b50-4a22-a0a6-b9602fccb225",
    "url": "https://my-bucket.s3.eu-central-003.backblazeb2.com/image.jpg",
    "input": {"name": "image.jpg", "type": "image"},
    "output": {"name": "image.jpg", "type": "image"},
}


def test_the_vendor_pages_answer_is_a_result() -> None:
    """Facts that the page leaves out are not stated."""
    facts = FileFacts(name="image.jpg", type="image")
    assert read_answer(PAGE) == Result(PAGE["id"], PAGE["url"], facts, facts)


def test_a_completed_job_is_a_result() -> None:
    """`status` beside the result changes nothing."""
    assert read_answer({**PAGE, "status": "completed"}) == read_answer(PAGE)


@pytest.mark.parametrize("status", ["enqueued", "processing", "Enqueued", "queued", "retrying"])
def test_a_job_at_work_is_pending(status: str) -> None:
    """Words that the pages do not name are read as still at work: giving up early would pay twice."""
    assert read_answer({"id": "1", "status": status}) == Pending("1", status.lower())


def test_a_job_at_work_is_pending_though_it_names_a_url() -> None:
    """The address of something that is not done yet is no result."""
    assert read_answer({**PAGE, "status": "processing"}) == Pending(PAGE["id"], "processing")


@pytest.mark.parametrize("status", ["failed", "Failed", "cancelled", "expired", "error"])
def test_a_failed_job_is_refused_with_its_message(status: str) -> None:
    """With `success: false` or without it."""
    answer = read_answer({"id": "1", "status": status, "code": 422, "message": "no image"})
    assert answer == Refused("no image", "1", 422, status, enveloped=False)
    assert isinstance(answer, Refused)
    assert answer.job_failed


def test_success_false_is_refused_whatever_else_it_says() -> None:
    """Even with a `url` beside it."""
    answer = read_answer({**PAGE, "success": False, "code": 402, "message": "quota"})
    assert answer == Refused("quota", PAGE["id"], 402, None, enveloped=True)


def test_a_body_in_front_of_the_api_is_not_its_envelope() -> None:
    """A gateway's {"message": ...} does not say that the work was not done."""
    assert read_answer({"message": "Internal server error"}) == Refused("Internal server error", enveloped=False)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        7,
        True,
        {},
        {"id": "1"},
        {"status": "enqueued"},
        {"id": "1", "status": "completed"},
        {"url": 7},
        {"id": 7},
    ],
)
def test_anything_else_is_malformed(data: object) -> None:
    """With words that say so."""
    answer = read_answer(data)
    assert isinstance(answer, Malformed)
    assert answer.message


def test_facts_of_a_wrong_type_are_not_stated() -> None:
    """A size that is a text, a SHA-1 that is a number: nothing to compare with."""
    stated = FileFacts.read({"name": 1, "size": "9", "sha1": 5, "format": ["jpeg"]})
    assert stated == FileFacts()
    assert FileFacts.read({"size": True}).size is None
    assert FileFacts.read({"size": -1}).size is None


def test_a_sha1_is_compared_in_lower_case() -> None:
    """Whatever case the answer is in."""
    assert FileFacts.read({"sha1": "ABCDEF"}).sha1 == "abcdef"


def test_the_body_of_a_request_leaves_out_what_is_empty() -> None:
    """As on the vendor's page: no empty `headers` or `image`."""
    assert FetchRequest("https://x/y.jpg", store={"id": "c"}).body() == {"url": "https://x/y.jpg", "store": {"id": "c"}}
