"""Addresses that servers listen on: both families where all are meant, IPv6 in brackets wherever an address is shown."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_FROM_HERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


def shown_host(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def origin(host: str, port: int, *, secure: bool = False) -> str:
    """The URL of a port of this machine, as seen from this machine."""
    return f"{'https' if secure else 'http'}://{shown_host(_FROM_HERE.get(host, host))}:{port}"


def listening_sockets(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Sockets that listen on `host`: an address, a name of this machine, or "::" for all addresses of both families.

    Raises OSError.
    """
    if host == "::":
        return [_on_both_families(port, backlog)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            sockets.append(_listening(address, family, backlog))
            if port == 0:
                break  # a second address would get another port
    except OSError:
        for each in sockets:
            each.close()
        raise
    return sockets


def _on_both_families(port: int, backlog: int) -> socket.socket:
    """One socket for IPv6 and IPv4; IPv4 alone where the machine has no IPv6."""
    try:
        return _listening(("::", port), socket.AF_INET6, backlog, both=socket.has_dualstack_ipv6())
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _listening(("0.0.0.0", port), socket.AF_INET, backlog)  # noqa: S104 - what "::" asks for


def _listening(address: tuple[object, ...], family: int, backlog: int, *, both: bool = False) -> socket.socket:
    made = socket.create_server(address, family=family, backlog=backlog, dualstack_ipv6=both)
    made.setblocking(False)
    return made
