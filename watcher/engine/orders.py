"""What a caller may ask for: the body of `POST /1.0/fetch`, read strictly. Pure.

Sources: the vendor's Backblaze B2 page (parameter table), its pages on fetching, image processing and webhooks, and
Backblaze's rules on keys and metadata. Every problem of a body is reported at once, with its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from watcher.compressor.wire import STORE_HEADERS
from watcher.config.api_tables import OutputSettings, ResizeSettings
from watcher.config.units import parse_colour
from watcher.engine.geometry import Gravity, Resize
from watcher.engine.refusal import Refusal, unprocessable
from watcher.engine.work import Compression, ImageOrder, OutputOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

Acl = Literal["public-read", "private"]

MAX_KEY_BYTES: Final = 1024
MAX_SEGMENT_BYTES: Final = 250
MAX_METADATA_ENTRIES: Final = 10
MAX_METADATA_BYTES: Final = 2048
"""Names and values together (S3; B2 itself takes 7,000 with the key and the headers, 2,048 where the bucket is encrypted)."""
MAX_FILE_INFO_BYTES: Final = 7000
MAX_URL: Final = 8192

_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{3}")
_ANY_REGION: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BUCKET: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_METADATA_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,50}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_UNFIT_FOR_KEYS: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_NOT_TO_FORWARD: Final = frozenset(
    (
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "proxy-authorization",
        "proxy-authenticate",
        "proxy-connection",
    )
)
_CANONICAL: Final = {name.lower(): name for name in STORE_HEADERS}


@dataclass(frozen=True, slots=True)
class StoreOrder:
    """Where the output goes. `path` is the object key, a folder when it ends in "/", or empty for the bucket's root."""

    id: str
    bucket: str
    region: str
    path: str
    acl: Acl
    metadata: Mapping[str, str]
    headers: Mapping[str, str]

    def key(self, output_name: str) -> str:
        """The object key of an output."""
        return self.path + output_name if not self.path or self.path.endswith("/") else self.path


@dataclass(frozen=True, slots=True)
class Order:
    """A whole request. `headers` go along with the fetch of `url`."""

    url: str
    headers: Mapping[str, str]
    image: ImageOrder
    store: StoreOrder | None
    webhook: str | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Resize(ResizeSettings):
    model_config = _Model.model_config
    gravity: Gravity = "center"


class _Output(OutputSettings):
    model_config = _Model.model_config


class _Image(_Model):
    compression: Compression = "high"
    resize: _Resize | None = None
    output: _Output = Field(default_factory=_Output)


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or len(value) > MAX_URL or re.search(r"[\x00-\x20\x7f\\]", value):
        raise ValueError("must be an http:// or https:// address")
    return value


def _fetch_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("has a name that is no HTTP header name")
        if name.lower() in _NOT_TO_FORWARD:
            raise ValueError(f"must not set `{name}`")
        if not (value.isprintable() or value == "") or not value.isascii():
            raise ValueError(f"`{name}` must be printable ASCII")
    return headers


def _bucket(value: str) -> str:
    if not _BUCKET.fullmatch(value) or ".." in value:
        raise ValueError("is no bucket name (letters, digits, `-` and `.`, at most 63)")
    return value


def key_problem(path: str) -> str | None:
    """Why an object cannot be put at `path`, by the rules of B2 and of addresses; None when it can."""
    if path.startswith("/"):
        return "must not begin with a slash"
    if len(path.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    if _UNFIT_FOR_KEYS.search(path) or not _encodes(path):
        return "must not hold control characters, backslashes or broken Unicode"
    segments = path.removesuffix("/").split("/") if path else []
    if any(segment in (".", "..") for segment in segments):
        return "must not hold `.` or `..` as a part"
    if "" in segments:
        return "must not hold empty parts (`//`)"
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"has a part longer than {MAX_SEGMENT_BYTES} bytes"
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _path(value: str) -> str:
    if problem := key_problem(value):
        raise ValueError(problem)
    return value


def _metadata(metadata: dict[str, str]) -> dict[str, str]:
    if len(metadata) > MAX_METADATA_ENTRIES:
        raise ValueError(f"takes at most {MAX_METADATA_ENTRIES} entries")
    for name, value in metadata.items():
        if not _METADATA_NAME.fullmatch(name) or name.lower().startswith("b2-"):
            raise ValueError("names are 1-50 letters, digits, `-`, `_`, `.`, and do not begin with `b2-`")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError(f"`{name}` must be printable ASCII without spaces around it (percent-encode anything else)")
    if len({name.lower() for name in metadata}) < len(metadata):
        raise ValueError("names one entry twice (case does not count)")
    if sum(len(name) + len(value) for name, value in metadata.items()) > MAX_METADATA_BYTES:
        raise ValueError(f"is larger than {MAX_METADATA_BYTES} bytes")
    return metadata


def _store_headers(headers: dict[str, str]) -> dict[str, str]:
    canonical = {}
    for name, value in headers.items():
        if name.lower() not in _CANONICAL or _CANONICAL[name.lower()] in canonical:
            raise ValueError(f"takes {', '.join(STORE_HEADERS)}, each once, and no other")
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError(f"`{name}` must be printable ASCII")
        canonical[_CANONICAL[name.lower()]] = value
    return canonical


class _Store(_Model):
    id: Annotated[str, Field(min_length=1)]
    bucket: Annotated[str, AfterValidator(_bucket)]
    region: Annotated[str, Field(min_length=1, max_length=63)]
    path: Annotated[str, AfterValidator(_path)] = ""
    acl: Acl = "public-read"
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] = Field(default_factory=dict)
    headers: Annotated[dict[str, str], AfterValidator(_store_headers)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _file_info(self) -> Self:
        info = [*self.metadata.items(), *self.headers.items()]
        if len(self.path.encode()) + sum(len(name) + len(value) for name, value in info) > MAX_FILE_INFO_BYTES:
            raise ValueError(f"`path`, `metadata` and `headers` together are larger than {MAX_FILE_INFO_BYTES} bytes")
        return self


class _Webhook(_Model):
    url: Annotated[str, AfterValidator(_http_url)]


class _Body(_Model):
    url: Annotated[str, AfterValidator(_http_url)]
    headers: Annotated[dict[str, str], AfterValidator(_fetch_headers)] = Field(default_factory=dict)
    image: _Image = Field(default_factory=_Image)
    store: _Store | None = None
    webhook: _Webhook | None = None


def read_order(body: object) -> Order:
    """The order in a JSON body. Raises Refusal: 400 where it is no object, 422 naming every field that will not do."""
    if not isinstance(body, dict):
        raise Refusal(400, "the body must be a JSON object")
    try:
        parsed = _Body.model_validate(body)
    except ValidationError as error:
        raise unprocessable("; ".join(_problems(error))) from None
    return _order(parsed)


def region_problem(region: str, *, any_store: bool) -> str | None:
    """Why `region` will not do. B2's have one shape; `any_store` takes the names of other S3-compatible stores as well."""
    if (_ANY_REGION if any_store else _REGION).fullmatch(region):
        return None
    return "store.region is no Backblaze region (they look like `eu-central-003`)"


def _order(parsed: _Body) -> Order:
    resize = parsed.image.resize
    store = parsed.store
    return Order(
        url=parsed.url,
        headers=parsed.headers,
        image=ImageOrder(
            parsed.image.compression,
            None if resize is None else Resize(**resize.model_dump()),
            OutputOrder(parsed.image.output.format, parse_colour(parsed.image.output.background)),
        ),
        store=None if store is None else StoreOrder(**store.model_dump()),
        webhook=None if parsed.webhook is None else parsed.webhook.url,
    )


def _problems(error: ValidationError) -> list[str]:
    return [f"{_place(problem['loc'])} {_words(problem)}" for problem in error.errors(include_url=False, include_input=False)]


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part != "[key]") or "the body"


def _words(problem: Mapping[str, Any]) -> str:
    match problem["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not known"
        case "literal_error":
            return f"must be {problem['ctx']['expected']}"
        case "value_error":
            return str(problem["ctx"]["error"])
        case _:
            text = str(problem["msg"])
            return text[:1].lower() + text[1:]
