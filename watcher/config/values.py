"""The kinds of values that several tables have: addresses, paths, names. Each is checked where it is written."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError('an address is written like "127.0.0.1:8080" or "[::1]:8080"')
    return value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def http_url(value: str) -> str:
    """The address without a slash at its end, if it is an http(s) address and no more. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
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
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/]+$")]
BucketName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
RegionName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
