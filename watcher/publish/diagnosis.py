"""Whether a staging bucket can be used, found out with one tiny object: written, read through a link, listed, deleted."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from watcher.publish.staging import HINTS
from watcher.s3.client import S3Request
from watcher.s3.errors import S3Error, S3ErrorKind
from watcher.s3.listing import Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from watcher.config.publish_settings import PresignSettings
    from watcher.ports import Clock
    from watcher.s3.bucket import Bucket
    from watcher.s3.client import S3Client

PROBE: Final = b"compressor-watcher check\n"
LINK_SECONDS: Final = 300
_B2_ENDPOINT: Final = re.compile(r"s3\.[a-z]+-[a-z]+-(\d{3})\.backblazeb2\.com")
_MASTER_KEY: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One line of `check`: what was tried, whether it works, what was found, and what to do where it does not."""

    name: str
    ok: bool
    message: str
    hint: str = ""


async def diagnose(bucket: Bucket, client: S3Client, settings: PresignSettings, clock: Clock) -> list[CheckLine]:
    """Four lines, or fewer where the first failure leaves nothing to try. The object is gone afterwards, if it may be deleted."""
    now = clock.now()
    # in the form of a staged original, so that a sweep finds it if it cannot be deleted here
    key = f"{settings.prefix}watcher-{int(now) + LINK_SECONDS:010d}/{secrets.token_urlsafe(32)}/check"
    name = "staging: put an object"
    try:
        stored = await bucket.put(key, {"Content-Type": "text/plain"}, len(PROBE), _probe)
    except S3Error as error:
        line = CheckLine(name, ok=False, message=error.message, hint=put_hint(error, settings))
        return [line, await _try_list(bucket, key)] if error.kind is S3ErrorKind.DENIED else [line]
    put = CheckLine(name, ok=True, message=f"{len(PROBE)} bytes in {bucket.name}")
    read, listed = await _try_read(bucket.link(key, now, LINK_SECONDS), client), await _try_list(bucket, key)
    return [put, read, listed, await _try_delete(bucket, Version(key, stored.version))]


async def _probe() -> AsyncIterator[bytes]:
    yield PROBE


async def _try_read(link: str, client: S3Client) -> CheckLine:
    """As the API does it: without a key, with a link. A range, since a link for GET is none for HEAD."""
    name = "staging: read it through a link"
    address, _, query = link.partition("?")
    request = S3Request("GET", address, dict(parse_qsl(query)), {"Range": "bytes=0-9"})
    try:
        answer = await client.send(request, None)
    except S3Error as error:
        return CheckLine(name, ok=False, message=error.message, hint=_capability_hint(error, "readFiles"))
    if answer.content in (PROBE, PROBE[:10]):
        return CheckLine(name, ok=True, message="the link works")
    return CheckLine(name, ok=False, message="the link gives other bytes than were put", hint=HINTS[S3ErrorKind.OTHER])


async def _try_list(bucket: Bucket, key: str) -> CheckLine:
    name = "staging: list the prefix"
    try:
        count = len([version async for version in bucket.versions(key)])
    except S3Error as error:
        return CheckLine(name, ok=False, message=error.message, hint=_capability_hint(error, "listFiles"))
    return CheckLine(name, ok=True, message=f"{count} found")


async def _try_delete(bucket: Bucket, version: Version) -> CheckLine:
    name = "staging: delete it"
    try:
        await bucket.delete(version)
    except S3Error as error:
        return CheckLine(name, ok=False, message=error.message, hint=_capability_hint(error, "deleteFiles"))
    return CheckLine(name, ok=True, message="by version" if version.id else "by name: the store keeps no versions")


def put_hint(error: S3Error, settings: PresignSettings) -> str:
    """What to do where nothing could be put."""
    if error.kind is S3ErrorKind.KEY and settings.key_id is not None:
        return key_hint(settings.key_id.get_secret_value(), settings.endpoint) or HINTS[error.kind]
    return _capability_hint(error, "writeFiles")


def key_hint(key_id: str, endpoint: str) -> str:
    """What the form of a B2 key says about its refusal; empty where it says nothing.

    A key of another region is refused there as unknown. That an application key begins with its region's number is a convention
    which B2 does not document; it is used for this hint only.
    """
    match = _B2_ENDPOINT.fullmatch(urlsplit(endpoint).hostname or "")
    if match is None:
        return ""
    if _MASTER_KEY.fullmatch(key_id):
        return "[publish.presign] key_id is the master key, which this API does not take; make an application key"
    number = key_id[:3]
    if number.isdigit() and number != match[1]:
        return f"[publish.presign] endpoint is of region {match[1]}, but key_id looks like one of region {number}"
    return ""


def _capability_hint(error: S3Error, capability: str) -> str:
    if error.kind is not S3ErrorKind.DENIED:
        return HINTS[error.kind]
    return f"the application key needs `{capability}` for this bucket and prefix"
