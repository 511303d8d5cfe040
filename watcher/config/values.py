"""The kinds of values that several tables have: addresses, paths, names. Each is checked where it is written."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    numbered = separator and port.isdecimal() and port.isascii() and int(port) <= 65_535
    if not numbered or not (_is_bracketed(host) or (host and not set("[]:") & set(host))):
        raise ValueError('an address is written like "127.0.0.1:8080" or "[::1]:8080"')
    return value


def _is_bracketed(host: str) -> bool:
    """Whether it is an IPv6 address as it stands before a port."""
    try:
        return host[:1] + host[-1:] == "[]" and ipaddress.ip_address(host[1:-1]).version == 6
    except ValueError:
        return False


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def http_url(value: str) -> str:
    """The address without a slash at its end, if it is an http(s) address and no more. Raises ValueError."""
    try:
        parts = urlsplit(value)
        named = parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError("cannot be read: it is written like https://host:8443/path, an IPv6 address in brackets") from None
    if parts.scheme not in ("http", "https") or not named:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or a password")
    return value.rstrip("/")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080" or "[::1]:8080"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _manifest(value: Path) -> Path:
    if value.suffix not in (".json", ".csv"):
        raise ValueError("ends in .json or .csv")
    return _absolute(value)


Address = Annotated[str, AfterValidator(_address)]
ManifestPath = Annotated[Path, AfterValidator(_manifest)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
_NAME: Final = r"^[^\x00-\x1f/]+$"
_BUCKET: Final = r"^[A-Za-z0-9][A-Za-z0-9.-]*$"
_REGION: Final = r"^[a-z0-9]+(-[a-z0-9]+)*$"
PATTERN_WORDS: Final = {
    _NAME: "must hold no slash and no control character",
    _BUCKET: "a bucket's name has letters, digits, hyphens and dots, and begins with a letter or digit",
    _REGION: 'a region is written like "eu-central-003", in lower case',
}
"""What is told of a value that does not match."""
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=_NAME)]
BucketName = Annotated[str, Field(min_length=1, max_length=63, pattern=_BUCKET)]
RegionName = Annotated[str, Field(pattern=_REGION)]
