"""Writes down how an output stands after a turn: the journal first, then a line where one is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.compressor import retry
from watcher.endings import failed_record, stored_record, superseded_record, vanished_record
from watcher.model import Ending, Event, OutputState, Postponement

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.compressor.wire import Result
    from watcher.edges import Clock, EventLog, Journal
    from watcher.endings import Told
    from watcher.errand import Errand, Outcome
    from watcher.model import FailedReason, Image, Output, StoredObject

SHORTEST_HOLD: Final = 1.0
"""Seconds at least until an original that cannot be had is tried again."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an output failed: one of the closed list, words for people, what to do, and the HTTP status if there was one."""

    reason: FailedReason
    message: str
    hint: str
    status: int | None = None


class Outcomes:
    """The endings, and the ways of not having ended yet. `random` gives values in [0, 1)."""

    def __init__(self, journal: Journal, events: EventLog, clock: Clock, random: Callable[[], float]) -> None:
        self._journal = journal
        self._events = events
        self._clock = clock
        self._random = random

    async def stored(self, errand: Errand, result: Result, told: Told) -> Outcome:
        """The object lies at its key."""
        stored = replace(errand.stored, output_sha1=result.output.sha1)
        now = self._clock.now()
        told = replace(told, attempts=errand.attempts, key=errand.key)
        record = stored_record(errand.image, errand.rule, errand.visit.facts, result, told, now)
        await self._journal.end(errand.image.id, errand.output.rendition, Ending(Event.IMAGE_STORED, record, stored), now)
        return OutputState.STORED

    async def fail(self, errand: Errand, reason: Reason) -> Outcome:
        """It will not be stored; `attempts` of the errand are told."""
        now = self._clock.now()
        rendition, status = errand.output.rendition, reason.status
        record = failed_record(errand.image, rendition, reason.reason, reason.message, reason.hint, errand.attempts, status, now)
        await self._journal.end(errand.image.id, rendition, Ending(Event.IMAGE_FAILED, record), now)
        return OutputState.FAILED

    async def supersede(self, image: Image, output: Output) -> Outcome:
        """Another version is at the path."""
        now = self._clock.now()
        record = superseded_record(image, output.rendition, now, None)
        await self._journal.end(image.id, output.rendition, Ending(Event.IMAGE_SUPERSEDED, record), now)
        return OutputState.SUPERSEDED

    async def vanish(self, image: Image, output: Output) -> Outcome:
        """Nothing is at the path any more."""
        now = self._clock.now()
        record = vanished_record(image, output.rendition, now)
        await self._journal.end(image.id, output.rendition, Ending(Event.IMAGE_VANISHED, record), now)
        return OutputState.VANISHED

    async def unchanged(self, errand: Errand, there: StoredObject) -> Outcome:
        """This very work lies at the key already; the key belongs to this path now."""
        image, rendition = errand.image, errand.output.rendition
        stored = replace(errand.stored, output_sha1=there.output_sha1)
        if not await self._journal.unchanged(image.id, rendition, errand.key, stored, self._clock.now()):
            return OutputState.SUPERSEDED
        self._events.event(Event.IMAGE_UNCHANGED, id=image.id, **image.file.fields(), rendition=rendition, key=errand.key)
        return OutputState.UNCHANGED

    async def hold_back(self, image: Image, output: Output, reason: str) -> Outcome:
        """The original cannot be had now: another turn later, and nobody's attempt."""
        now = self._clock.now()
        tries = output.tries + 1
        due_at = now + max(SHORTEST_HOLD, retry.backoff(tries, self._random))
        doubt = output.doubt or output.state is not OutputState.WAITING
        await self._journal.postponed(
            image.id, output.rendition, Postponement(due_at, output.attempts, tries, doubt, reason), now
        )
        return None
