"""The values that the circuit is made of: its phases and state, what comes in, what follows. Pure; the rules are in `circuit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.model import Event

Names = frozenset[str]
NOBODY: Final[Names] = frozenset()


class Phase(StrEnum):
    """Where the way to the API stands; `circuit` shows the ways between."""

    CLOSED = "closed"
    CHECKING = "checking"
    OPEN = "open"
    THROTTLED = "throttled"
    BLOCKED = "blocked"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which not everybody could send, from the first line about it to `api.recovered`."""

    event: Event
    since: float
    message: str
    said: Names = NOBODY
    waited: Names = NOBODY
    account_failed: bool = False
    """Not even `GET /account` worked: that it answers again is news."""


@dataclass(frozen=True, slots=True)
class Passed:
    """Who got through lately: enough to say whether anybody but one given name did since a given count."""

    count: int = 0
    last: str = ""
    other_count: int = 0
    """The count at the last success of a name other than `last`."""

    def add(self, name: str) -> Passed:
        """One more success."""
        other = self.other_count if name == self.last else self.count
        return Passed(self.count + 1, name, other)

    def others_since(self, mark: int, name: str) -> bool:
        """Whether somebody other than `name` got through after the count was `mark`."""
        return (self.other_count if name == self.last else self.count) > mark


@dataclass(frozen=True, slots=True)
class Circuit:
    """The state. `wake_at` is when the next step is due by itself (see `woke` and `probed`); times are monotonic seconds."""

    phase: Phase = Phase.CLOSED
    wake_at: float | None = None
    cause: Event | None = None
    level: int = 0
    """How often in a row the same cause was met; paces the probes."""
    trial: str | None = None
    """Who was let through; None in a trial means that nobody is, yet."""
    streak: Names = NOBODY
    unfetched: Names = NOBODY
    """Those of the streak whose originals the API could not fetch."""
    unpaid: Names = NOBODY
    """Those of the streak that were answered 402 or 403."""
    failures: int = 0
    chargeable: Names = NOBODY
    """Whose attempt it was if `/account` answers."""
    suspects: Names = NOBODY
    passed: Passed = Passed()
    episode: Episode | None = None
    led_by: str = ""
    """The host that asks the account for this one as well, where several share a journal; see `peers`."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that ended: who sent it, what `passed.count` was when it was let in, and who else is under way or waits."""

    name: str
    mark: int
    others: Names = NOBODY


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the log."""

    event: Event
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CircuitChange:
    """What follows from an input: the new state, what to log, and who has used one attempt."""

    circuit: Circuit
    lines: tuple[LogLine, ...] = ()
    charged: Names = NOBODY
