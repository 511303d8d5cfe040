"""Why a request for a temporary URL was refused, and how often that is said. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

INTERVAL_SECONDS: Final = 60.0
"""Each reason is logged at once, then at most so often."""


class Denial(StrEnum):
    """`reason` of serve.denied."""

    METHOD = "method"
    UNKNOWN = "unknown_url"
    EXPIRED = "expired"
    KEY_MISSING = "key_missing"
    KEY_WRONG = "key_wrong"
    CHANGED = "changed"
    BUSY = "busy"
    SHARE_HANGS = "share_hangs"

    @property
    def status(self) -> int:
        """The HTTP status. Unknown, expired and changed look alike from outside."""
        return _STATUS.get(self, 404)

    @property
    def hint(self) -> str:
        """What the operator can do."""
        return _HINTS[self]


_STATUS: Final = {Denial.METHOD: 405, Denial.KEY_MISSING: 403, Denial.KEY_WRONG: 403, Denial.BUSY: 503, Denial.SHARE_HANGS: 503}

_HINTS: Final = {
    Denial.METHOD: "only GET and HEAD are answered",
    Denial.UNKNOWN: "somebody tries addresses, or a URL was used after its image had ended",
    Denial.EXPIRED: "the API asked too late; a longer [publish.serve] ttl helps where it queues for long",
    Denial.KEY_MISSING: "whoever asked knew the URL but not the key; if it was the API, a proxy between drops X-Watcher-Key",
    Denial.KEY_WRONG: "whoever asked knew the URL but not the key; if it was the API, a proxy between changes X-Watcher-Key",
    Denial.CHANGED: "the file was changed after it had been hashed; the new version is taken by itself",
    Denial.BUSY: "this process has too many files open; raise LimitNOFILE= of the service or lower compressor.concurrency",
    Denial.SHARE_HANGS: "the disk or share that the file lies on does not answer, or fails; the image waits until it is back",
}


@dataclass(frozen=True, slots=True)
class DenialReport:
    """One line to log: how many refusals for this reason since the last line, and who asked last."""

    reason: Denial
    count: int
    remote: str | None


@dataclass(slots=True)
class _Tally:
    pending: int = 0
    remote: str | None = None
    quiet_until: float = float("-inf")


@dataclass(slots=True)
class Denials:
    """Counts refusals and says when a line is due. Times are monotonic seconds."""

    _tallies: dict[Denial, _Tally] = field(default_factory=dict)

    def note(self, reason: Denial, remote: str | None, now: float) -> list[DenialReport]:
        """Count one; gives the line to log now, if there is one."""
        tally = self._tallies.setdefault(reason, _Tally())
        tally.pending += 1
        tally.remote = remote
        return self._due(reason, tally, now)

    def due(self, now: float) -> list[DenialReport]:
        """What was counted in silence and may be said now."""
        return [report for reason, tally in self._tallies.items() for report in self._due(reason, tally, now)]

    def rest(self) -> list[DenialReport]:
        """What was counted and not said yet, for the end of service."""
        return self.due(float("inf"))

    def _due(self, reason: Denial, tally: _Tally, now: float) -> list[DenialReport]:
        if not tally.pending or now < tally.quiet_until:
            return []
        report = DenialReport(reason, tally.pending, tally.remote)
        tally.pending, tally.quiet_until = 0, now + INTERVAL_SECONDS
        return [report]
