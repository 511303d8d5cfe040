"""What a request for a temporary URL is answered: addresses, preconditions, ranges. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_NAME_BYTES: Final = 200
"""A shown name is cut to so many UTF-8 bytes, before percent-encoding."""

_ENTITY_TAG: Final = re.compile(r'(W/)?("[^"]*")')
_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


# --- addresses --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def shown_name(name: str) -> str:
    """An original's base name made fit to be seen: NFC, no separators, no control characters, no undecodable bytes.

    It is for people only (and for the `input.name` that the API derives from it): the token decides what is served.
    """
    kept = "".join(_shown(character) for character in unicodedata.normalize("NFC", name))
    short = _shorten(kept.strip())
    return short if short.strip(".") else "image"


def _shown(character: str) -> str:
    fine = character.isprintable() and character not in '/\\?#"<>|*:%;'
    return character if fine else "-"


def _shorten(name: str) -> str:
    """At most MAX_NAME_BYTES; the extension stays."""
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 10:
        stem, dot, extension = name, "", ""
    room = MAX_NAME_BYTES - len((dot + extension).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def temporary_url(base: str, token: str, name: str) -> str:
    """`{base}/t/{token}/{name}`, the name made safe and percent-encoded."""
    return f"{base}/t/{token}/{quote(shown_name(name), safe='')}"


def prefixes_of(public_path: str) -> tuple[str, ...]:
    """Every path that a proxy may leave in front of `/t/`: all of the public path, parts of it, or nothing. Longest first."""
    segments = [segment for segment in public_path.split("/") if segment]
    runs = {
        "".join(f"/{segment}" for segment in segments[first:last])
        for first in range(len(segments) + 1)
        for last in range(first, len(segments) + 1)
    }
    return tuple(sorted(runs, key=len, reverse=True))


def token_in(path: str, prefixes: Iterable[str]) -> str | None:
    """The token that a request's raw path names; "" where it stops before one, None where it is no temporary URL at all.

    Slashes that a proxy doubled count once.
    """
    path = re.sub("/{2,}", "/", path)
    for prefix in prefixes:
        start = f"{prefix}/t/"
        if path.startswith(start):
            return path.removeprefix(start).partition("/")[0]
    return None


# --- preconditions and ranges (RFC 9110, sections 13 and 14) ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Representation:
    """What is served: its SHA-1 (the strong entity tag), size in bytes and modification time in Unix seconds, 1970 to now."""

    sha1: str
    size: int
    modified: int

    @property
    def etag(self) -> str:
        """The entity tag, quoted."""
        return f'"{self.sha1}"'

    @property
    def last_modified(self) -> str:
        """The HTTP date."""
        return _http_date(self.modified)


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """The status, and the span of bytes that goes with it (nothing for 304, 412 and 416)."""

    status: int
    start: int = 0
    count: int = 0

    def content_range(self, size: int) -> str | None:
        """The Content-Range header, where there is one."""
        if self.status == 206:
            return f"bytes {self.start}-{self.start + self.count - 1}/{size}"
        return f"bytes */{size}" if self.status == 416 else None


def answer(method: str, headers: Mapping[str, str], what: Representation) -> ResponsePlan:
    """Preconditions first, then the range. Only GET has ranges; several at once, or malformed ones, are answered with all."""
    if not _may_go_on(headers, what):
        return ResponsePlan(412)
    if _is_unmodified(headers, what):
        return ResponsePlan(304)
    whole = ResponsePlan(200, 0, what.size)
    if method != "GET" or "Range" not in headers or not _range_applies(headers, what):
        return whole
    span = requested_span(headers["Range"], what.size)
    if span is None:
        return whole
    start, count = span
    return ResponsePlan(206, start, count) if count else ResponsePlan(416)


def requested_span(header: str, size: int) -> tuple[int, int] | None:
    """Start and count of a single byte range; a count of 0 cannot be satisfied; None where the header is to be ignored."""
    match = _RANGE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        count = min(int(match[2]), size)
        return size - count, count
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    return first, max(0, min(last, size - 1) - first + 1)


def _may_go_on(headers: Mapping[str, str], what: Representation) -> bool:
    if "If-Match" in headers:
        return _names(headers["If-Match"], what.etag, weak=False)
    limit = _seconds(headers.get("If-Unmodified-Since"))
    return limit is None or what.modified <= limit


def _is_unmodified(headers: Mapping[str, str], what: Representation) -> bool:
    if "If-None-Match" in headers:
        return _names(headers["If-None-Match"], what.etag, weak=True)
    since = _seconds(headers.get("If-Modified-Since"))
    return since is not None and what.modified <= since


@lru_cache(maxsize=256)
def _http_date(seconds: int) -> str:
    """Files that are dropped together have few dates among them."""
    return formatdate(seconds, usegmt=True)


def _range_applies(headers: Mapping[str, str], what: Representation) -> bool:
    """If-Range: the very same entity tag or date; anything else means that the client holds another version."""
    return headers.get("If-Range", what.etag).strip() in (what.etag, what.last_modified)


def _names(header: str, etag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(found == etag and (weak or not prefix) for prefix, found in _ENTITY_TAG.findall(header))


def _seconds(date: str | None) -> float | None:
    """Unix seconds of an HTTP date; None where there is none or it cannot be read: such a header is ignored."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
