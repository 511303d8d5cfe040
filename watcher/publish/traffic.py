"""What is known of the fetches of published originals: whether the bytes left, and whether a download still moves. Pure.

A client on a thin line is slow, not gone: what counts is that the other side acknowledges bytes, not how long the whole takes.
Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RATE_SECONDS: Final = 10.0
"""The speed of the line is that of so many seconds."""
AHEAD_SECONDS: Final = 20.0
"""So many seconds' worth of bytes may be on their way before another original is offered."""
FREE_BYTES: Final = 32_000_000
"""So much may always be on its way: on a line that is not thin nobody waits."""
QUIET_SECONDS: Final = 30.0
"""A publication of which nothing was taken for so long does not load the line."""


@dataclass(eq=False, slots=True)
class Download:
    """One response under way. `acknowledged` asks how many bytes the other side has confirmed on this connection."""

    acknowledged: Callable[[], int]
    moved_at: float
    _seen: int = -1

    def look(self, now: float) -> float:
        """When it last moved, as far as it can be seen now."""
        count = self.acknowledged()
        if count != self._seen:
            self._seen, self.moved_at = count, now
        return self.moved_at


@dataclass(eq=False, slots=True)
class Traffic:
    """The fetches of one publication of `size` bytes, since `published_at`."""

    size: int
    published_at: float
    sent: int = 0
    """Bytes of responses that ended well."""
    turned_away: int = 0
    """Requests that were refused for a reason of ours."""
    downloads: set[Download] = field(default_factory=set)
    _moved_at: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all bytes left this machine."""
        return self.sent >= self.size

    @property
    def times(self) -> int:
        """How often all bytes left this machine."""
        return self.sent // max(1, self.size)

    def ended(self, download: Download, sent: int, now: float) -> None:
        """A response is over; `sent` bytes of it are sure to have left, 0 where it broke off."""
        self._moved_at = max(download.look(now), self._moved_at or 0.0)
        self.downloads.discard(download)
        self.sent += sent

    def moved_at(self, now: float) -> float | None:
        """When bytes last moved; None before the first request."""
        moments = [download.look(now) for download in self.downloads]
        if self._moved_at is not None:
            moments.append(self._moved_at)
        return max(moments, default=None)

    def loads_the_line(self, now: float) -> int:
        """The bytes that are still to be sent, as far as somebody is about to take them."""
        if self.is_complete or now - (self.moved_at(now) or self.published_at) > QUIET_SECONDS:
            return 0
        return self.size - self.sent


@dataclass(slots=True)
class Uplink:
    """How fast bytes leave, so that a thin line is not shared by more downloads than it can feed in time."""

    _marks: list[tuple[float, int]] = field(default_factory=list)
    _total: int = 0

    def sent(self, count: int, now: float) -> None:
        """So many bytes were given to the kernel."""
        self._total += count
        if not self._marks or now - self._marks[-1][0] >= RATE_SECONDS / 10:
            self._marks = [mark for mark in self._marks if now - mark[0] <= RATE_SECONDS]
            self._marks.append((now, self._total))

    def rate(self, now: float) -> float:
        """Bytes a second over the last while; 0 where nothing is known."""
        recent = [mark for mark in self._marks if now - mark[0] <= RATE_SECONDS]
        if not recent or now <= recent[0][0]:
            return 0.0
        return (self._total - recent[0][1]) / (now - recent[0][0])

    def has_room(self, waiting: int, size: int, now: float) -> bool:
        """Whether another `size` bytes may be offered while `waiting` bytes are still to be sent."""
        return waiting == 0 or waiting + size <= max(FREE_BYTES, self.rate(now) * AHEAD_SECONDS)
