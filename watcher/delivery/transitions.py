"""Writes down how an output stands after a turn: the journal first, then a line where one is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher import backoff
from watcher.model import Ending, Event, OutputState, Postponement
from watcher.result_records import failed_record, published, stored_record, superseded_record, vanished_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.compressor.wire import Result
    from watcher.delivery.delivery import Delivery, Progress
    from watcher.model import FailedReason, Image, Output, StoredObject
    from watcher.ports import Clock, EventLog, Journal
    from watcher.result_records import ResultDetails

SHORTEST_HOLD: Final = 1.0
"""Seconds at least until an original that cannot be had is tried again."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an output failed: one of the closed list, words for people, what to do, and the HTTP status if there was one."""

    reason: FailedReason
    message: str
    hint: str
    status: int | None = None


class Transitions:
    """The endings, and the ways of not having ended yet. `random` gives values in [0, 1)."""

    def __init__(self, journal: Journal, events: EventLog, clock: Clock, random: Callable[[], float]) -> None:
        self._journal = journal
        self._events = events
        self._clock = clock
        self._random = random

    async def stored(self, delivery: Delivery, result: Result, details: ResultDetails) -> Progress:
        """The object lies at its key."""
        now = self._clock.now()
        details = replace(details, attempts=delivery.attempts, key=delivery.key)
        record = stored_record(delivery.image, delivery.rule, delivery.opened.facts, result, details, now)
        stored = replace(delivery.stored, output_sha1=result.output.sha1, published=published(record))
        await self._journal.end(delivery.image.id, delivery.output.rendition, Ending(Event.IMAGE_STORED, record, stored), now)
        return OutputState.STORED

    async def fail(self, delivery: Delivery, reason: Reason) -> Progress:
        """It will not be stored; `attempts` of the delivery are in the line."""
        now = self._clock.now()
        rendition, status = delivery.output.rendition, reason.status
        record = failed_record(
            delivery.image, rendition, reason.reason, reason.message, reason.hint, delivery.attempts, status, now
        )
        await self._journal.end(delivery.image.id, rendition, Ending(Event.IMAGE_FAILED, record), now)
        return OutputState.FAILED

    async def supersede(self, image: Image, output: Output) -> Progress:
        """Another version is at the path."""
        now = self._clock.now()
        record = superseded_record(image, output.rendition, now, None)
        await self._journal.end(image.id, output.rendition, Ending(Event.IMAGE_SUPERSEDED, record), now)
        return OutputState.SUPERSEDED

    async def vanish(self, image: Image, output: Output) -> Progress:
        """Nothing is at the path any more."""
        now = self._clock.now()
        record = vanished_record(image, output.rendition, now)
        await self._journal.end(image.id, output.rendition, Ending(Event.IMAGE_VANISHED, record), now)
        return OutputState.VANISHED

    async def unchanged(self, delivery: Delivery, there: StoredObject) -> Progress:
        """This very work lies at the key already; the key belongs to this path now."""
        image, rendition = delivery.image, delivery.output.rendition
        stored = replace(delivery.stored, output_sha1=there.output_sha1)
        if not await self._journal.unchanged(image.id, rendition, delivery.key, stored, self._clock.now()):
            return OutputState.SUPERSEDED
        self._events.event(Event.IMAGE_UNCHANGED, id=image.id, **image.file.fields(), rendition=rendition, key=delivery.key)
        return OutputState.UNCHANGED

    async def defer(self, image: Image, output: Output, reason: str) -> Progress:
        """The original cannot be had now: another turn later, and nobody's attempt."""
        now = self._clock.now()
        tries = output.tries + 1
        due_at = now + max(SHORTEST_HOLD, backoff.backoff(tries, self._random))
        doubt = output.doubt or output.state is not OutputState.WAITING
        await self._journal.postponed(
            image.id, output.rendition, Postponement(due_at, output.attempts, tries, doubt, reason), now
        )
        return None
