"""What is published under which ticket, and how much of it the line still has to carry."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.publish.traffic import FREE_BYTES, Traffic, Uplink

if TYPE_CHECKING:
    from watcher.model import Ticket
    from watcher.ports import Clock, Source

ROOM_SECONDS: Final = 1.0
"""How often it is looked whether a thin line has room for another original."""


@dataclass(frozen=True, slots=True)
class Published:
    """A source under a ticket; `inode` is what its descriptor led to when it was published (None where its bytes are held),
    `until` (monotonic) its end."""

    ticket: Ticket
    source: Source
    inode: tuple[int, int] | None
    traffic: Traffic
    until: float


class Register:
    """Publications by token. A token is looked up by its digest: the time it takes says nothing about the tokens that exist."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._published: dict[bytes, Published] = {}
        self._line = Uplink()
        self._queue = asyncio.Lock()
        self._less_to_send = asyncio.Event()
        self._bytes = 0
        """Of all that is published, sent or not."""

    def __len__(self) -> int:
        return len(self._published)

    def add(self, ticket: Ticket, source: Source, inode: tuple[int, int] | None) -> None:
        """Publish; the same ticket again gets the new source."""
        key = _digest(ticket.token)
        known = self._published.get(key)
        traffic = known.traffic if known is not None else Traffic(source.facts.size, self._clock.monotonic())
        until = self._clock.monotonic() + (ticket.expires_at - self._clock.now())
        self._forget(key)
        self._published[key] = Published(ticket, source, inode, traffic, until)
        self._bytes += source.facts.size

    def find(self, token: str) -> Published | None:
        """What is published under a token."""
        found = self._published.get(_digest(token))
        return found if found is not None and is_equal(found.ticket.token, token) else None

    def remove(self, token: str) -> None:
        """Forget a publication."""
        self._forget(_digest(token))
        self._less_to_send.set()

    def _forget(self, key: bytes) -> None:
        if (known := self._published.pop(key, None)) is not None:
            self._bytes -= known.source.facts.size

    def forget_expired(self) -> None:
        """Forget what nobody may fetch any more."""
        now = self._clock.monotonic()
        for key in [key for key, each in self._published.items() if now >= each.until]:
            self._forget(key)

    async def room_for(self, size: int) -> None:
        """Wait, in the order of coming, while a thin line has more to send than it can in a while."""
        if self._bytes + size <= FREE_BYTES and not self._queue.locked():
            return  # whatever is still to be sent of it
        async with self._queue:
            while not self._line.has_room(self._waiting_bytes(), size, self._clock.monotonic()):
                self._less_to_send.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ROOM_SECONDS):
                        await self._less_to_send.wait()

    def note_sent(self, count: int) -> None:
        """So many bytes were given to the kernel."""
        self._line.sent(count, self._clock.monotonic())

    def download_ended(self) -> None:
        """Those who wait for room may look again."""
        self._less_to_send.set()

    def _waiting_bytes(self) -> int:
        now = self._clock.monotonic()
        return sum(each.traffic.loads_the_line(now) for each in self._published.values())


def is_equal(one: str, other: str) -> bool:
    """Compare secrets in a time that tells nothing."""
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _digest(token: str) -> bytes:
    return hashlib.sha256(_bytes(token)).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
