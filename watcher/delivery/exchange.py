"""The exchange with the API about one output: waits for permission, sends the request, follows the job. Decides nothing."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from watcher.backoff import poll_interval
from watcher.compressor.wire import Pending, Result
from watcher.delivery import way
from watcher.delivery.decisions import URL_RAN_OUT, CallFailure, Gone, OnHold, Overtaken, UnderWay, job_lost
from watcher.delivery.delivery import FRESH_SECONDS
from watcher.delivery.limits import Limit
from watcher.errors import CallFailed, Paused, Unavailable
from watcher.model import Event, FailedReason, Failure, FailureKind

if TYPE_CHECKING:
    from watcher.delivery.decisions import Conclusion
    from watcher.delivery.delivery import Delivery, OpenImage, Policy, Ports
    from watcher.ports import Gate, Publication


class Permit:
    """One way through the gate: `async with` waits until `name` may send.

    What came of it is reported once; unreported, nothing could be learnt from it. Whatever happens, the gate hears of it, so that
    nobody waits for a lost word.
    """

    def __init__(self, gate: Gate, name: str) -> None:
        self._gate = gate
        self._name = name
        self.reported = False

    async def __aenter__(self) -> Self:
        await self._gate.enter(self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.reported:
            self._gate.abandoned(self._name)

    def succeeded(self, *, pending: bool = False) -> None:
        """The API answered as it should; `pending`: a job is at work."""
        self.reported = True
        self._gate.succeeded(self._name, pending=pending)

    def failed(self, failure: Failure) -> bool:
        """It did not. True where this uses up an attempt, as far as is known now."""
        self.reported = True
        return self._gate.failed(self._name, failure)


class Exchange:
    """Sends requests and follows jobs, for many outputs at once, each its own delivery."""

    def __init__(self, ports: Ports, concurrency: int) -> None:
        """`concurrency` bounds the requests in flight."""
        self._ports = ports
        self._sending = Limit(concurrency, ports.out_of_reach)
        self._in_flight: set[tuple[str, str | None]] = set()
        self.stopping = False
        """No job is followed any more; the next start goes on with it."""

    def limit(self, concurrency: int) -> None:
        """At most so many requests in flight from now on."""
        self._sending.change(concurrency)

    def is_asking(self, image_id: str) -> bool:
        """Whether a request of the image is on its way, whose answer is worth waiting for at a stop."""
        return any(asking == image_id for asking, _ in self._in_flight)

    def close(self, delivery: Delivery) -> None:
        """The turn is over."""
        self._in_flight.discard(_in_flight_key(delivery))
        self._ports.gate.forget(delivery.poll_id)

    async def send(
        self, delivery: Delivery, opened: OpenImage, publication: Publication, policy: Policy
    ) -> Result | CallFailure | Conclusion:
        """Send the request when it may be sent, and give what came of it; a job is followed to its end."""
        async with self._sending.hold(delivery.image.file), Permit(self._ports.gate, delivery.id) as permit:
            if not await opened.is_current(FRESH_SECONDS):
                return Gone()
            if opened.ticket.expires_at < self._ports.clock.now() + policy.timeout / 2:
                return URL_RAN_OUT
            try:
                if not await self._remember_request(delivery):
                    return Overtaken()
            except Paused:
                return OnHold()
            request = delivery.request(publication, marked=policy.verify != "never")
            refusals, opened.asked = self._ports.publisher.refusals(opened.ticket), opened.asked + 1
            try:
                answer = await self._ports.api.fetch(request)
            except CallFailed as error:
                failure, is_ours = await self._judged(error.failure, opened, refusals)
                return CallFailure(failure, not is_ours and permit.failed(failure), FailedReason.REJECTED)
            permit.succeeded(pending=isinstance(answer, Pending))
        return await self._enqueued(delivery, opened, answer.id, policy) if isinstance(answer, Pending) else answer

    async def _judged(self, failure: Failure, opened: OpenImage, refusals: int) -> tuple[Failure, bool]:
        """What a failure means, by what is known of the original's fetches; and whether we refused the original ourselves.

        `refusals` is how often we had done so before.
        """
        publisher, ticket = self._ports.publisher, opened.ticket
        moved, turned_away = publisher.moved_at(ticket) is not None, publisher.refusals(ticket) > refusals
        fetches = way.Fetches(opened.asked, publisher.times_fetched(ticket), moved, turned_away)
        if way.is_our_refusal(failure, fetches):
            return way.our_refusal(failure), True
        judged = way.judged(failure, fetches)
        try:
            changed = judged is not failure and await opened.has_changed()
        except Unavailable:  # nobody can tell now
            return way.our_refusal(failure), True
        return (failure if changed else judged), False

    async def _remember_request(self, delivery: Delivery) -> bool:
        """Commit that a request leaves, before it does. False where a newer version of the file was taken meanwhile."""
        image, place = delivery.image, (delivery.bucket, delivery.key)
        if not await self._ports.journal.requested(image.id, delivery.output.rendition, place, self._ports.clock.now()):
            return False
        self._ports.events.event(Event.IMAGE_REQUESTED, **delivery.fields())
        self._in_flight.add(_in_flight_key(delivery))
        return True

    async def _enqueued(
        self, delivery: Delivery, opened: OpenImage, job_id: str, policy: Policy
    ) -> Result | CallFailure | Conclusion:
        image, rendition = delivery.image, delivery.output.rendition
        if not await self._ports.journal.enqueued(image.id, rendition, job_id, self._ports.clock.now()):
            return Overtaken()
        self._in_flight.discard(_in_flight_key(delivery))
        self._ports.events.event(Event.IMAGE_ENQUEUED, **delivery.fields(), request_id=job_id)
        return UnderWay() if self.stopping else await self.follow(delivery, opened, job_id, policy)

    async def follow(
        self, delivery: Delivery, opened: OpenImage, job_id: str, policy: Policy
    ) -> Result | CallFailure | Conclusion:
        """Ask for the job until it ends, or until it cannot end well any more."""
        clock, refusals = self._ports.clock, self._ports.publisher.refusals(opened.ticket)
        started = clock.monotonic()
        while (elapsed := clock.monotonic() - started) < policy.job_patience:
            await clock.sleep(poll_interval(elapsed))
            answer = await self._poll(delivery, opened, job_id, refusals)
            if not isinstance(answer, Pending):
                return answer
        message = "the job did not end in the time that its temporary URL lives"
        return job_lost(Failure(FailureKind.TRANSIENT, message, unknown=True))

    async def _poll(
        self, delivery: Delivery, opened: OpenImage, job_id: str, refusals: int
    ) -> Result | Pending | CallFailure | Conclusion:
        """One look at the job. One that brings no word of it leaves it pending: that is no attempt at the image."""
        async with Permit(self._ports.gate, delivery.poll_id) as permit:
            try:
                answer = await self._ports.api.job(job_id)
            except CallFailed as error:
                failure = error.failure
            else:
                permit.succeeded(pending=isinstance(answer, Pending))
                return answer
            if failure.kind is FailureKind.PERMANENT and failure.not_fetched:
                failure, is_ours = await self._judged(failure, opened, refusals)
                if (
                    failure.kind is not FailureKind.PERMANENT
                ):  # reported in the name of the delivery itself: an attempt of it, if any
                    counts = not is_ours and self._ports.gate.failed(delivery.id, failure)
                    return CallFailure(failure, counts, FailedReason.JOB_FAILED)
            if failure.status == HTTPStatus.NOT_FOUND:
                permit.succeeded()
                return job_lost(failure)
            counts = permit.failed(failure)
            if failure.kind is FailureKind.PERMANENT:
                return CallFailure(failure, counts, FailedReason.JOB_FAILED)
            return Pending(job_id, "unknown")


def _in_flight_key(delivery: Delivery) -> tuple[str, str | None]:
    return (delivery.image.id, delivery.output.rendition)
