"""Who may see the admin port: one password, given as HTTP Basic has it, with any user name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock

MOST_FAILURES: Final = 10
"""So many wrong passwords an address may give at once."""
FORGIVEN_EVERY_SECONDS: Final = 6.0
MOST_ADDRESSES: Final = 1_000


class PasswordVerdict(Enum):
    """What a request's password is worth."""

    RIGHT = auto()
    MISSING = auto()
    WRONG = auto()
    TOO_MANY = auto()


@dataclass(slots=True)
class _Failures:
    count: float
    at: float


class PasswordCheck:
    """Compares in constant time; an address that guesses is not listened to for a while, right or wrong."""

    def __init__(self, password: Callable[[], str | None], clock: Clock) -> None:
        """`password` is asked at each request, so that a reload may change it; None lets everybody in."""
        self._password = password
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a password."""
        return self._password() is None

    def judge(self, authorization: str | None, address: str) -> PasswordVerdict:
        """`authorization` is the header's value; `address` is who asks."""
        wanted = self._password()
        if wanted is None:
            return PasswordVerdict.RIGHT
        given = basic_password(authorization or "")
        if given is None:
            return PasswordVerdict.MISSING
        network = _network(address)
        if self._count(network) > MOST_FAILURES - 1:
            return PasswordVerdict.TOO_MANY
        if hmac.compare_digest(_digest(given), _digest(wanted)):
            return PasswordVerdict.RIGHT
        self._fail(network)
        return PasswordVerdict.WRONG

    def _count(self, network: str) -> float:
        failures = self._failures.get(network)
        if failures is None:
            return 0.0
        return max(0.0, failures.count - (self._clock.monotonic() - failures.at) / FORGIVEN_EVERY_SECONDS)

    def _fail(self, network: str) -> None:
        self._failures[network] = _Failures(self._count(network) + 1, self._clock.monotonic())
        self._failures.move_to_end(network)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)


def basic_password(authorization: str) -> str | None:
    """The password of an Authorization header; None where it has none."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    _, separator, password = text.partition(":")
    return password if separator else None


def _digest(text: str) -> bytes:
    """Of one length for all, so that the comparison tells nothing of it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _network(address: str) -> str:
    """Who owns one IPv6 address owns the /64 around it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))
