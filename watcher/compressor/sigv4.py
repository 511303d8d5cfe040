"""AWS signature version 4 in headers, for requests without a body to S3-compatible stores. Pure.

Written out, since the signers of the usual packages come with a whole client (boto3: 30 MB) or only sign URLs (obstore, where a
signature of a GET does not serve for a HEAD). Held against botocore's in the tests.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from datetime import datetime

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_EMPTY_BODY: Final = hashlib.sha256(b"").hexdigest()
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_SIGNED: Final = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An application key."""

    key_id: str
    application_key: str = field(repr=False)


def signed_headers(method: str, url: str, region: str, credentials: Credentials, moment: datetime) -> dict[str, str]:
    """The headers that sign a request without body and query. `url` is percent-encoded as it is sent; `moment` is in UTC."""
    parts = urlsplit(url)
    stamp = moment.strftime("%Y%m%dT%H%M%SZ")
    canonical = "\n".join(
        (
            method,
            parts.path or "/",
            parts.query,
            f"host:{parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])}",
            f"x-amz-content-sha256:{_EMPTY_BODY}",
            f"x-amz-date:{stamp}",
            "",
            _SIGNED,
            _EMPTY_BODY,
        )
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = _signing_key(credentials.application_key, scope)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    authorization = f"{_ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={_SIGNED}, Signature={signature}"
    return {"x-amz-date": stamp, "x-amz-content-sha256": _EMPTY_BODY, "Authorization": authorization}


def _signing_key(application_key: str, scope: str) -> bytes:
    key = f"AWS4{application_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
