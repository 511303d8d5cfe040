"""The journey of one image, from its turn to its ending. Read this page first.

    open and hash the original      -> it vanished, changed, or turns out to be one of our own outputs
    for each of its outputs:
        find its key, and wait for whoever else writes to that key
        is an answer still unknown? -> ask the store before anything is sent again
        is it there already?        -> unchanged, nothing is sent
        publish a temporary URL, wait for the gate, remember the request, send it
        a job?                      -> follow it
        compare the answer with what was served
        write down the ending, exactly once
    withdraw the URL
    move or delete the original

Everything with an effect is an edge behind a Protocol of `watcher.ports`; everything decided here is decided by values. A process
that dies between any two lines finds its place again from the journal: `requested` is committed before a request leaves, and
an ending is committed once.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from watcher import backoff
from watcher.compressor import answer_check
from watcher.compressor.wire import Pending, Result
from watcher.config.keys import InvalidKey, render_key
from watcher.delivery.delivery import (
    ABSENT_FOLDER,
    Delivery,
    KeyLocks,
    LostOriginal,
    OpenImage,
    Progress,
    acquire_permit,
    is_same_work,
    is_unsettled,
    key_fields,
    renditions,
    with_states,
)
from watcher.delivery.disposal import Disposal
from watcher.delivery.limit import Limit
from watcher.delivery.store_check import StoreCheck, contradiction, is_done, made_up_result
from watcher.delivery.transitions import Reason, Transitions
from watcher.errors import CallFailed, SourceChanged, SourceGone, Unavailable
from watcher.model import (
    Absence,
    Event,
    FailedReason,
    Failure,
    FailureKind,
    IgnoredReason,
    Image,
    ImageState,
    Output,
    OutputState,
    Postponement,
    StoredObject,
)
from watcher.result_records import ResultDetails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from watcher.delivery.delivery import Permit
    from watcher.model import FileRef, HeadAnswer, Ticket
    from watcher.ports import Api, Clock, EventLog, Gate, Journal, ObjectStore, Originals, Publication, Publisher, Source

POSTPONED: Final = None
"""What a stage returns for an output that has not ended and will have another turn."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as far as the journey touches it."""

    journal: Journal
    originals: Originals
    publisher: Publisher
    api: Api
    gate: Gate
    store: ObjectStore
    events: EventLog
    clock: Clock


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about the journey. Times in seconds."""

    max_attempts: int = 8
    verify: Literal["recovery", "always", "never"] = "recovery"
    timeout: float = 120.0
    job_patience: float = 3600.0
    """How long a job is followed: as long as its temporary URL can live, since without that it cannot end well."""
    expects_b2: bool = True
    """Whether objects lie at Backblaze B2, so that an unlike `url` is worth a word."""


class Pipeline:
    """Takes images on their journey. One object serves all images; `process` may run for many at once."""

    def __init__(
        self,
        ports: Ports,
        policy: Policy,
        *,
        concurrency: int,
        new_ticket: Callable[[float], Ticket],
        random: Callable[[], float],
        look_again: Callable[[FileRef], None],
        is_present: Callable[[Path], Awaitable[bool]],
    ) -> None:
        """`concurrency` bounds the requests in flight. `look_again` is told of files that changed under way; `is_present` says
        whether a folder's root is there now, the same as when it was armed."""
        self._ports = ports
        self.policy = policy
        self._sending = Limit(concurrency)
        self._keys = KeyLocks()
        self._new_ticket = new_ticket
        self._random = random
        self._look_again = look_again
        self._is_present = is_present
        self._transitions = Transitions(ports.journal, ports.events, ports.clock, random)
        self._disposal = Disposal(ports.journal, ports.originals, ports.events, ports.clock, random, is_present, look_again)
        self._store_check = StoreCheck(ports.store, ports.events)
        self._failures: dict[str, Failure] = {}
        """How the deliveries that have not ended failed last."""
        self._asking: set[tuple[str, str | None]] = set()
        self.stopping = False
        """No job is followed any more; the next start goes on with it."""

    def limit(self, concurrency: int) -> None:
        """At most so many requests in flight from now on."""
        self._sending.change(concurrency)

    def is_asking(self, image_id: str) -> bool:
        """Whether a request of the image is on its way, whose answer is worth waiting for at a stop."""
        return any(asking == image_id for asking, _ in self._asking)

    async def process(self, image: Image) -> None:
        """One turn of an image. Afterwards it is finished, or the journal knows when its next turn is due."""
        if image.state is ImageState.OPEN:
            image = await self._convert(image)
        if image.ticket is not None and not image.open_outputs:
            await self._ports.publisher.withdraw(image.ticket)  # an earlier process may have published under it
        if not image.open_outputs and image.state is not ImageState.FINISHED:
            await self._disposal.dispose(image)

    # --- the original ---------------------------------------------------------------------------------------------------------

    async def _convert(self, image: Image) -> Image:
        """Every output of the image as far as it gets in this turn. Gives the image with the states of its outputs."""
        try:
            sha1 = image.facts.sha1 if image.facts is not None else None
            source = await self._ports.originals.open(image.file, image.observation, sha1)
        except (SourceGone, SourceChanged):
            return await self._without_original(image)
        except Unavailable as error:
            if any(output.job_id for output in image.open_outputs):
                raise  # putting it off in the journal would forget a job that is paid for
            return await self._rest(image, str(error))
        async with self._opened(image, source) as opened:
            if await self._dismissed(opened):
                ignored = with_states(image, dict.fromkeys(renditions(image), OutputState.UNCHANGED))
                return replace(ignored, state=ImageState.FINISHED)
            return await self._deliver_all(opened)

    async def _without_original(self, image: Image) -> Image:
        """The version is gone or replaced. What was asked for before that may have been done all the same."""
        states = {output.rendition: await self._output_without_original(image, output) for output in image.open_outputs}
        return with_states(image, states)

    async def _output_without_original(self, image: Image, output: Output) -> Progress:
        if is_unsettled(output) and image.facts is not None and image.ticket is not None:
            return await self._output(OpenImage(image, LostOriginal(image.facts), image.ticket), output)
        return await self._moved_on(image, output)

    @asynccontextmanager
    async def _opened(self, image: Image, source: Source) -> AsyncIterator[OpenImage]:
        """The original stays open and its URL stays good until all of this turn is done."""
        now = self._ports.clock.now()
        ticket = image.ticket
        if ticket is None or ticket.expires_at < now + self.policy.timeout:
            ticket = self._new_ticket(now)
        opened = OpenImage(image, source, ticket)
        try:
            await self._ports.journal.hashed(image.id, source.facts, ticket)
            yield opened
        finally:
            if opened.publication is not None:
                await self._ports.publisher.withdraw(ticket)
            source.close()

    async def _dismissed(self, opened: OpenImage) -> bool:
        """Whether the file is what came out of this folder's own images: sending it would compress it again and again."""
        image = opened.image
        if any(map(is_unsettled, image.open_outputs)):
            return False
        if not await self._ports.journal.is_own_output(image.file.folder, opened.facts.sha1):
            return False
        await self._ports.journal.dismiss(image.id, IgnoredReason.OWN_OUTPUT, self._ports.clock.now())
        self._ports.events.event(Event.IMAGE_IGNORED, id=image.id, **image.file.fields(), reason=str(IgnoredReason.OWN_OUTPUT))
        return True

    async def _deliver_all(self, opened: OpenImage) -> Image:
        outputs = opened.image.open_outputs
        if any(map(is_unsettled, outputs)):
            # a request of an earlier turn may still be on its way to us: its URL has to be good again
            await self._publication(opened)
        if len(outputs) == 1:
            return with_states(opened.image, {outputs[0].rendition: await self._output(opened, outputs[0])})
        # each to its end: trouble with one must not cut off the answer to another one's request
        outcomes = await asyncio.gather(*(self._output(opened, output) for output in outputs), return_exceptions=True)
        return with_states(opened.image, dict(zip(renditions(opened.image), map(_unbroken, outcomes), strict=True)))

    # --- one output -----------------------------------------------------------------------------------------------------------

    async def _output(self, opened: OpenImage, output: Output) -> Progress:
        """One output, as far as it gets in this turn."""
        rule = opened.image.output_rule(output.rendition)
        try:
            key = output.key or render_key(str(rule.store["path"]), key_fields(opened, output))
        except InvalidKey as error:
            reason = Reason(FailedReason.INVALID_KEY, error.message, error.hint)
            return await self._transitions.fail(Delivery(opened, output, rule, "", output.attempts), reason)
        delivery = Delivery(opened, output, rule, key, output.attempts)
        if charged := self._ports.gate.attempts_charged(delivery.id):
            delivery = replace(delivery, attempts=output.attempts + charged)
        try:
            async with self._keys.hold(delivery.bucket, key):
                outcome = await self._deliver(delivery)
        finally:
            self._asking.discard((opened.image.id, output.rendition))
            self._ports.gate.forget(delivery.poll_id)
        if outcome is not POSTPONED:
            self._ports.gate.forget(delivery.id)
            self._failures.pop(delivery.id, None)
        return outcome

    async def _deliver(self, delivery: Delivery) -> Progress:
        output = delivery.output
        if output.state is OutputState.ENQUEUED and output.job_id:
            return await self._follow(delivery, output.job_id)
        failure = self._failures.get(delivery.id)
        there = await self._object_at(delivery)
        asked = is_unsettled(output)
        unsure = (failure is not None and failure.maybe_done) or (there is not None and not there.sha1)
        if self.policy.verify != "never" and (asked or unsure):
            head = await self._store_check.head(delivery)
            if is_done(head, delivery):
                return await self._recovered(delivery, head)
            if asked and head.absence is Absence.UNREACHABLE:
                return await self._wait_for_store(delivery)
        if there is not None and (is_same_work(there, delivery.stored) or await self._belongs_to_another_file(there, delivery)):
            return await self._settle_with(delivery, there)
        if delivery.attempts >= self.policy.max_attempts:
            return await self._exhausted(delivery, failure)
        return await self._send(delivery)

    async def _object_at(self, delivery: Delivery) -> StoredObject | None:
        """What we put at this key before."""
        place = (delivery.bucket, delivery.key)
        return (await self._ports.journal.stored_at([place])).get(place)

    async def _belongs_to_another_file(self, there: StoredObject, delivery: Delivery) -> bool:
        """Whether the key belongs to another file, so that sending would overwrite somebody's image."""
        file = delivery.image.file
        if (there.folder, there.relative) == (file.folder, file.relative) or there.sha1 == delivery.stored.sha1:
            return False
        if there.folder != file.folder or delivery.image.rule.on_success != "keep":
            return True
        return await self._ports.originals.is_there(replace(file, relative=there.relative))

    async def _settle_with(self, delivery: Delivery, there: StoredObject) -> Progress:
        if is_same_work(there, delivery.stored):
            return await self._transitions.unchanged(delivery, there)
        message = f"the object key {delivery.key} belongs to another file of folder {there.folder}"
        hint = "make the keys differ: use {dir}, {name} or {sha1:.8} in store.path; then `compressor-watcher retry`"
        return await self._transitions.fail(delivery, Reason(FailedReason.KEY_CONFLICT, message, hint))

    # --- asking the API -------------------------------------------------------------------------------------------------------

    async def _publication(self, opened: OpenImage) -> Publication:
        """The temporary URL, made once for all outputs of this turn."""
        async with opened.lock:
            if opened.publication is None:
                opened.publication = await self._ports.publisher.publish(opened.ticket, opened.source)
                self._ports.events.event(Event.IMAGE_PUBLISHED, id=opened.image.id, **opened.image.file.fields())
        return opened.publication

    async def _send(self, delivery: Delivery) -> Progress:
        if not await delivery.opened.source.is_current():  # a lost original, too, ends here: there is nothing to publish
            return await self._moved_on(delivery.image, delivery.output)
        try:
            publication = await self._publication(delivery.opened)
        except Unavailable as error:
            return await self._postpone(delivery, str(error), tried=True)
        async with self._sending, acquire_permit(self._ports.gate, delivery.id) as permit:
            answer = await self._request(delivery, publication, permit)
        if isinstance(answer, Pending):
            return await self._enqueued(delivery, answer)
        if isinstance(answer, Result):
            return await self._answered(delivery, answer)
        return answer

    async def _request(self, delivery: Delivery, publication: Publication, permit: Permit) -> Result | Pending | Progress:
        image, now = delivery.image, self._ports.clock.now()
        if not await delivery.opened.source.is_current():
            return await self._moved_on(image, delivery.output)
        if delivery.opened.ticket.expires_at < now + self.policy.timeout / 2:
            return await self._postpone(delivery, "its temporary URL ran out while it waited for the API")
        if not await self._ports.journal.requested(image.id, delivery.output.rendition, delivery.key, now):
            return OutputState.SUPERSEDED
        self._tell(Event.IMAGE_REQUESTED, delivery)
        self._asking.add((image.id, delivery.output.rendition))
        try:
            answer = await self._ports.api.fetch(delivery.request(publication, marked=self.policy.verify != "never"))
        except CallFailed as error:
            return await self._refused(delivery, error.failure, FailedReason.REJECTED, permit)
        permit.succeeded()
        return answer

    async def _enqueued(self, delivery: Delivery, pending: Pending) -> Progress:
        if not await self._ports.journal.enqueued(
            delivery.image.id, delivery.output.rendition, pending.id, self._ports.clock.now()
        ):
            return OutputState.SUPERSEDED
        self._asking.discard((delivery.image.id, delivery.output.rendition))
        self._tell(Event.IMAGE_ENQUEUED, delivery, request_id=pending.id)
        return POSTPONED if self.stopping else await self._follow(delivery, pending.id)

    async def _follow(self, delivery: Delivery, job_id: str) -> Progress:
        """Poll the job until it ends, or until it cannot end well any more."""
        clock = self._ports.clock
        started = clock.monotonic()
        while (elapsed := clock.monotonic() - started) < self.policy.job_patience:
            await clock.sleep(backoff.poll_interval(elapsed))
            answer = await self._poll(delivery, job_id)
            if isinstance(answer, Result):
                return await self._answered(delivery, answer)
            if not isinstance(answer, Pending):
                return answer[0]
        message = "the job did not end in the time that its temporary URL lives"
        return await self._lost(delivery, Failure(FailureKind.TRANSIENT, message, unknown=True))

    async def _lost(self, delivery: Delivery, failure: Failure) -> Progress:
        """No answer will come of the job; the store may know what became of it."""
        self._failures[delivery.id] = failure
        return await self._postpone(delivery, failure.message, counts=True, tried=True, doubt=True)

    async def _poll(self, delivery: Delivery, job_id: str) -> Result | Pending | tuple[Progress]:
        """One look at the job. A tuple holds the outcome where there is nothing more to follow."""
        async with acquire_permit(self._ports.gate, delivery.poll_id) as permit:
            try:
                answer = await self._ports.api.job(job_id)
            except CallFailed as error:
                return await self._no_word(delivery, job_id, error.failure, permit)
            permit.succeeded()
            return answer

    async def _no_word(self, delivery: Delivery, job_id: str, failure: Failure, permit: Permit) -> Pending | tuple[Progress]:
        if failure.status == HTTPStatus.NOT_FOUND:
            permit.succeeded()
            return (await self._lost(delivery, failure),)
        if failure.kind is FailureKind.PERMANENT:
            return (await self._refused(delivery, failure, FailedReason.JOB_FAILED, permit),)
        permit.failed(failure)
        return Pending(job_id, "unknown")

    async def _refused(self, delivery: Delivery, failure: Failure, reason: FailedReason, permit: Permit) -> Progress:
        """No result: the image fails, or it has another turn, by the class of the failure."""
        counts = permit.failed(failure)
        if failure.kind is FailureKind.PERMANENT:
            if await self._has_changed(delivery):
                return await self._moved_on(delivery.image, delivery.output)  # so the API could not fetch it
            delivery = replace(delivery, attempts=delivery.attempts + 1)
            return await self._transitions.fail(delivery, Reason(reason, failure.message, failure.hint, failure.status))
        before = self._failures.get(delivery.id)
        maybe_done = failure.maybe_done or (before is not None and before.maybe_done)
        self._failures[delivery.id] = replace(failure, maybe_done=maybe_done)
        doubt = failure.unknown or delivery.output.doubt
        held = failure.unreachable or failure.kind in (FailureKind.BLOCKED, FailureKind.THROTTLED)
        return await self._postpone(delivery, failure.message, counts=counts, tried=not held, doubt=doubt, status=failure.status)

    # --- the answer -----------------------------------------------------------------------------------------------------------

    async def _answered(self, delivery: Delivery, result: Result) -> Progress:
        before, delivery = delivery, replace(delivery, attempts=delivery.attempts + 1)
        verdict = answer_check.compare(
            delivery.opened.facts,
            result,
            delivery.bucket,
            str(delivery.rule.store["region"]),
            delivery.key,
            expects_b2=self.policy.expects_b2,
        )
        if verdict.input_problem:
            return await self._unlike(delivery, verdict.input_problem)
        if self.policy.verify == "always":
            head = await self._store_check.head(delivery)
            if head.absence is Absence.UNREACHABLE:
                return await self._wait_for_store(before)
            if problem := contradiction(head, delivery, result):
                return await self._not_as_asked(delivery, FailedReason.STORE_MISMATCH, problem)
        return await self._transitions.stored(delivery, result, ResultDetails(url_mismatch=verdict.url_mismatch))

    async def _unlike(self, delivery: Delivery, mismatch: str) -> Progress:
        """The API fetched other bytes than were hashed: the file changed under way, or something on the way changed it."""
        if await self._has_changed(delivery):
            return await self._moved_on(delivery.image, delivery.output)
        return await self._not_as_asked(delivery, FailedReason.INPUT_MISMATCH, mismatch)

    async def _has_changed(self, delivery: Delivery) -> bool:
        """Whether the original is not any more what was hashed, or not where it was."""
        source = delivery.opened.source
        return not await source.run(source.is_intact) or not await source.is_current()

    async def _not_as_asked(self, delivery: Delivery, reason: FailedReason, problem: str) -> Progress:
        if delivery.attempts >= self.policy.max_attempts:
            hint = "something on the way changes what is sent: look at proxies, then `compressor-watcher retry`"
            return await self._transitions.fail(delivery, Reason(reason, problem, hint))
        return await self._postpone(delivery, problem, tried=True)

    async def _recovered(self, delivery: Delivery, head: HeadAnswer) -> Progress:
        """The store says that the work is done: nothing is sent."""
        delivery = replace(delivery, attempts=max(1, delivery.attempts))
        return await self._transitions.stored(delivery, made_up_result(head, delivery), ResultDetails(recovered=True))

    # --- other ways to end, and not yet ending --------------------------------------------------------------------------------

    async def _wait_for_store(self, delivery: Delivery) -> Progress:
        return await self._postpone(delivery, "the store cannot be reached to ask what it holds", tried=True, doubt=True)

    async def _exhausted(self, delivery: Delivery, last: Failure | None) -> Progress:
        hint = "look at the message, then `compressor-watcher retry` puts it back in the queue"
        message, status = (last.message, last.status) if last else ("every attempt failed", None)
        return await self._transitions.fail(delivery, Reason(FailedReason.ATTEMPTS_EXHAUSTED, message, hint, status))

    async def _postpone(
        self,
        delivery: Delivery,
        reason: str,
        *,
        counts: bool = False,
        tried: bool = False,
        doubt: bool | None = None,
        status: int | None = None,
    ) -> Progress:
        """Another turn, later. `counts` uses up an attempt; `tried` paces the backoff and is worth a line."""
        output = delivery.output
        attempts = delivery.attempts + counts
        keeps_doubt = output.doubt if doubt is None else doubt
        if not keeps_doubt and not await delivery.opened.source.is_current():
            return await self._moved_on(delivery.image, delivery.output)
        tries = output.tries + tried
        spent = counts and attempts >= self.policy.max_attempts  # the next turn asks the store if need be, and ends it
        wait = backoff.backoff(tries, self._random) if tried and not spent else 0.0
        now = self._ports.clock.now()
        postponement = Postponement(now + wait, attempts, tries, keeps_doubt, reason)
        await self._ports.journal.postponed(delivery.image.id, output.rendition, postponement, now)
        if tried and not spent:
            self._tell(Event.IMAGE_RETRY, delivery, message=reason, attempts=attempts, wait=round(wait, 3), status=status)
        return POSTPONED

    async def _moved_on(self, image: Image, output: Output) -> Progress:
        """The path does not lead to the version that was taken, or not any more."""
        if not await self._is_present(image.file.root):
            return await self._transitions.defer(image, output, ABSENT_FOLDER)
        if await self._ports.originals.is_there(image.file):
            self._look_again(image.file)
            return await self._transitions.supersede(image, output)
        return await self._transitions.vanish(image, output)

    async def _rest(self, image: Image, reason: str) -> Image:
        """The original cannot be had now. That is nobody's attempt."""
        for output in image.open_outputs:
            await self._transitions.defer(image, output, reason)
        self._ports.events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason)
        return image

    def _tell(self, event: Event, delivery: Delivery, **fields: object) -> None:
        self._ports.events.event(event, **delivery.fields(), **fields)


def _unbroken(outcome: Progress | BaseException) -> Progress:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
