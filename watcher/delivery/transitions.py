"""Writes down how a turn ended: the journal first, then a line where one is due."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from watcher.backoff import backoff
from watcher.delivery.decisions import (
    Failed,
    Gone,
    Later,
    OnHold,
    Overtaken,
    Stored,
    Unchanged,
    UnderWay,
    is_last_attempt,
    postponement,
)
from watcher.delivery.delivery import ABSENT_FOLDER, is_unsettled
from watcher.formats.visibility import hidden_for, notices
from watcher.model import Ending, Event, OutputState, Postponement
from watcher.result_records import ResultDetails, failed_record, published, stored_record, superseded_record, vanished_record

if TYPE_CHECKING:
    from watcher.compressor.wire import Result
    from watcher.delivery.decisions import Conclusion
    from watcher.delivery.delivery import Delivery, Policy, Ports, Progress
    from watcher.model import Image, Notice, Output, StoredObject

SHORTEST_HOLD: Final = 1.0
"""Seconds at least until an original that cannot be read is tried again."""


class Transitions:
    """The endings, and the ways of not having ended yet."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def write(self, delivery: Delivery, conclusion: Conclusion, policy: Policy) -> Progress:
        """Write down the conclusion of a turn, and give how the output stands."""
        match conclusion:
            case Stored():
                return await self._stored(delivery, conclusion, policy)
            case Unchanged(there):
                return await self._unchanged(delivery, there)
            case Failed():
                return await self._fail(delivery, conclusion)
            case Later():
                return await self._postpone(delivery, conclusion, policy)
            case Gone():
                return await self.original_gone(delivery.image, delivery.output)
            case Overtaken():
                return OutputState.SUPERSEDED
            case OnHold() | UnderWay():
                return None
        assert_never(conclusion)

    async def _stored(self, delivery: Delivery, stored: Stored, policy: Policy) -> Progress:
        result = stored.result
        warnings = _notices(delivery, result, policy)
        details = ResultDetails(delivery.key, stored.attempts, stored.recovered, stored.url_mismatch, warnings)
        now = self._ports.clock.now()
        record = stored_record(delivery.image, delivery.rule, delivery.facts, result, details, now)
        there = replace(delivery.stored, output_sha1=result.output.sha1, published=published(record))
        ending = Ending(Event.IMAGE_STORED, record, there, hides_replaced=hidden_for(delivery.rule.store) is not None)
        await self._ports.journal.end(delivery.image.id, delivery.output.rendition, ending, now)
        return OutputState.STORED

    async def _unchanged(self, delivery: Delivery, there: StoredObject) -> Progress:
        """This very work lies at the key already; the key belongs to this path now."""
        image, rendition = delivery.image, delivery.output.rendition
        stored = replace(delivery.stored, output_sha1=there.output_sha1)
        if not await self._ports.journal.unchanged(image.id, rendition, delivery.key, stored, self._ports.clock.now()):
            return OutputState.SUPERSEDED
        self._ports.events.event(Event.IMAGE_UNCHANGED, **delivery.fields())
        return OutputState.UNCHANGED

    async def _fail(self, delivery: Delivery, failed: Failed) -> Progress:
        image = delivery.image.with_facts(delivery.facts, delivery.image.ticket)
        rendition, now = delivery.output.rendition, self._ports.clock.now()
        record = failed_record(image, rendition, failed.reason, failed.message, failed.hint, failed.attempts, failed.status, now)
        await self._ports.journal.end(image.id, rendition, Ending(Event.IMAGE_FAILED, record), now)
        return OutputState.FAILED

    async def _postpone(self, delivery: Delivery, later: Later, policy: Policy) -> Progress:
        now = self._ports.clock.steady()
        waits = postponement(delivery, later, policy, now, self._ports.random())
        await self._ports.journal.postponed(delivery.image.id, delivery.output.rendition, waits, self._ports.clock.now())
        if later.tried and not is_last_attempt(delivery, later, policy):
            status, wait = later.failure.status if later.failure else None, round(waits.due_at - now, 3)
            told = {"message": later.message, "attempts": waits.attempts, "wait": wait, "status": status}
            self._ports.events.event(Event.IMAGE_RETRY, **delivery.fields(), **told)
        return None

    async def original_gone(self, image: Image, output: Output) -> Progress:
        """The path does not lead to the version that was taken, or not any more."""
        now = self._ports.clock.now()
        if not await self._ports.originals.is_present(image.file.root):
            return await self.defer(image, output, ABSENT_FOLDER)
        if await self._ports.originals.is_there(image.file):
            self._ports.look_again(image.file)
            ending = Ending(Event.IMAGE_SUPERSEDED, superseded_record(image, output.rendition, now, None))
        else:
            ending = Ending(Event.IMAGE_VANISHED, vanished_record(image, output.rendition, now))
        await self._ports.journal.end(image.id, output.rendition, ending, now)
        return OutputState.SUPERSEDED if ending.event is Event.IMAGE_SUPERSEDED else OutputState.VANISHED

    async def defer(self, image: Image, output: Output, reason: str) -> Progress:
        """The original cannot be read now: another turn later, and nobody's attempt."""
        now, tries = self._ports.clock.now(), output.tries + 1
        due_at = self._ports.clock.steady() + max(SHORTEST_HOLD, backoff(tries, self._ports.random()))
        waits = Postponement(due_at, output.attempts, tries, is_unsettled(output), reason)
        await self._ports.journal.postponed(image.id, output.rendition, waits, now)
        return None


def _notices(delivery: Delivery, result: Result, policy: Policy) -> tuple[Notice, ...]:
    return notices(
        delivery.facts.format,
        delivery.rule.image,
        stated=(result.output.format, result.output.mime),
        no_formal_end=delivery.facts.no_formal_end,
        renders_svg=policy.renders_svg,
    )
