"""Is a file complete? From what was observed so far and now to: take it, look again later, give it up, or leave it. Pure.

Where a read lease tells whether anybody has the file open for writing, a whole container is taken at once. Where it cannot tell
(network shares, folders that are polled, no right to lease), size and times must have stood still for a while as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from watcher.model import FailedReason, IgnoredReason, Observation, Unfinished

if TYPE_CHECKING:
    from watcher.formats.containers import ContainerFacts

SHORTEST_WAIT: Final = 0.05
"""Seconds to the first look after one that said "not yet"."""
LONGEST_WAIT_WRITER: Final = 1.0
"""Seconds between looks while somebody writes; the close is usually told by an event long before."""
LONGEST_WAIT_CONTENT: Final = 5.0
"""Seconds between looks at a file that is empty or cut and stands still."""

OWN_SECONDS: Final = 10.0
"""What is given up was seen to stand still for so long by this process. By its times alone a file is old while it is still
being written, where the clock of its share is behind, or where ours was set just after it came."""


class Writers(Enum):
    """Whether anybody has the file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Inspection:
    """One look at a file. `verdict` is None where its content was not read: it is empty, being written or not yet still.

    `unfinished`: what speaks against a file that looks whole.
    """

    observation: Observation
    writers: Writers
    verdict: ContainerFacts | None = None
    unfinished: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a file must stand still where writers cannot be seen, and after how long it is given up (seconds)."""

    settle: float
    max_wait: float


@dataclass(frozen=True, slots=True)
class NotYet:
    """Not complete yet. `since`: monotonic seconds at which this version was first seen; `check_at`: when to look again."""

    observation: Observation
    since: float
    check_at: float
    verdict: ContainerFacts | None = None
    age: float = field(default=0.0, compare=False)
    """How old (seconds) the version was when it was first seen."""

    def stood_still(self, now: float, patience: Patience) -> bool:
        """Whether the version, if it still is this one, has been still long enough."""
        return now - self.since >= patience.settle


@dataclass(frozen=True, slots=True)
class Take:
    """Complete; or all that will ever come of it, where only its formal end is missing and it stood still for `max_wait`."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Never became whole."""

    observation: Observation
    reason: FailedReason
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Complete, and not for us."""

    observation: Observation
    reason: IgnoredReason
    message: str = ""


Decision = Take | NotYet | GiveUp | Leave


def settle(before: NotYet | None, inspection: Inspection, now: float, wall: float, patience: Patience) -> Decision:
    """What follows from a look, given what the last one left. `now` is monotonic, `wall` Unix seconds.

    How long a version has stood is measured by us; for giving up its age at the first look is added, so that restarts do not
    start it anew, but for OWN_SECONDS. A clock that is set between two looks changes nothing.
    """
    observation = inspection.observation
    since, age = now, max(0.0, wall - observation.ctime_ns / 1e9)
    if before is not None and before.observation == observation:
        since, age = before.since, before.age
    decision = _settle(inspection, since, now, age, patience)
    return replace(decision, age=age) if isinstance(decision, NotYet) else decision


def _settle(inspection: Inspection, since: float, now: float, age: float, patience: Patience) -> Decision:
    observation, still = inspection.observation, now - since
    stood = still + age
    if inspection.writers is Writers.SOME:
        return NotYet(observation, since, now + _pause(still, LONGEST_WAIT_WRITER))
    if observation.size == 0:
        return _incomplete(inspection, since, now, stood, patience)
    if inspection.writers is Writers.UNKNOWN and (still < patience.settle or inspection.verdict is None):
        return NotYet(observation, since, max(since + patience.settle, now + SHORTEST_WAIT if still >= patience.settle else now))
    if inspection.verdict is None:
        return NotYet(observation, since, now + SHORTEST_WAIT)
    if inspection.verdict.unsupported:
        return Leave(observation, IgnoredReason.UNSUPPORTED, inspection.verdict.unsupported)
    if inspection.verdict.format is None:
        return Leave(observation, IgnoredReason.NOT_AN_IMAGE)
    if inspection.verdict.whole and not inspection.unfinished:
        return Take(observation)
    return _incomplete(inspection, since, now, stood, patience)


def unfinished(wait: NotYet, since: float) -> Unfinished:
    """What people are told of a file that is waited for; `since` in Unix seconds."""
    size, verdict = wait.observation.size, wait.verdict
    if size == 0:
        return Unfinished(size, since, "empty", "the file is empty")
    if verdict is None or verdict.format is None:
        return Unfinished(size, since, "being_written", "somebody has the file open for writing, or it still changes")
    message = f"the {verdict.format.value} file is not whole yet: {verdict.missing}"
    if verdict.formal:
        message += "; all its pixels are there, so it is sent when nothing comes any more for max_wait"
    return Unfinished(size, since, "truncated", message)


def _pause(still: float, longest: float) -> float:
    """Looks become rarer the longer nothing happens."""
    return min(max(still / 4, SHORTEST_WAIT), longest)


def _incomplete(inspection: Inspection, since: float, now: float, stood: float, patience: Patience) -> NotYet | GiveUp | Take:
    if stood < patience.max_wait or now - since < min(patience.max_wait, OWN_SECONDS):
        return NotYet(inspection.observation, since, now + _pause(now - since, LONGEST_WAIT_CONTENT), inspection.verdict)
    if inspection.verdict is not None and inspection.verdict.has_pixels and not inspection.unfinished:
        return Take(inspection.observation)
    if inspection.verdict is None:
        hint = "put the image there again; an empty file is left behind by copies that were broken off and by full disks"
        return GiveUp(inspection.observation, FailedReason.EMPTY, "the file has been empty for too long", hint)
    kind = inspection.verdict.format.value if inspection.verdict.format else "image"
    if inspection.unfinished:
        hint = "let the download go on, or start it again; a file that is whole all the same can be copied (cp --sparse=never)"
        message = f"the {kind} file is not whole: {inspection.unfinished}"
        return GiveUp(inspection.observation, FailedReason.TRUNCATED, message, hint)
    message = f"the {kind} file is cut off: {inspection.verdict.missing}"
    return GiveUp(inspection.observation, FailedReason.TRUNCATED, message, "copy it again; the file on this disk is not whole")
