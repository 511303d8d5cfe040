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

Everything with an effect is an edge behind a Protocol of `watcher.edges`; everything decided here is decided by values. A process
that dies between any two lines finds its place again from the journal: `requested` is committed before a request leaves, and
an ending is committed once.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from watcher.compressor import retry, verify
from watcher.compressor.wire import Pending, Result
from watcher.endings import Told
from watcher.errand import (
    ABSENT_FOLDER,
    Errand,
    KeyLocks,
    LostOriginal,
    Outcome,
    Visit,
    admission,
    is_same_work,
    is_unsettled,
    key_fields,
    renditions,
    with_states,
)
from watcher.errors import CallFailed, SourceChanged, SourceGone, Unavailable
from watcher.inquiries import Inquiries, contradiction, is_done, made_up_result
from watcher.keys import InvalidKey, render_key
from watcher.limit import Limit
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
from watcher.outcomes import Outcomes, Reason
from watcher.putting_away import PuttingAway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from watcher.edges import Api, Clock, EventLog, Gate, Journal, ObjectStore, Originals, Publication, Publisher, Source
    from watcher.errand import Passage
    from watcher.model import FileRef, HeadAnswer, Ticket

POSTPONED: Final = None
"""What a stage returns for an output that has not ended and will have another turn."""


@dataclass(frozen=True, slots=True)
class Edges:
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
        edges: Edges,
        policy: Policy,
        *,
        concurrency: int,
        new_ticket: Callable[[float], Ticket],
        random: Callable[[], float],
        look_again: Callable[[FileRef], None],
        is_present: Callable[[Path], bool],
    ) -> None:
        """`concurrency` bounds the requests in flight. `look_again` is told of files that changed under way; `is_present` says
        whether a folder's root is there now, the same as when it was armed."""
        self._edges = edges
        self.policy = policy
        self._sending = Limit(concurrency)
        self._keys = KeyLocks()
        self._new_ticket = new_ticket
        self._random = random
        self._look_again = look_again
        self._is_present = is_present
        self._outcomes = Outcomes(edges.journal, edges.events, edges.clock, random)
        self._putting_away = PuttingAway(
            edges.journal, edges.originals, edges.events, edges.clock, random, is_present, look_again
        )
        self._inquiries = Inquiries(edges.store, edges.events)
        self._failures: dict[str, Failure] = {}
        """How the errands that have not ended failed last."""
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
        if not image.open_outputs and image.state is not ImageState.FINISHED:
            await self._putting_away.put_away(image)

    # --- the original ---------------------------------------------------------------------------------------------------------

    async def _convert(self, image: Image) -> Image:
        """Every output of the image as far as it gets in this turn. Gives the image with the states of its outputs."""
        try:
            sha1 = image.facts.sha1 if image.facts is not None else None
            source = await self._edges.originals.open(image.file, image.observation, sha1)
        except (SourceGone, SourceChanged):
            return await self._without_original(image)
        except Unavailable as error:
            if any(output.job_id for output in image.open_outputs):
                raise  # putting it off in the journal would forget a job that is paid for
            return await self._rest(image, str(error))
        async with self._visiting(image, source) as visit:
            if await self._dismissed(visit):
                ignored = with_states(image, dict.fromkeys(renditions(image), OutputState.UNCHANGED))
                return replace(ignored, state=ImageState.FINISHED)
            return await self._deliver_all(visit)

    async def _without_original(self, image: Image) -> Image:
        """The version is gone or replaced. What was asked for before that may have been done all the same."""
        states = {output.rendition: await self._output_without_original(image, output) for output in image.open_outputs}
        return with_states(image, states)

    async def _output_without_original(self, image: Image, output: Output) -> Outcome:
        if is_unsettled(output) and image.facts is not None and image.ticket is not None:
            return await self._output(Visit(image, LostOriginal(image.facts), image.ticket), output)
        return await self._moved_on(image, output)

    @asynccontextmanager
    async def _visiting(self, image: Image, source: Source) -> AsyncIterator[Visit]:
        """The original stays open and its URL stays good until all of this turn is done."""
        now = self._edges.clock.now()
        ticket = image.ticket
        if ticket is None or ticket.expires_at < now + self.policy.timeout:
            ticket = self._new_ticket(now)
        visit = Visit(image, source, ticket)
        try:
            await self._edges.journal.hashed(image.id, source.facts, ticket)
            yield visit
        finally:
            if visit.publication is not None:
                await self._edges.publisher.withdraw(ticket)
            source.close()

    async def _dismissed(self, visit: Visit) -> bool:
        """Whether the file is what came out of this folder's own images: sending it would compress it again and again."""
        image = visit.image
        if any(map(is_unsettled, image.open_outputs)):
            return False
        if not await self._edges.journal.is_own_output(image.file.folder, visit.facts.sha1):
            return False
        await self._edges.journal.dismiss(image.id, IgnoredReason.OWN_OUTPUT, self._edges.clock.now())
        self._edges.events.event(Event.IMAGE_IGNORED, id=image.id, **image.file.fields(), reason=str(IgnoredReason.OWN_OUTPUT))
        return True

    async def _deliver_all(self, visit: Visit) -> Image:
        outputs = visit.image.open_outputs
        if any(map(is_unsettled, outputs)):
            # a request of an earlier turn may still be on its way to us: its URL has to be good again
            await self._publication(visit)
        if len(outputs) == 1:
            return with_states(visit.image, {outputs[0].rendition: await self._output(visit, outputs[0])})
        # each to its end: trouble with one must not cut off the answer to another one's request
        outcomes = await asyncio.gather(*(self._output(visit, output) for output in outputs), return_exceptions=True)
        return with_states(visit.image, dict(zip(renditions(visit.image), map(_unbroken, outcomes), strict=True)))

    # --- one output -----------------------------------------------------------------------------------------------------------

    async def _output(self, visit: Visit, output: Output) -> Outcome:
        """One output, as far as it gets in this turn."""
        rule = visit.image.output_rule(output.rendition)
        try:
            key = output.key or render_key(str(rule.store["path"]), key_fields(visit, output))
        except InvalidKey as error:
            reason = Reason(FailedReason.INVALID_KEY, error.message, error.hint)
            return await self._outcomes.fail(Errand(visit, output, rule, "", output.attempts), reason)
        errand = Errand(visit, output, rule, key, output.attempts)
        if charged := self._edges.gate.attempts_charged(errand.id):
            errand = replace(errand, attempts=output.attempts + charged)
        try:
            async with self._keys.hold(errand.bucket, key):
                outcome = await self._deliver(errand)
        finally:
            self._asking.discard((visit.image.id, output.rendition))
            self._edges.gate.forget(errand.poll_id)
        if outcome is not POSTPONED:
            self._edges.gate.forget(errand.id)
            self._failures.pop(errand.id, None)
        return outcome

    async def _deliver(self, errand: Errand) -> Outcome:
        output = errand.output
        if output.state is OutputState.ENQUEUED and output.job_id:
            return await self._follow(errand, output.job_id)
        failure = self._failures.get(errand.id)
        there = await self._object_at(errand)
        asked = is_unsettled(output)
        unsure = (failure is not None and failure.maybe_done) or (there is not None and not there.sha1)
        if self.policy.verify != "never" and (asked or unsure):
            head = await self._inquiries.head(errand)
            if is_done(head, errand):
                return await self._recovered(errand, head)
            if asked and head.absence is Absence.UNREACHABLE:
                return await self._wait_for_store(errand)
        if there is not None and (is_same_work(there, errand.stored) or await self._owns(there, errand)):
            return await self._settle_with(errand, there)
        if errand.attempts >= self.policy.max_attempts:
            return await self._exhausted(errand, failure)
        return await self._send(errand)

    async def _object_at(self, errand: Errand) -> StoredObject | None:
        """What we put at this key before."""
        place = (errand.bucket, errand.key)
        return (await self._edges.journal.stored_at([place])).get(place)

    async def _owns(self, there: StoredObject, errand: Errand) -> bool:
        """Whether the key belongs to another file, so that sending would overwrite somebody's image."""
        file = errand.image.file
        if (there.folder, there.relative) == (file.folder, file.relative) or there.sha1 == errand.stored.sha1:
            return False
        if there.folder != file.folder or errand.image.rule.on_success != "keep":
            return True
        return await self._edges.originals.is_there(replace(file, relative=there.relative))

    async def _settle_with(self, errand: Errand, there: StoredObject) -> Outcome:
        if is_same_work(there, errand.stored):
            return await self._outcomes.unchanged(errand, there)
        message = f"the object key {errand.key} belongs to another file of folder {there.folder}"
        hint = "make the keys differ: use {dir}, {name} or {sha1:.8} in store.path; then `compressor-watcher retry`"
        return await self._outcomes.fail(errand, Reason(FailedReason.KEY_CONFLICT, message, hint))

    # --- asking the API -------------------------------------------------------------------------------------------------------

    async def _publication(self, visit: Visit) -> Publication:
        """The temporary URL, made once for all outputs of this turn."""
        async with visit.lock:
            if visit.publication is None:
                visit.publication = await self._edges.publisher.publish(visit.ticket, visit.source)
                self._edges.events.event(Event.IMAGE_PUBLISHED, id=visit.image.id, **visit.image.file.fields())
        return visit.publication

    async def _send(self, errand: Errand) -> Outcome:
        if not errand.visit.source.is_current():  # a lost original, too, ends here: there is nothing to publish
            return await self._moved_on(errand.image, errand.output)
        try:
            publication = await self._publication(errand.visit)
        except Unavailable as error:
            return await self._postpone(errand, str(error), tried=True)
        async with self._sending, admission(self._edges.gate, errand.id) as passage:
            answer = await self._request(errand, publication, passage)
        if isinstance(answer, Pending):
            return await self._enqueued(errand, answer)
        if isinstance(answer, Result):
            return await self._answered(errand, answer)
        return answer

    async def _request(self, errand: Errand, publication: Publication, passage: Passage) -> Result | Pending | Outcome:
        image, now = errand.image, self._edges.clock.now()
        if not errand.visit.source.is_current():
            return await self._moved_on(image, errand.output)
        if errand.visit.ticket.expires_at < now + self.policy.timeout / 2:
            return await self._postpone(errand, "its temporary URL ran out while it waited for the API")
        if not await self._edges.journal.requested(image.id, errand.output.rendition, errand.key, now):
            return OutputState.SUPERSEDED
        self._tell(Event.IMAGE_REQUESTED, errand)
        self._asking.add((image.id, errand.output.rendition))
        try:
            answer = await self._edges.api.fetch(errand.request(publication, marked=self.policy.verify != "never"))
        except CallFailed as error:
            return await self._refused(errand, error.failure, FailedReason.REJECTED, passage)
        passage.succeeded()
        return answer

    async def _enqueued(self, errand: Errand, pending: Pending) -> Outcome:
        if not await self._edges.journal.enqueued(errand.image.id, errand.output.rendition, pending.id, self._edges.clock.now()):
            return OutputState.SUPERSEDED
        self._asking.discard((errand.image.id, errand.output.rendition))
        self._tell(Event.IMAGE_ENQUEUED, errand, request_id=pending.id)
        return POSTPONED if self.stopping else await self._follow(errand, pending.id)

    async def _follow(self, errand: Errand, job_id: str) -> Outcome:
        """Poll the job until it ends, or until it cannot end well any more."""
        clock = self._edges.clock
        started = clock.monotonic()
        while (elapsed := clock.monotonic() - started) < self.policy.job_patience:
            await clock.sleep(retry.poll_interval(elapsed))
            answer = await self._poll(errand, job_id)
            if isinstance(answer, Result):
                return await self._answered(errand, answer)
            if not isinstance(answer, Pending):
                return answer[0]
        message = "the job did not end in the time that its temporary URL lives"
        return await self._lost(errand, Failure(FailureKind.TRANSIENT, message, unknown=True))

    async def _lost(self, errand: Errand, failure: Failure) -> Outcome:
        """No answer will come of the job; the store may know what became of it."""
        self._failures[errand.id] = failure
        return await self._postpone(errand, failure.message, counts=True, tried=True, doubt=True)

    async def _poll(self, errand: Errand, job_id: str) -> Result | Pending | tuple[Outcome]:
        """One look at the job. A tuple holds the outcome where there is nothing more to follow."""
        async with admission(self._edges.gate, errand.poll_id) as passage:
            try:
                answer = await self._edges.api.job(job_id)
            except CallFailed as error:
                return await self._no_word(errand, job_id, error.failure, passage)
            passage.succeeded()
            return answer

    async def _no_word(self, errand: Errand, job_id: str, failure: Failure, passage: Passage) -> Pending | tuple[Outcome]:
        if failure.status == HTTPStatus.NOT_FOUND:
            passage.succeeded()
            return (await self._lost(errand, failure),)
        if failure.kind is FailureKind.PERMANENT:
            return (await self._refused(errand, failure, FailedReason.JOB_FAILED, passage),)
        passage.failed(failure)
        return Pending(job_id, "unknown")

    async def _refused(self, errand: Errand, failure: Failure, reason: FailedReason, passage: Passage) -> Outcome:
        """No result: the image fails, or it has another turn, by the class of the failure."""
        counts = passage.failed(failure)
        if failure.kind is FailureKind.PERMANENT:
            if self._has_changed(errand):
                return await self._moved_on(errand.image, errand.output)  # and so the API could not fetch what it was sent for
            errand = replace(errand, attempts=errand.attempts + 1)
            return await self._outcomes.fail(errand, Reason(reason, failure.message, failure.hint, failure.status))
        before = self._failures.get(errand.id)
        maybe_done = failure.maybe_done or (before is not None and before.maybe_done)
        self._failures[errand.id] = replace(failure, maybe_done=maybe_done)
        doubt = failure.unknown or errand.output.doubt
        held = failure.unreachable or failure.kind in (FailureKind.BLOCKED, FailureKind.THROTTLED)
        return await self._postpone(errand, failure.message, counts=counts, tried=not held, doubt=doubt, status=failure.status)

    # --- the answer -----------------------------------------------------------------------------------------------------------

    async def _answered(self, errand: Errand, result: Result) -> Outcome:
        before, errand = errand, replace(errand, attempts=errand.attempts + 1)
        verdict = verify.compare(
            errand.visit.facts,
            result,
            errand.bucket,
            str(errand.rule.store["region"]),
            errand.key,
            expects_b2=self.policy.expects_b2,
        )
        if verdict.input_problem:
            return await self._unlike(errand, verdict.input_problem)
        if self.policy.verify == "always":
            head = await self._inquiries.head(errand)
            if head.absence is Absence.UNREACHABLE:
                return await self._wait_for_store(before)
            if problem := contradiction(head, errand, result):
                return await self._not_as_asked(errand, FailedReason.STORE_MISMATCH, problem)
        return await self._outcomes.stored(errand, result, Told(url_mismatch=verdict.url_mismatch))

    async def _unlike(self, errand: Errand, mismatch: str) -> Outcome:
        """The API fetched other bytes than were hashed: the file changed under way, or something on the way changed it."""
        if self._has_changed(errand):
            return await self._moved_on(errand.image, errand.output)
        return await self._not_as_asked(errand, FailedReason.INPUT_MISMATCH, mismatch)

    def _has_changed(self, errand: Errand) -> bool:
        """Whether the original is not any more what was hashed, or not where it was."""
        return not errand.visit.source.is_intact() or not errand.visit.source.is_current()

    async def _not_as_asked(self, errand: Errand, reason: FailedReason, problem: str) -> Outcome:
        if errand.attempts >= self.policy.max_attempts:
            hint = "something on the way changes what is sent: look at proxies, then `compressor-watcher retry`"
            return await self._outcomes.fail(errand, Reason(reason, problem, hint))
        return await self._postpone(errand, problem, tried=True)

    async def _recovered(self, errand: Errand, head: HeadAnswer) -> Outcome:
        """The store says that the work is done: nothing is sent."""
        errand = replace(errand, attempts=max(1, errand.attempts))
        return await self._outcomes.stored(errand, made_up_result(head, errand), Told(recovered=True))

    # --- other ways to end, and not yet ending --------------------------------------------------------------------------------

    async def _wait_for_store(self, errand: Errand) -> Outcome:
        return await self._postpone(errand, "the store cannot be reached to ask what it holds", tried=True, doubt=True)

    async def _exhausted(self, errand: Errand, last: Failure | None) -> Outcome:
        hint = "look at the message, then `compressor-watcher retry` puts it back in the queue"
        message, status = (last.message, last.status) if last else ("every attempt failed", None)
        return await self._outcomes.fail(errand, Reason(FailedReason.ATTEMPTS_EXHAUSTED, message, hint, status))

    async def _postpone(
        self,
        errand: Errand,
        reason: str,
        *,
        counts: bool = False,
        tried: bool = False,
        doubt: bool | None = None,
        status: int | None = None,
    ) -> Outcome:
        """Another turn, later. `counts` uses up an attempt; `tried` paces the backoff and is worth a line."""
        output = errand.output
        attempts = errand.attempts + counts
        keeps_doubt = output.doubt if doubt is None else doubt
        if not keeps_doubt and not errand.visit.source.is_current():
            return await self._moved_on(errand.image, errand.output)
        tries = output.tries + tried
        spent = counts and attempts >= self.policy.max_attempts  # the next turn asks the store if need be, and ends it
        wait = retry.backoff(tries, self._random) if tried and not spent else 0.0
        now = self._edges.clock.now()
        postponement = Postponement(now + wait, attempts, tries, keeps_doubt, reason)
        await self._edges.journal.postponed(errand.image.id, output.rendition, postponement, now)
        if tried and not spent:
            self._tell(Event.IMAGE_RETRY, errand, message=reason, attempts=attempts, wait=round(wait, 3), status=status)
        return POSTPONED

    async def _moved_on(self, image: Image, output: Output) -> Outcome:
        """The path does not lead to the version that was taken, or not any more."""
        if not self._is_present(image.file.root):
            return await self._outcomes.hold_back(image, output, ABSENT_FOLDER)
        if await self._edges.originals.is_there(image.file):
            self._look_again(image.file)
            return await self._outcomes.supersede(image, output)
        return await self._outcomes.vanish(image, output)

    async def _rest(self, image: Image, reason: str) -> Image:
        """The original cannot be had now. That is nobody's attempt."""
        for output in image.open_outputs:
            await self._outcomes.hold_back(image, output, reason)
        self._edges.events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason)
        return image

    def _tell(self, event: Event, errand: Errand, **fields: object) -> None:
        self._edges.events.event(event, **errand.fields(), **fields)


def _unbroken(outcome: Outcome | BaseException) -> Outcome:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
