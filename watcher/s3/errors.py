"""What a store's refusals mean: their kind, by status, code and words. Pure.

Backblaze's ways: a key of another region is called invalid; caps are 403 and stay until they are raised or the day ends; 503,
500 and 408 are everyday life and mean "again, on a new connection".
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from enum import StrEnum
from typing import Final

BUSY_STATUS: Final = frozenset({408, 429, 500, 502, 503, 504})
_CAP: Final = re.compile(r"\bcaps?\b", re.IGNORECASE)


class S3ErrorKind(StrEnum):
    """Why a store did not do what was asked."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    KEY = "key"
    SECRET = "secret"  # noqa: S105 - the name of a cause
    BUCKET = "bucket"
    MISSING = "missing"
    REGION = "region"
    CLOCK = "clock"
    CAP = "cap"
    ACL = "acl"
    DENIED = "denied"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


PASSING: Final = frozenset({S3ErrorKind.UNREACHABLE, S3ErrorKind.BUSY})
"""What the same call may not meet again a moment later."""

_BY_CODE: Final = {
    "InvalidAccessKeyId": S3ErrorKind.KEY,
    "SignatureDoesNotMatch": S3ErrorKind.SECRET,
    "NoSuchBucket": S3ErrorKind.BUCKET,
    "InvalidBucketName": S3ErrorKind.BUCKET,
    "PermanentRedirect": S3ErrorKind.REGION,
    "AuthorizationHeaderMalformed": S3ErrorKind.REGION,
    "IllegalLocationConstraintException": S3ErrorKind.REGION,
    "RequestTimeTooSkewed": S3ErrorKind.CLOCK,
    "NotImplemented": S3ErrorKind.UNSUPPORTED,
}
_BY_STATUS: Final = {
    301: S3ErrorKind.REGION,
    307: S3ErrorKind.REGION,
    401: S3ErrorKind.DENIED,
    403: S3ErrorKind.DENIED,
    404: S3ErrorKind.MISSING,
    501: S3ErrorKind.UNSUPPORTED,
}


class S3Error(Exception):
    """A call ended without success.

    `status` is None where no answer came, `code` empty where the store gave none; `retry_after` is in seconds. The message
    holds the store's own words, in which B2 repeats key ids.
    """

    def __init__(
        self, kind: S3ErrorKind, message: str, status: int | None = None, *, code: str = "", retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed later."""
        return self.kind in PASSING


def error_of_answer(status: int, body: str, retry_after: float = 0.0) -> S3Error:
    """What an answer that is no success means."""
    code, text = _error_fields(body)
    message = f"{code or 'status'} {status}" + (f": {text}" if text else "")
    return S3Error(_kind(status, code, text), message, status, code=code, retry_after=retry_after)


def _kind(status: int, code: str, text: str) -> S3ErrorKind:
    if "cap_exceeded" in code or (status == 403 and _CAP.search(text)):
        return S3ErrorKind.CAP
    if "canned acl" in text:
        return S3ErrorKind.ACL
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status in BUSY_STATUS:
        return S3ErrorKind.BUSY
    return _BY_STATUS.get(status, S3ErrorKind.OTHER)


def _error_fields(body: str) -> tuple[str, str]:
    """Code and message of an error document; empty where it is none."""
    try:
        root = parse_xml(body)
    except ET.ParseError:
        return "", ""
    return child_text(root, "Code"), child_text(root, "Message")[:300]


def parse_xml(body: str) -> ET.Element:
    """A store's document. Raises ElementTree.ParseError."""
    return ET.fromstring(body)  # noqa: S314 - from the operator's own store; expat itself limits entity expansion


def child_text(element: ET.Element, name: str) -> str:
    """The text of a child; empty where there is none."""
    return next((child.text or "" for child in element if local_name(child.tag) == name), "")


def local_name(tag: str) -> str:
    """A tag without its namespace: stores differ in whether they send one."""
    return tag.rpartition("}")[2]
