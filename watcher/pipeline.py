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

Everything with an effect is an edge behind a Protocol of `watcher.model`; everything decided here is decided by values. A process
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
from watcher.compressor.wire import FetchRequest, FileFacts, Pending, Result
from watcher.endings import Told
from watcher.errand import (
    ABSENT_FOLDER,
    Errand,
    KeyLocks,
    LostOriginal,
    Outcome,
    Visit,
    b2_url,
    is_same_work,
    key_fields,
    renditions,
    with_states,
)
from watcher.errors import CallFailed, SourceChanged, SourceGone, Unavailable
from watcher.keys import InvalidKey, render_key
from watcher.model import (
    Absence,
    Event,
    FailedReason,
    FailureKind,
    HeadAnswer,
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

    from watcher.model import (
        Api,
        Clock,
        EventLog,
        Failure,
        FileRef,
        Gate,
        Journal,
        ObjectStore,
        Originals,
        Publication,
        Publisher,
        Source,
        Ticket,
    )

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
        self.limit(concurrency)
        self._keys = KeyLocks()
        self._new_ticket = new_ticket
        self._random = random
        self._look_again = look_again
        self._is_present = is_present
        self._outcomes = Outcomes(edges.journal, edges.events, edges.clock, random)
        self._putting_away = PuttingAway(edges.journal, edges.originals, edges.events, edges.clock, random, is_present)
        self._hinted: set[str] = set()
        self._maybe_done: set[str] = set()
        self.asking: set[str] = set()
        """Images with a request on its way, whose answer is worth waiting for at a stop."""
        self.stopping = False
        """No job is followed any more; the next start goes on with it."""

    def limit(self, concurrency: int) -> None:
        """At most so many requests in flight from now on; those on their way are not counted."""
        self._sending = asyncio.Semaphore(concurrency)

    async def process(self, image: Image) -> None:
        """One turn of an image. Afterwards it is finished, or the journal knows when its next turn is due."""
        if image.state is ImageState.OPEN:
            image = await self._convert(image)
        if not image.open_outputs:
            await self._putting_away.put_away(image)

    # --- the original ---------------------------------------------------------------------------------------------------------

    async def _convert(self, image: Image) -> Image:
        """Every output of the image as far as it gets in this turn. Gives the image with the states of its outputs."""
        try:
            source = await self._edges.originals.open(image.file, image.observation)
        except (SourceGone, SourceChanged):
            return await self._without_original(image)
        except Unavailable as error:
            return await self._rest(image, str(error))
        async with self._visiting(image, source) as visit:
            if image.facts is not None and image.facts.sha1 != source.facts.sha1:
                return await self._without_original(image)
            if await self._dismissed(visit):
                return with_states(image, dict.fromkeys(renditions(image), OutputState.UNCHANGED))
            return await self._deliver_all(visit)

    async def _without_original(self, image: Image) -> Image:
        """The version is gone or replaced. What was asked for before that may have been done all the same."""
        states = {output.rendition: await self._output_without_original(image, output) for output in image.open_outputs}
        return with_states(image, states)

    async def _output_without_original(self, image: Image, output: Output) -> Outcome:
        asked = output.doubt or output.state is not OutputState.WAITING
        if asked and image.facts is not None and image.ticket is not None:
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
        fresh = all(output.state is OutputState.WAITING and not output.doubt for output in image.open_outputs)
        if not fresh or not await self._edges.journal.is_own_output(image.file.folder, visit.facts.sha1):
            return False
        await self._edges.journal.dismiss(image.id, IgnoredReason.OWN_OUTPUT, self._edges.clock.now())
        self._edges.events.event(Event.IMAGE_IGNORED, id=image.id, **image.file.fields(), reason=str(IgnoredReason.OWN_OUTPUT))
        return True

    async def _deliver_all(self, visit: Visit) -> Image:
        outputs = visit.image.open_outputs
        if any(output.doubt or output.state is not OutputState.WAITING for output in outputs):
            # a request of an earlier turn may still be on its way to us: its URL has to be good again
            await self._publication(visit)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._output(visit, output)) for output in outputs]
        outcomes = {output.rendition: task.result() for output, task in zip(outputs, tasks, strict=True)}
        return with_states(visit.image, {rendition: state for rendition, state in outcomes.items() if state is not POSTPONED})

    # --- one output -----------------------------------------------------------------------------------------------------------

    async def _output(self, visit: Visit, output: Output) -> Outcome:
        """One output, as far as it gets in this turn."""
        rule = visit.image.output_rule(output.rendition)
        try:
            key = output.key or render_key(str(rule.store["path"]), key_fields(visit, output))
        except InvalidKey as error:
            reason = Reason(FailedReason.INVALID_KEY, error.message, error.hint)
            return await self._outcomes.fail(Errand(visit, output, rule, "", output.attempts), reason)
        attempts = output.attempts
        errand = Errand(visit, output, rule, key, attempts)
        errand = replace(errand, attempts=attempts + self._edges.gate.attempts_charged(errand.id))
        async with self._keys.hold(errand.bucket, key):
            outcome = await self._deliver(errand)
        if outcome is not POSTPONED:
            self._edges.gate.forget(errand.id)
            self._maybe_done.discard(errand.id)
        return outcome

    async def _deliver(self, errand: Errand) -> Outcome:
        output = errand.output
        if output.state is OutputState.ENQUEUED and output.job_id:
            return await self._follow(errand, output.job_id)
        asked = output.doubt or output.state is OutputState.REQUESTED
        if asked or errand.id in self._maybe_done:
            done, known = await self._ask_store(errand)
            if done is not None:
                return await self._recovered(errand, done)
            if asked and not known:
                return await self._wait_for_store(errand)
        if (there := await self._lies_there(errand)) is not None:
            return await self._settle_with(errand, there)
        return await self._send(errand)

    async def _lies_there(self, errand: Errand) -> StoredObject | None:
        """What we put at this key before, if that decides what happens now."""
        there = (await self._edges.journal.stored_at([(errand.bucket, errand.key)])).get((errand.bucket, errand.key))
        if there is None or is_same_work(there, errand.stored) or await self._owns(there, errand):
            return there
        return None

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
        if not errand.visit.source.is_current():
            return await self._moved_on(errand.image, errand.output)
        try:
            publication = await self._publication(errand.visit)
        except Unavailable as error:
            return await self._postpone(errand, str(error), tried=True)
        request = errand.request(publication, marked=self.policy.verify != "never")
        async with self._sending:
            answer = await self._request(errand, request)
        if isinstance(answer, Pending):
            return await self._enqueued(errand, answer)
        if isinstance(answer, Result):
            return await self._answered(errand, answer)
        return answer

    async def _request(self, errand: Errand, request: FetchRequest) -> Result | Pending | Outcome:
        gate, image = self._edges.gate, errand.image
        await gate.enter(errand.id)
        if not errand.visit.source.is_current():
            gate.abandoned(errand.id)
            return await self._moved_on(errand.image, errand.output)
        if not await self._edges.journal.requested(image.id, errand.output.rendition, errand.key, self._edges.clock.now()):
            gate.abandoned(errand.id)
            return OutputState.SUPERSEDED
        self._tell(Event.IMAGE_REQUESTED, errand)
        self.asking.add(image.id)
        try:
            answer = await self._edges.api.fetch(request)
        except CallFailed as error:
            return await self._refused(errand, error.failure, FailedReason.REJECTED)
        except asyncio.CancelledError:
            gate.abandoned(errand.id)
            raise
        finally:
            self.asking.discard(image.id)
        gate.succeeded(errand.id)
        return answer

    async def _enqueued(self, errand: Errand, pending: Pending) -> Outcome:
        if not await self._edges.journal.enqueued(errand.image.id, errand.output.rendition, pending.id, self._edges.clock.now()):
            return OutputState.SUPERSEDED
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
        lost = "the job did not end in the time that its temporary URL lives"
        return await self._postpone(errand, lost, counts=True, tried=True, doubt=True)

    async def _poll(self, errand: Errand, job_id: str) -> Result | Pending | tuple[Outcome]:
        """One look at the job. A tuple holds the outcome where there is nothing more to follow."""
        gate = self._edges.gate
        await gate.enter(errand.id)
        try:
            answer = await self._edges.api.job(job_id)
        except CallFailed as error:
            failure = error.failure
            if failure.status == HTTPStatus.NOT_FOUND:
                gate.succeeded(errand.id)
                return (await self._postpone(errand, failure.message, counts=True, tried=True, doubt=True),)
            if failure.kind is FailureKind.PERMANENT:
                return (await self._refused(errand, failure, FailedReason.JOB_FAILED),)
            gate.failed(errand.id, failure)
            return Pending(job_id, "unknown")
        except asyncio.CancelledError:
            gate.abandoned(errand.id)
            raise
        gate.succeeded(errand.id)
        return answer

    async def _refused(self, errand: Errand, failure: Failure, reason: FailedReason) -> Outcome:
        """No result: the image fails, or it has another turn, by the class of the failure."""
        counts = self._edges.gate.failed(errand.id, failure)
        if failure.kind is FailureKind.PERMANENT:
            errand = replace(errand, attempts=errand.attempts + 1)
            return await self._outcomes.fail(errand, Reason(reason, failure.message, failure.hint, failure.status))
        if failure.maybe_done:
            self._maybe_done.add(errand.id)
        doubt = failure.unknown or errand.output.doubt
        held = failure.unreachable or failure.kind in (FailureKind.BLOCKED, FailureKind.THROTTLED)
        return await self._postpone(errand, failure.message, counts=counts, tried=not held, doubt=doubt, status=failure.status)

    # --- the answer -----------------------------------------------------------------------------------------------------------

    async def _answered(self, errand: Errand, result: Result) -> Outcome:
        errand = replace(errand, attempts=errand.attempts + 1)
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
        if self.policy.verify == "always" and (problem := await self._unlike_stored(errand, result)):
            return await self._not_as_asked(errand, FailedReason.STORE_MISMATCH, problem)
        return await self._outcomes.stored(errand, result, Told(url_mismatch=verdict.url_mismatch))

    async def _unlike(self, errand: Errand, mismatch: str) -> Outcome:
        """The API fetched other bytes than were hashed: the file changed under way, or something on the way changed it."""
        if not errand.visit.source.is_intact() or not errand.visit.source.is_current():
            return await self._moved_on(errand.image, errand.output)
        return await self._not_as_asked(errand, FailedReason.INPUT_MISMATCH, mismatch)

    async def _unlike_stored(self, errand: Errand, result: Result) -> str | None:
        """What is wrong with the stored object, for `mode = "always"`."""
        head = await self._head(errand)
        if head.absence is Absence.FORBIDDEN:
            self._hint_at_verify(errand, head)
            return None
        if not verify.matches(head, result) or not verify.is_done(head, errand.visit.facts.sha1, errand.rule.fingerprint):
            return f"the store does not hold what the API says it stored ({head.absence or 'another object'} at {errand.key})"
        return None

    async def _not_as_asked(self, errand: Errand, reason: FailedReason, problem: str) -> Outcome:
        if errand.attempts >= self.policy.max_attempts:
            hint = "something on the way changes what is sent: look at proxies, then `compressor-watcher retry`"
            return await self._outcomes.fail(errand, Reason(reason, problem, hint))
        return await self._postpone(errand, problem, tried=True)

    # --- asking the store -----------------------------------------------------------------------------------------------------

    async def _head(self, errand: Errand) -> HeadAnswer:
        store = errand.rule.store
        return await self._edges.store.head(errand.bucket, str(store["region"]), errand.key, connector=str(store["id"]))

    async def _ask_store(self, errand: Errand) -> tuple[HeadAnswer | None, bool]:
        """What lies at the key if it is this very work; and whether the store's answer can be relied on."""
        if self.policy.verify == "never":
            return None, True
        head = await self._head(errand)
        if head.absence is None and verify.is_done(head, errand.visit.facts.sha1, errand.rule.fingerprint):
            return head, True
        if head.absence is Absence.FORBIDDEN:
            self._hint_at_verify(errand, head)
        return None, head.absence is not Absence.UNREACHABLE

    def _hint_at_verify(self, errand: Errand, head: HeadAnswer) -> None:
        """Said once for each bucket: without an answer the image is sent, and perhaps paid, again."""
        if errand.bucket in self._hinted:
            return
        self._hinted.add(errand.bucket)
        hint = "set [verify] key_id and application_key (readFiles), or a url where the object can be asked for, or mode"
        message = f"the store does not say what lies in bucket {errand.bucket}: {head.message}; sent again without knowing"
        self._tell(Event.IMAGE_RETRY, errand, message=message, hint=hint)

    async def _wait_for_store(self, errand: Errand) -> Outcome:
        return await self._postpone(errand, "an answer is unknown and the store cannot be reached to ask", tried=True, doubt=True)

    async def _recovered(self, errand: Errand, head: HeadAnswer) -> Outcome:
        """The store says that the work is done: nothing is sent, and the answer that was lost is made up from what it says."""
        facts, store = errand.visit.facts, errand.rule.store
        url = head.url or b2_url(errand.bucket, str(store["region"]), errand.key)
        output = FileFacts(name=errand.key.rpartition("/")[2], type="image", size=head.size)
        source = FileFacts(facts.name, "image", str(facts.format), facts.format.mime, facts.size, facts.sha1)
        result = Result(errand.output.job_id or "", url, source, output)
        return await self._outcomes.stored(replace(errand, attempts=max(1, errand.attempts)), result, Told(recovered=True))

    # --- other ways to end, and not yet ending --------------------------------------------------------------------------------

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
        if attempts >= self.policy.max_attempts:
            hint = "look at the message, then `compressor-watcher retry` puts it back in the queue"
            exhausted = Reason(FailedReason.ATTEMPTS_EXHAUSTED, reason, hint, status)
            return await self._outcomes.fail(replace(errand, attempts=attempts), exhausted)
        keeps_doubt = output.doubt if doubt is None else doubt
        if not keeps_doubt and not errand.visit.source.is_current():
            return await self._moved_on(errand.image, errand.output)
        tries = output.tries + tried
        wait = retry.backoff(tries, self._random) if tried else 0.0
        now = self._edges.clock.now()
        postponement = Postponement(now + wait, attempts, tries, keeps_doubt, reason)
        await self._edges.journal.postponed(errand.image.id, output.rendition, postponement, now)
        if tried:
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
        image = errand.image
        self._edges.events.event(
            event, id=image.id, **image.file.fields(), rendition=errand.output.rendition, key=errand.key, **fields
        )
