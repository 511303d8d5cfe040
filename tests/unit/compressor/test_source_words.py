"""Which words of a refusal speak of fetching the original."""

from __future__ import annotations

import pytest

from watcher.compressor.failures import Reply, failure_of_reply
from watcher.compressor.source_words import speaks_of_fetching
from watcher.compressor.wire import Refused
from watcher.model import FailureKind


@pytest.mark.parametrize(
    "message",
    [
        "the source could not be reached (drops.example.com)",
        "the source answered with status 502",
        "the source took longer than 60 s",
        "the source's host name cannot be resolved (drops.example.com)",
        "the source's TLS certificate or handshake is not in order (drops.example.com)",
        "the source closed the connection without an answer (drops.example.com)",
        "the source broke off before its end, or its content encoding is damaged",
        "the source is not at a public address (10.0.0.1:8080), or redirects to one that is not",
        "Unable to download the file",
        "Failed to retrieve https://my-bucket.example.com/t/x/a.jpg",
        "URL is unreachable",
        "Remote host timed out",
        "Connection refused",
        "upstream returned HTTP 404",
        "Bad gateway while getting the image",
    ],
)
def test_words_about_the_way(message: str) -> None:
    """All kinds of not coming by the file."""
    assert speaks_of_fetching(message)


@pytest.mark.parametrize(
    "message",
    [
        "No such connector",
        "unknown connector: my-id",
        "the connector's bucket could not be reached",
        "The object could not be uploaded: connection reset",
        "the image is corrupt or cut off (jpeg)",
        "unsupported: an animated HEIC: export an animated WebP or GIF",
        "The source is too large",
        "the source is larger than 256 MB",
        "the source exceeds 150 million pixels",
        "resize.width must be positive",
        "Unprocessable Entity",
        "made to fail",
        "see https://docs.example.com/fetch/source",
        "",
    ],
)
def test_words_about_something_else(message: str) -> None:
    """The content, the request, the store, or nothing at all."""
    assert not speaks_of_fetching(message)


@pytest.mark.parametrize(
    ("status", "job", "kind", "marked"),
    [
        (422, None, FailureKind.PERMANENT, True),
        (400, None, FailureKind.PERMANENT, True),
        (424, None, FailureKind.PERMANENT, True),
        (200, None, FailureKind.PERMANENT, True),
        (200, "failed", FailureKind.PERMANENT, True),
        (500, None, FailureKind.TRANSIENT, True),
        (413, None, FailureKind.PERMANENT, False),
        (401, None, FailureKind.BLOCKED, False),
        (429, None, FailureKind.THROTTLED, False),
    ],
)
def test_the_mark_on_a_failure(status: int, job: str | None, kind: FailureKind, marked: bool) -> None:
    """Set by the words, whatever the status, but where the status speaks of something else."""
    refused = Refused("the source could not be reached", status=job, enveloped=True)
    failure = failure_of_reply(Reply(status, refused, about_job=job is not None))
    assert (failure.kind, failure.not_fetched) == (kind, marked)
