"""The delivery of one image, from its turn to its ending. Read this page first, and `decisions` beside it.

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

Everything with an effect is an edge behind a Protocol of `watcher.ports`; everything decided is decided by values. A process
that dies between any two lines finds its place again from the journal: `requested` is committed before a request leaves, and
an ending is committed once.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from watcher.compressor.wire import Result
from watcher.config.keys import InvalidKey, render_key
from watcher.delivery.decisions import (
    AskStore,
    CallFailure,
    Failed,
    Findings,
    Follow,
    Gone,
    Later,
    LookAtOriginal,
    LookForOwner,
    Question,
    Send,
    after_failure,
    after_result,
    keeps_doubt,
    next_step,
)
from watcher.delivery.delivery import (
    FRESH_SECONDS,
    Delivery,
    LostOriginal,
    OpenImage,
    OwnOutput,
    is_unsettled,
    key_fields,
    with_states,
)
from watcher.delivery.disposal import Disposal
from watcher.delivery.exchange import Exchange
from watcher.delivery.last_failures import LastFailures
from watcher.delivery.limits import KeyLocks
from watcher.delivery.store_check import StoreCheck
from watcher.delivery.transitions import Transitions
from watcher.errors import SourceChanged, SourceGone, Unavailable
from watcher.model import Event, FailedReason, IgnoredReason, Image, ImageState, Output, OutputState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from watcher.delivery.decisions import Conclusion
    from watcher.delivery.delivery import Policy, Ports, Progress
    from watcher.model import Ticket
    from watcher.ports import Publication, Source


class Pipeline:
    """Delivers images. One object serves all images; `process` may run for many at once."""

    def __init__(self, ports: Ports, policy: Policy, *, concurrency: int, new_ticket: Callable[[float], Ticket]) -> None:
        """`concurrency` bounds the requests in flight; `new_ticket` makes one, given the time."""
        self._ports = ports
        self.policy = policy
        self._new_ticket = new_ticket
        self._keys = KeyLocks()
        self._store_check = StoreCheck(ports.store, ports.events)
        self._exchange = Exchange(ports, concurrency)
        self._transitions = Transitions(ports)
        self._disposal = Disposal(ports)
        self._failures = LastFailures(ports.gate.forget)

    def limit(self, concurrency: int) -> None:
        """At most so many requests in flight from now on."""
        self._exchange.limit(concurrency)

    def is_asking(self, image_id: str) -> bool:
        """Whether a request of the image is on its way, whose answer is worth waiting for at a stop."""
        return self._exchange.is_asking(image_id)

    def stop_following(self) -> None:
        """Follow no job any more; the next start goes on with it."""
        self._exchange.stopping = True

    async def process(self, image: Image) -> None:
        """One turn of an image. Afterwards it is finished, or the journal knows when its next turn is due."""
        if image.state is ImageState.OPEN:
            image = await self._deliver(image)
        if image.ticket is not None and not image.open_outputs:
            await self._ports.publisher.withdraw(image.ticket)  # an earlier process may have published under it
        if not image.open_outputs and image.state is not ImageState.FINISHED:
            await self._disposal.dispose(image)

    # --- the original ---------------------------------------------------------------------------------------------------------

    async def _deliver(self, image: Image) -> Image:
        """Every output of the image as far as it gets in this turn. Gives the image with the states of its outputs."""
        try:
            sha1 = image.facts.sha1 if image.facts is not None else None
            source = await self._ports.originals.open(image.file, image.observation, sha1)
        except (SourceGone, SourceChanged):
            return await self._without_original(image)
        except Unavailable as error:
            if any(output.job_id for output in image.open_outputs):
                raise  # putting it off in the journal would forget a job that is paid for
            return await self._defer(image, str(error))
        async with self._opened(image, source) as opened:
            if not any(map(is_unsettled, image.open_outputs)):
                own_output = self._ports.journal.is_own_output(image.file.folder, source.facts.sha1)
                opened.own_output = asyncio.ensure_future(own_output)
            try:
                return await self._each_output(opened)
            except OwnOutput:
                return await self._dismiss(image)

    async def _without_original(self, image: Image) -> Image:
        """The version is gone or replaced. What was asked for before that may have been done all the same."""
        states: dict[str | None, Progress] = {}
        for output in image.open_outputs:
            if is_unsettled(output) and image.facts is not None and image.ticket is not None:
                states[output.rendition] = await self._output(OpenImage(image, LostOriginal(image.facts), image.ticket), output)
            else:
                states[output.rendition] = await self._transitions.original_gone(image, output)
        return with_states(image, states)

    async def _defer(self, image: Image, reason: str) -> Image:
        """The original cannot be read now. That is nobody's attempt."""
        for output in image.open_outputs:
            await self._transitions.defer(image, output, reason)
        self._ports.events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason)
        return image

    @asynccontextmanager
    async def _opened(self, image: Image, source: Source) -> AsyncIterator[OpenImage]:
        """The original stays open and its URL stays good until all of this turn is done."""
        now = self._ports.clock.now()
        before = ticket = image.ticket
        if ticket is None or ticket.expires_at < now + self.policy.timeout:
            ticket = self._new_ticket(now)
        opened = OpenImage(image, source, ticket)
        try:
            await self._ports.journal.hashed(image.id, source.facts, ticket)
            if before is not None and before != ticket:
                await self._ports.publisher.withdraw(before)  # from here on nobody knows of it any more
            yield opened
        finally:
            if opened.publication is not None:
                await self._ports.publisher.withdraw(ticket)
            source.close()

    async def _dismiss(self, image: Image) -> Image:
        """Nothing of it is sent."""
        reason = IgnoredReason.OWN_OUTPUT
        await self._ports.journal.dismiss(image.id, reason, self._ports.clock.now())
        self._ports.events.event(Event.IMAGE_IGNORED, id=image.id, **image.file.fields(), reason=str(reason))
        unchanged = {output.rendition: OutputState.UNCHANGED for output in image.open_outputs}
        return replace(with_states(image, unchanged), state=ImageState.FINISHED)

    async def _each_output(self, opened: OpenImage) -> Image:
        outputs = opened.image.open_outputs
        if any(map(is_unsettled, outputs)):
            # a request of an earlier turn may still be on its way to us: its URL has to be good again
            await self._publication(opened)
        if len(outputs) == 1:
            return with_states(opened.image, {outputs[0].rendition: await self._output(opened, outputs[0])})
        # each to its end: trouble with one must not cut off the answer to another one's request
        states = await asyncio.gather(*(self._output(opened, output) for output in outputs), return_exceptions=True)
        by_rendition = zip((output.rendition for output in outputs), map(_unbroken, states), strict=True)
        return with_states(opened.image, dict(by_rendition))

    # --- one output -----------------------------------------------------------------------------------------------------------

    async def _output(self, opened: OpenImage, output: Output) -> Progress:
        """One output, as far as it gets in this turn: decide, act, and write down what came of it."""
        delivery = Delivery(opened.image, opened.source.facts, output, output.key or "", output.attempts)
        try:
            delivery = self._addressed(delivery)
        except InvalidKey as error:
            await opened.refuse_own_output()
            failed = Failed(FailedReason.INVALID_KEY, error.message, error.hint, output.attempts)
            return await self._transitions.write(delivery, failed, self.policy)
        async with self._keys.hold(delivery.bucket, delivery.key):
            try:
                conclusion = await self._conclude(delivery, opened)
                progress = await self._transitions.write(delivery, conclusion, self.policy)
            finally:
                self._exchange.close(delivery)
        if progress is not None:
            self._ports.gate.forget(delivery.id)
            self._failures.drop(delivery.id)
        return progress

    def _addressed(self, delivery: Delivery) -> Delivery:
        """The delivery with its key, and with the attempts that earlier failures turned out to have used.

        Raises InvalidKey.
        """
        fields = key_fields(delivery, renders_svg=self.policy.renders_svg)
        key = delivery.key or render_key(str(delivery.rule.store["path"]), fields)
        return replace(delivery, key=key).charged(self._ports.gate.attempts_charged(delivery.id))

    async def _conclude(self, delivery: Delivery, opened: OpenImage) -> Conclusion:
        """Do what has to be done with the output in this turn, and say how the turn ends."""
        conclusion = await self._act(delivery, opened)
        if isinstance(conclusion, Later):
            if conclusion.failure is not None:
                self._failures.keep(delivery.id, conclusion.failure)
            if not keeps_doubt(delivery, conclusion) and not await opened.is_current():
                return Gone()
        return conclusion

    async def _act(self, delivery: Delivery, opened: OpenImage) -> Conclusion:
        last, place = self._failures.get(delivery.id), (delivery.bucket, delivery.key)
        there = (await self._ports.journal.stored_at([place])).get(place)
        found = Findings(there, journal_is_unsure=self._ports.journal.is_unsure())
        await opened.refuse_own_output()
        while isinstance(step := next_step(delivery, found, last, self.policy), Question):
            found = await self._find_out(step, delivery, opened, found)
        if isinstance(step, Send):
            return await self._judge(delivery, opened, await self._send(delivery, opened))
        if isinstance(step, Follow):
            opened.asked += 1
            answer = await self._exchange.follow(delivery, opened, step.job_id, self.policy)
            return await self._judge(delivery, opened, answer)
        return step

    async def _judge(self, delivery: Delivery, opened: OpenImage, answer: Result | CallFailure | Conclusion) -> Conclusion:
        """What came of a call is a result, a failure, or that there was nothing to call for."""
        found, last = Findings(), self._failures.get(delivery.id)
        while True:
            if isinstance(answer, Result):
                judged = after_result(delivery, answer, found, self.policy)
            elif isinstance(answer, CallFailure):
                judged = after_failure(delivery, answer, found, last)
            else:
                return answer
            if not isinstance(judged, Question):
                return judged
            found = await self._find_out(judged, delivery, opened, found)

    async def _find_out(self, question: Question, delivery: Delivery, opened: OpenImage, found: Findings) -> Findings:
        """The findings, and the answer to the question."""
        match question:
            case AskStore():
                return replace(found, head=await self._store_check.head(delivery))
            case LookForOwner(relative):
                owner = replace(delivery.image.file, relative=relative)
                return replace(found, owner_is_there=await self._ports.originals.is_there(owner))
            case LookAtOriginal():
                return replace(found, changed=await opened.has_changed())

    async def _send(self, delivery: Delivery, opened: OpenImage) -> Result | CallFailure | Conclusion:
        if not await opened.is_current(FRESH_SECONDS):  # a lost original, too, ends here: there is nothing to publish
            return Gone()
        try:
            publication = await self._publication(opened)
        except Unavailable as error:
            return Later(str(error), tried=True)
        return await self._exchange.send(delivery, opened, publication, self.policy)

    async def _publication(self, opened: OpenImage) -> Publication:
        """The temporary URL, made once for all outputs of this turn."""
        async with opened.lock:
            if opened.publication is None:
                opened.publication = await self._ports.publisher.publish(opened.ticket, opened.source)
                self._ports.events.event(Event.IMAGE_PUBLISHED, id=opened.image.id, **opened.image.file.fields())
        return opened.publication


def _unbroken(outcome: Progress | BaseException) -> Progress:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
