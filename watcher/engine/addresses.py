"""Which addresses the engine may connect to. Pure.

Public unicast addresses only, unless the operator allows a network, or allows one address and port. An IPv4 address wrapped
into IPv6 (mapped, 6to4, Teredo, NAT64) is judged as what it wraps, so that no wrapping opens the inside.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER_PUBLIC: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "5f00::/16",
        "3fff::/20",
        "fec0::/10",
    )
)
"""Special-purpose networks (IANA) that older tables of the standard library take for public."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the operator allows besides public addresses: `networks`, and (host, port) pairs as a URL names them."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, networks: Iterable[str], hosts: Collection[tuple[str, int]] = ()) -> AddressPolicy:
        """From texts such as "10.0.0.0/8" and pairs such as ("127.0.0.1", 8080)."""
        parsed = tuple(ipaddress.ip_network(network) for network in networks)
        return cls(parsed, frozenset((host.lower().strip("[]"), port) for host, port in hosts))

    def permits(self, host: str, port: int, address: str) -> bool:
        """Whether `address`, which `host` is or resolves to, may be connected to at `port`."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        if (host.lower().strip("[]"), port) in self.hosts or (str(parsed), port) in self.hosts:
            return True
        return all(self._permits(candidate) for candidate in (parsed, *wrapped(parsed)))

    def _permits(self, address: Address) -> bool:
        if any(address in network for network in self.networks if network.version == address.version):
            return True
        if isinstance(address, ipaddress.IPv6Address) and wrapped(address):
            return True
        return is_public(address)


def wrapped(address: Address) -> tuple[ipaddress.IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address stands for; none for most."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64:
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def is_public(address: Address) -> bool:
    """Whether an address is public unicast: not private, loopback, link-local, shared, multicast or reserved."""
    if any(address in network for network in _NEVER_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
