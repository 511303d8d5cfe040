"""The proxies of the environment: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, read once. Pure.

As curl reads them: an address without a scheme is http, names of variables may be in lower case (which wins). This machine
itself is never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = tuple(_PORTS)


@dataclass(frozen=True, slots=True)
class Proxy:
    """What one variable says: the proxy's address, or what is wrong with it."""

    variable: str
    url: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy an address is asked through. Without arguments: none."""

    by_scheme: tuple[tuple[str, Proxy], ...] = ()
    exceptions: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """The proxies that the variables name."""
        everything = _read(environment, "ALL_PROXY")
        found = {scheme: _read(environment, f"{scheme.upper()}_PROXY") or everything for scheme in _SCHEMES}
        exceptions = _value(environment, "NO_PROXY")[1].replace(" ", ",").split(",")
        by_scheme = tuple((scheme, proxy) for scheme, proxy in found.items() if proxy)
        return cls(by_scheme, tuple(entry for entry in exceptions if entry))

    def for_url(self, url: str) -> str | None:
        """The address of the proxy for `url`; None where there is none, or none that can be used."""
        proxy = self._chosen(url)
        return proxy.url if proxy is not None and not proxy.problem else None

    def problem(self, url: str) -> str | None:
        """Why `url` cannot be asked as the environment wants it, in words that name the variable; None where it can."""
        proxy = self._chosen(url)
        return f"{proxy.variable}: {proxy.problem}" if proxy is not None and proxy.problem else None

    def _chosen(self, url: str) -> Proxy | None:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or _PORTS.get(parts.scheme)
        if not host or _is_this_machine(host) or any(_excepts(entry, host, port) for entry in self.exceptions):
            return None
        return dict(self.by_scheme).get(parts.scheme)


def _value(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    for each in (name.lower(), name):
        if value := environment.get(each, "").strip():
            return each, value
    return name, ""


def _read(environment: Mapping[str, str], name: str) -> Proxy | None:
    variable, value = _value(environment, name)
    if not value:
        return None
    url = value if "://" in value else f"http://{value}"
    return Proxy(variable, url, _problem(url))


def _problem(url: str) -> str:
    """What is wrong with a proxy's address; it is not repeated, since it may hold a password."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "cannot be read; it is written like http://proxy.example.com:3128"
    if parts.scheme.startswith("socks"):
        return (
            "names a SOCKS proxy, and only http:// and https:// proxies can be used; set HTTPS_PROXY to one, "
            "or name the host in NO_PROXY"
        )
    if parts.scheme not in _SCHEMES or not usable:
        return "names no proxy that can be used; it is written like http://proxy.example.com:3128"
    return ""


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _excepts(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY is about a host: `*`, a name with all below it, an address, a network, each with a port."""
    if entry == "*":
        return True
    name, given_port = _with_port(entry)
    if given_port is not None and given_port != port:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        pass  # a name, not an address: compared below
    name = name.lower().lstrip("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _with_port(entry: str) -> tuple[str, int | None]:
    """An entry without its brackets, and the port behind it; "::1" has none."""
    name, separator, port = entry.rpartition(":")
    if separator and port.isdigit() and (":" not in name or name.startswith("[")):
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None
