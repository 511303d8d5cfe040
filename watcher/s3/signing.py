"""S3's signature version 4: signed headers and signed links. Pure.

Why not a library: what has to be sent (PUT from a descriptor, delete and list by version, HEAD of any object) is in no light
one, and the heavy ones cost more than the rest of the daemon: botocore's signer alone takes 200 ms of CPU and 17 MB to import.
The tests hold every signature against botocore's and against a store that checks them.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
"""The body is not part of the signature: it is streamed, and TLS and the SHA-1 of the API's answer watch over it."""
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An application key, and the region that it signs for."""

    key_id: str
    application_key: str = field(repr=False)
    region: str


def signed_headers(
    credentials: Credentials, method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str], now: float
) -> dict[str, str]:
    """`headers` with everything that a signed request needs. `url` is without the query, `now` in Unix seconds."""
    stamp = _stamp(now)
    all_headers = {
        **{name.lower(): value.strip() for name, value in headers.items()},
        "host": _host(url),
        "x-amz-content-sha256": UNSIGNED_PAYLOAD,
        "x-amz-date": stamp,
    }
    names = ";".join(sorted(all_headers))
    lines = "".join(f"{name}:{' '.join(all_headers[name].split())}\n" for name in sorted(all_headers))
    signature = _signature(credentials, stamp, (method, urlsplit(url).path or "/", query_text(query), lines, names))
    authorization = f"{_ALGORITHM} Credential={_credential(credentials, stamp)}, SignedHeaders={names}, Signature={signature}"
    return {**all_headers, "authorization": authorization}


def signed_link(credentials: Credentials, url: str, signed_at: float, lifetime: int) -> str:
    """A link that lets who holds it GET `url`, for `lifetime` seconds (1 to 604,800) from `signed_at` (Unix seconds)."""
    stamp = _stamp(signed_at)
    query = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": _credential(credentials, stamp),
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lifetime),
        "X-Amz-SignedHeaders": "host",
    }
    lines = f"host:{_host(url)}\n"
    signature = _signature(credentials, stamp, ("GET", urlsplit(url).path, query_text(query), lines, "host"))
    return f"{url}?{query_text(query)}&X-Amz-Signature={signature}"


def query_text(query: Mapping[str, str]) -> str:
    """The query in its canonical form: sorted, everything escaped that is not unreserved."""
    return "&".join(f"{name}={value}" for name, value in sorted((_escape(name), _escape(query[name])) for name in query))


def _signature(credentials: Credentials, stamp: str, request: tuple[str, str, str, str, str]) -> str:
    digest = hashlib.sha256("\n".join((*request, UNSIGNED_PAYLOAD)).encode()).hexdigest()
    text = "\n".join((_ALGORITHM, stamp, _scope(credentials, stamp), digest))
    key = f"AWS4{credentials.application_key}".encode()
    for part in _scope(credentials, stamp).split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _credential(credentials: Credentials, stamp: str) -> str:
    return f"{credentials.key_id}/{_scope(credentials, stamp)}"


def _scope(credentials: Credentials, stamp: str) -> str:
    return f"{stamp[:8]}/{credentials.region}/s3/aws4_request"


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y%m%dT%H%M%SZ")


def _host(url: str) -> str:
    """The Host header that goes with a URL: without the scheme's own port."""
    parts = urlsplit(url)
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])


def _escape(text: str) -> str:
    return quote(text, safe="-._~")
