"""Keeps other sites from using the page through somebody's browser. Pure.

A form of ours carries a token that only our page shows, and the browser says where it comes from. Without a password, requests
that name this machine otherwise than by a loopback name are refused as well: a site whose name is made to lead here (DNS
rebinding) is of one origin with us, and could read the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_own_form(headers: Mapping[str, str], given: str, token: str) -> bool:
    """Whether a POST comes from our own page: it holds the token, and its Origin is the host that was asked.

    A proxy may ask us by another name; what the browser asked then stands in X-Forwarded-Host, which no other site can set.
    """
    if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return False
    if headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return False
    origin = urlsplit(headers.get("Origin", ""))
    asked = (headers.get("Host"), headers.get("X-Forwarded-Host"))
    return origin.scheme in ("http", "https") and bool(origin.netloc) and origin.netloc.lower() in _lower(asked)


def _lower(names: tuple[str | None, ...]) -> set[str]:
    return {name.lower() for name in names if name}


def names_this_machine(host: str, listen: str) -> bool:
    """Whether a Host header (`name` or `name:port`) is a loopback name, or the address that is listened on."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name == listen.strip("[]").lower():
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
