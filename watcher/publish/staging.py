"""The staging bucket of an S3-compatible store: put from a descriptor, list and delete versions, and what its refusals mean.

Only what Backblaze B2 takes is sent: path style, signature version 4, no header that is not needed, no HeadBucket (an ordinary
application key may not). Busy answers (503 "no tomes available", SlowDown, 500, 408) are B2's everyday life: the first retry goes
out at once and each over a new connection, which leads to another machine behind the same address; then with growing waits.
Every attempt is signed anew.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import httpx

from watcher.s3.signing import Credentials, object_url, query_text, signed_headers, signed_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

    from watcher.ports import Clock

TRIES: Final = 6
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 10.0
TIMEOUT: Final = httpx.Timeout(60.0, connect=15.0)
"""For each step (connect, one write, one read), not for the whole."""
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


class Trouble(StrEnum):
    """Why the store did not do what was asked."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    KEY = "key"
    SECRET = "secret"  # noqa: S105 - the name of a cause
    BUCKET = "bucket"
    REGION = "region"
    CLOCK = "clock"
    CAP = "cap"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


HINTS: Final[Mapping[Trouble, str]] = {
    Trouble.UNREACHABLE: "look at the network and at [publish.presign] endpoint; it goes on by itself",
    Trouble.BUSY: "it goes on by itself",
    Trouble.KEY: (
        "[publish.presign] key_id is not known there; B2 says the same of a key of another region's account (is `endpoint` the "
        "one that B2 shows with the bucket?) and of the master key (make an application key)"
    ),
    Trouble.SECRET: "[publish.presign] application_key does not belong to key_id",
    Trouble.BUCKET: "[publish.presign] bucket is not there; B2's bucket names are per region: look at `endpoint` too",
    Trouble.REGION: "[publish.presign] region or endpoint is not the bucket's; both are shown with the bucket",
    Trouble.CLOCK: "this machine's clock is wrong; let NTP set it (`timedatectl`)",
    Trouble.CAP: "a cap of the B2 account is used up; raise it in B2 under Caps & Alerts, or wait for 00:00 UTC",
    Trouble.DENIED: (
        "the application key lacks a capability, or is for another bucket or prefix; `compressor-watcher check` tells which"
    ),
    Trouble.UNSUPPORTED: "",
    Trouble.OTHER: "look at [publish.presign] endpoint, and at what the message says",
}

_CODES: Final = {
    "InvalidAccessKeyId": Trouble.KEY,
    "SignatureDoesNotMatch": Trouble.SECRET,
    "NoSuchBucket": Trouble.BUCKET,
    "InvalidBucketName": Trouble.BUCKET,
    "PermanentRedirect": Trouble.REGION,
    "AuthorizationHeaderMalformed": Trouble.REGION,
    "IllegalLocationConstraintException": Trouble.REGION,
    "RequestTimeTooSkewed": Trouble.CLOCK,
    "NotImplemented": Trouble.UNSUPPORTED,
}


class StoreRefused(Exception):
    """A call ended without success. `status` is None where no answer came."""

    def __init__(self, trouble: Trouble, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.message = message
        self.status = status
        self.retry_after = 0.0

    @property
    def hint(self) -> str:
        """What to do about it."""
        return HINTS[self.trouble]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object (or the marker of a deletion); `id` None where the store keeps none."""

    key: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing, and the query parameters of the next part."""

    versions: tuple[Version, ...]
    following: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object was put: its version where the store keeps versions, and whether an earlier try may have put one too."""

    version: str | None
    alone: bool


# --- decisions --------------------------------------------------------------------------------------------------------------


def refusal(status: int, body: str) -> StoreRefused:
    """What an answer that is no success means."""
    code, text = _error_fields(body)
    message = f"{code or 'status'} {status}" + (f": {text}" if text else "")
    return StoreRefused(_trouble(status, code, text), message, status)


def _trouble(status: int, code: str, text: str) -> Trouble:
    if "cap_exceeded" in code or ("cap" in text.lower().split() and "exceeded" in text.lower()):
        return Trouble.CAP
    if code in _CODES:
        return _CODES[code]
    if status in _BUSY:
        return Trouble.BUSY
    by_status = {301: Trouble.REGION, 307: Trouble.REGION, 401: Trouble.DENIED, 403: Trouble.DENIED, 501: Trouble.UNSUPPORTED}
    return by_status.get(status, Trouble.OTHER)


def _error_fields(body: str) -> tuple[str, str]:
    try:
        root = _parse(body)
    except ET.ParseError:
        return "", ""
    return _text(root, "Code"), _text(root, "Message")[:300]


def wait_before(attempt: int, retry_after: float, random: float) -> float:
    """Seconds before try number `attempt` (the second is 2, and goes out at once unless the store asks for a pause)."""
    if attempt <= 2:
        return min(retry_after, LONGEST_WAIT_SECONDS)
    grown = FIRST_WAIT_SECONDS * 2.0 ** (attempt - 3)
    return min(max(retry_after, grown * (0.5 + random)), LONGEST_WAIT_SECONDS)


def version_page(body: str) -> Page:
    """A page of ListObjectVersions: versions and deletion markers alike. Raises StoreRefused where it is none."""
    root = _listed(body)
    versions = tuple(
        Version(_text(entry, "Key"), _text(entry, "VersionId") or None)
        for entry in root
        if _local(entry.tag) in ("Version", "DeleteMarker")
    )
    following = {"key-marker": _text(root, "NextKeyMarker"), "version-id-marker": _text(root, "NextVersionIdMarker")}
    return Page(versions, _if_truncated(root, following))


def object_page(body: str) -> Page:
    """A page of ListObjectsV2, for stores that keep no versions. Raises StoreRefused where it is none."""
    root = _listed(body)
    versions = tuple(Version(_text(entry, "Key"), None) for entry in root if _local(entry.tag) == "Contents")
    return Page(versions, _if_truncated(root, {"continuation-token": _text(root, "NextContinuationToken")}))


def _if_truncated(root: ET.Element, following: Mapping[str, str]) -> dict[str, str]:
    if _text(root, "IsTruncated") != "true":
        return {}
    return {name: value for name, value in following.items() if value}


def _listed(body: str) -> ET.Element:
    """The document of a listing. Whatever else answers there with success (a proxy's page, say) is not the store."""
    try:
        root = _parse(body)
    except ET.ParseError:
        root = ET.Element("nothing")
    if not _local(root.tag).startswith("List"):
        raise StoreRefused(Trouble.OTHER, "what answers at the endpoint is no S3-compatible store: its listing cannot be read")
    return root


def _parse(body: str) -> ET.Element:
    return ET.fromstring(body)  # noqa: S314 - from the operator's own store; expat itself limits entity expansion


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in element if _local(child.tag) == name), "")


def _local(tag: str) -> str:
    """A tag without its namespace; stores differ in whether they send one."""
    return tag.rpartition("}")[2]


# --- the edge ---------------------------------------------------------------------------------------------------------------


class Bucket:
    """A bucket, spoken to with an application key: `credentials`, which may be replaced. Every call raises StoreRefused."""

    def __init__(
        self, endpoint: str, name: str, credentials: Credentials, clock: Clock, random: Callable[[], float], page_size: int = 1000
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self.credentials = credentials
        self._clock = clock
        self._random = random
        self._page_size = page_size
        self._tls = httpx.create_ssl_context()
        self._client = self._new_client()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def link(self, key: str, signed_at: float, lifetime: int) -> str:
        """A link for GET, made without asking anybody."""
        return signed_link(self.credentials, object_url(self._endpoint, self.name, key), signed_at, lifetime)

    async def put(self, key: str, mime: str, size: int, content: Callable[[], AsyncIterable[bytes]]) -> Stored:
        """Put an object of exactly `size` bytes; `content` is called for every try."""
        headers = {"Content-Type": mime, "Content-Length": str(size)}
        answer, tries = await self._call("PUT", key, headers=headers, content=content)
        return Stored(_version_id(answer), tries == 1)

    async def delete(self, version: Version) -> None:
        """Delete for good: the version where there is one. One that is not there is fine."""
        query = {"versionId": version.id} if version.id else {}
        try:
            await self._call("DELETE", version.key, query=query)
        except StoreRefused as error:
            if error.status != 404 or error.trouble is Trouble.BUCKET:
                raise

    async def versions(self, prefix: str) -> AsyncIterator[Version]:
        """All versions and deletion markers below a prefix; plain objects where the store knows no versions."""
        try:
            async for version in self._listing({"versions": "", "prefix": prefix}, version_page):
                yield version
        except StoreRefused as error:
            if error.trouble is not Trouble.UNSUPPORTED:
                raise
            async for version in self._listing({"list-type": "2", "prefix": prefix}, object_page):
                yield version

    async def _listing(self, query: Mapping[str, str], read: Callable[[str], Page]) -> AsyncIterator[Version]:
        following: Mapping[str, str] = {}
        while True:
            answer, _ = await self._call("GET", "", query={**query, "max-keys": str(self._page_size), **following})
            page = read(answer.text)
            for version in page.versions:
                yield version
            if not page.following:
                return
            following = page.following

    async def _call(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Callable[[], AsyncIterable[bytes]] | None = None,
    ) -> tuple[httpx.Response, int]:
        """The answer, and how many tries it took."""
        attempt = 1
        while True:
            try:
                return await self._try(attempt > 1, method, key, query or {}, headers or {}, content), attempt
            except StoreRefused as error:
                if attempt == TRIES or error.trouble not in (Trouble.BUSY, Trouble.UNREACHABLE):
                    raise
                attempt += 1
                await self._clock.sleep(wait_before(attempt, error.retry_after, self._random()))

    async def _try(
        self,
        again: bool,
        method: str,
        key: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        content: Callable[[], AsyncIterable[bytes]] | None,
    ) -> httpx.Response:
        url = object_url(self._endpoint, self.name, key)
        signed = signed_headers(self.credentials, method, url, query, headers, self._clock.now())
        body = content() if content else None
        full_url = f"{url}?{query_text(query)}" if query else url
        client = self._new_client() if again else self._client
        try:
            answer = await client.request(method, full_url, headers=signed, content=body)
        except httpx.TransportError as error:
            raise StoreRefused(Trouble.UNREACHABLE, f"no answer from {self._endpoint}: {_reason(error)}") from error
        finally:
            if again:
                await client.aclose()
        return _checked(answer)

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, verify=self._tls)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    error = refusal(answer.status_code, answer.text)
    pause = answer.headers.get("Retry-After", "")
    error.retry_after = float(pause) if pause.isascii() and pause.isdigit() else 0.0
    raise error


def _version_id(answer: httpx.Response) -> str | None:
    version = answer.headers.get("x-amz-version-id")
    return str(version) if version else None


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
