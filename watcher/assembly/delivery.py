"""Builds the delivery of images: the only module that knows both it and the edges that it meets."""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.delivery.delivery import Policy, Ports
from watcher.delivery.dispatcher import Dispatcher
from watcher.delivery.pipeline import Pipeline
from watcher.intake.originals import FileOriginals
from watcher.model import Event, Ticket
from watcher.service import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcher.assembly.parts import ApiAccess, Context, Publishing, Records
    from watcher.config.schema import Settings
    from watcher.intake.intake import Intake
    from watcher.records.outbox import OutboxRelay


TURNS_PER_REQUEST: Final = 2
"""Images that have their turn for each request that may be out: while one waits for its answer, the next is hashed."""
WORD_BYTES: Final = 32
WORDS_AT_ONCE: Final = 64
TELL_SECONDS: Final = 1.0
"""An original is put away after the line of its ending; where the audit file hangs, after so long."""


def start_delivery(context: Context, records: Records, publishing: Publishing, api: ApiAccess, intake: Intake) -> Dispatcher:
    """Begin to deliver what the journal holds."""
    ports = _delivery_ports(context, records, publishing, api, intake)
    used = descriptors.in_use()
    pipeline = Pipeline(
        ports,
        _policy(context.settings),
        concurrency=_concurrency(context.settings, used),
        new_ticket=_ticket_maker(context),
    )
    dispatcher = Dispatcher(
        records.journal,
        pipeline,
        context.events,
        context.clock,
        slots=_concurrency(context.settings, used) * TURNS_PER_REQUEST,
        random=random.random,
        out_of_reach=intake.out_of_reach,
    )
    dispatching = context.life.run(dispatcher.run(), "dispatcher")
    context.control.on_wake(dispatcher.wake)

    async def drain() -> None:
        dispatching.cancel()
        if cut := await dispatcher.drain(context.settings.drain):
            message = "requests still on their way; the next start asks the store"
            context.events.event(Event.SERVICE_STOPPING, cut_off=cut, message=message)

    def reload(settings: Settings) -> None:
        pipeline.policy = _policy(settings)
        pipeline.limit(_concurrency(settings, used))
        dispatcher.slots = _concurrency(settings, used) * TURNS_PER_REQUEST
        dispatcher.wake()

    context.life.on_stop(partial(_close_pools, intake))  # last: what drains is still read from its folder
    context.life.on_stop(drain, None)  # it keeps to `drain` by itself
    context.life.on_reload(reload)
    return dispatcher


async def _close_pools(intake: Intake) -> None:
    intake.pools.close()


def _delivery_ports(context: Context, records: Records, publishing: Publishing, api: ApiAccess, intake: Intake) -> Ports:
    """Every edge that the delivery of an image meets."""
    return Ports(
        journal=records.journal,
        originals=FileOriginals(intake.roots, intake.pools),
        publisher=publishing.publisher,
        api=api.client,
        gate=api.gate,
        store=api.store,
        events=context.events,
        clock=context.clock,
        random=random.random,
        look_again=intake.look_at,
        endings_told=partial(_endings_told, records.relay),
        out_of_reach=intake.out_of_reach,
    )


async def _endings_told(relay: OutboxRelay) -> None:
    """Wait for the relay, but not for an audit file that cannot be written."""
    await asyncio.wait({asyncio.ensure_future(relay.flush())}, timeout=TELL_SECONDS)


def _concurrency(settings: Settings, used: int) -> int:
    """How many requests may be out at once: as configured, or as many as there are descriptors for besides those `used`."""
    of_one = descriptors.OF_ONE_REQUEST_TO_ENGINE if settings.compressor.embedded else descriptors.OF_ONE_REQUEST
    return descriptors.affordable(settings.compressor.concurrency, of_one=of_one, limit=descriptors.granted(), used=used)


def _ttl(settings: Settings) -> float:
    """Seconds that a temporary URL lives."""
    serve, presign = settings.publish.serve, settings.publish.presign
    return presign.ttl if settings.publish.mode == "presign" and presign else serve.ttl


def _policy(settings: Settings) -> Policy:
    return Policy(
        max_attempts=settings.compressor.max_attempts,
        verify=settings.verify.mode,
        timeout=settings.compressor.timeout,
        job_patience=_ttl(settings),
        expects_b2=not settings.compressor.embedded,
        renders_svg=settings.compressor.embedded,
    )


def _ticket_maker(context: Context) -> Callable[[float], Ticket]:
    """Makes tickets that last as long as a job is followed: 256 random bits for the URL, as many for the header."""
    words = random_words()
    return lambda now: Ticket(next(words), next(words), now + _ttl(context.settings))


def random_words() -> Iterator[str]:
    """Words of 256 random bits that may stand in a URL. The kernel is asked for many of them at once."""
    while True:
        bits = secrets.token_bytes(WORDS_AT_ONCE * WORD_BYTES)
        for start in range(0, len(bits), WORD_BYTES):
            yield base64.urlsafe_b64encode(bits[start : start + WORD_BYTES]).rstrip(b"=").decode("ascii")
