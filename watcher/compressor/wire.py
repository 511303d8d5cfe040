"""The Compressor API's objects, as they go over the wire. Pure: dictionaries in, values out, and back.

Client and engine share this module and nothing else. Sources: the vendor's Backblaze B2 page and its pages on responses
and asynchronous processing. Where the vendor's pages are silent we read liberally: unknown keys are ignored, numbers may
be missing, and a result is told from an acknowledgement by its content, never by its HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

LARGEST_SIZE = (1 << 63) - 1
"""No file has more bytes; a number beyond is no statement of a size."""
ASYNC_ABOVE_BYTES = 32_000_000
"""Input above this size is answered with a job ("32 MB" on the vendor's page; read as 10^6)."""

PENDING = frozenset({"enqueued", "processing"})
"""The states of a job at work that the vendor's pages name. Any other word that is not in the two sets below is read so too."""
FAILED_STATES = frozenset({"failed", "failure", "error", "cancelled", "canceled", "expired"})
COMPLETED_STATES = frozenset({"completed", "complete", "succeeded", "success", "done", "finished"})
"""With these an answer must have a `url`."""

STORE_HEADERS = ("Cache-Control", "Content-Type", "Content-Encoding", "Content-Disposition")
"""The only names that `store.headers` takes (vendor page, parameter table)."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """The body of `POST /1.0/fetch`."""

    url: str
    image: Json = field(default_factory=dict)
    store: Json = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object to send; empty parts are left out, as on the vendor's page."""
        parts = {"url": self.url, "headers": dict(self.headers), "image": dict(self.image), "store": dict(self.store)}
        return {name: value for name, value in parts.items() if value}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`input` or `output` of a result. A fact that the answer does not state is None."""

    name: str | None = None
    type: str | None = None
    format: str | None = None
    mime: str | None = None
    size: int | None = None
    sha1: str | None = None
    width: int | None = None
    """In pixels, as `height`."""
    height: int | None = None

    @classmethod
    def read(cls, data: object) -> FileFacts:
        """What `data` states; anything of a wrong type counts as not stated."""
        if not isinstance(data, Mapping):
            return cls()
        size = data.get("size")
        return cls(
            **{key: _text(data, key) for key in ("name", "type", "format", "mime")},
            size=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= LARGEST_SIZE else None,
            sha1=(_text(data, "sha1") or "").lower() or None,
            width=_pixels(data, "width"),
            height=_pixels(data, "height"),
        )

    def body(self) -> dict[str, Any]:
        """The JSON object, without what is not stated."""
        facts = {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "mime": self.mime,
            "size": self.size,
            "sha1": self.sha1,
            "width": self.width,
            "height": self.height,
        }
        return {key: value for key, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Result:
    """A finished request: the API's id, where the output lies, and the facts of both files."""

    id: str
    url: str
    input: FileFacts
    output: FileFacts

    def body(self) -> dict[str, Any]:
        """The JSON object of the vendor's page."""
        return {"id": self.id, "url": self.url, "input": self.input.body(), "output": self.output.body()}


@dataclass(frozen=True, slots=True)
class Pending:
    """An acknowledgement, or a job still at work: ask again at `/1.0/jobs/{id}`."""

    id: str
    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer whose body says that the request or the job failed."""

    message: str
    id: str | None = None
    code: int | None = None
    status: str | None = None
    enveloped: bool = False
    """It says `success: false`: this is the API's own envelope, not a body of something in front of it."""

    @property
    def job_failed(self) -> bool:
        """Whether it tells of a job that ended badly."""
        return self.status is not None and self.status.lower() in FAILED_STATES


@dataclass(frozen=True, slots=True)
class Malformed:
    """An answer that is none of the others: not JSON, not an object, or cut."""

    message: str


Answer = Result | Pending | Refused | Malformed


def read_answer(data: object) -> Answer:
    """Tell by its content what an answer of `/fetch` or `/jobs/{id}` is. Never raises."""
    if not isinstance(data, Mapping):
        return Malformed("the answer is not a JSON object")
    status = (_text(data, "status") or "").lower()
    identity = _text(data, "id")
    if data.get("success") is False or status in FAILED_STATES:
        return _refused(data, error_message(data) or "the API gives no reason")
    if identity and status in PENDING:
        return Pending(identity, status)
    if url := _text(data, "url"):
        return Result(identity or "", url, FileFacts.read(data.get("input")), FileFacts.read(data.get("output")))
    if identity and status and status not in COMPLETED_STATES:
        return Pending(identity, status)
    if message := error_message(data):
        return _refused(data, message)
    return Malformed("the answer has neither `url` nor a `status` to wait for")


def _refused(data: Json, message: str) -> Refused:
    return Refused(message, _text(data, "id"), _code(data), _text(data, "status"), data.get("success") is False)


def error_message(data: object, depth: int = 5) -> str | None:
    """The human words in an error body, wherever the usual forms keep them, down to so many levels."""
    if not isinstance(data, Mapping) or not depth:
        return None
    for key in ("message", "error", "detail"):
        value = data.get(key)
        if isinstance(value, str) and value.strip():
            return _encodable(value.strip())
        if inner := error_message(value, depth - 1):
            return inner
    return None


def error_body(code: int, identity: str, message: str) -> dict[str, Any]:
    """The error envelope: `success`, `code` (equal to the HTTP status), `id`, `message`."""
    return {"success": False, "code": code, "id": identity, "message": message}


def _pixels(data: Json, key: str) -> int | None:
    value = data.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_SIZE else None


def _text(data: Json, key: str) -> str | None:
    value = data.get(key)
    return _encodable(value) if isinstance(value, str) and value else None


def _encodable(text: str) -> str:
    """JSON may hold half a character (a lone surrogate), which neither a database nor a URL can: it is written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _code(data: Json) -> int | None:
    value = data.get("code")
    return value if isinstance(value, int) and not isinstance(value, bool) else None
