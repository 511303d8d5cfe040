"""Builds the parts of the daemon. Each function builds one, starts it, and says how it is stopped and what a reload changes.

The only module that knows both the delivery of images and the edges; `app` calls these functions in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import secrets
import uuid
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from watcher.compressor.client import CompressorClient
from watcher.compressor.gate import Gate
from watcher.compressor.stored import HttpObjectStore
from watcher.config.rules import folder_rules
from watcher.config.schema import MOST_REQUESTS
from watcher.config.values import split_address
from watcher.delivery.delivery import Policy, Ports
from watcher.delivery.dispatcher import Dispatcher
from watcher.delivery.pipeline import Pipeline
from watcher.errors import ConfigurationError, Unavailable
from watcher.intake.intake import Intake, IntakeSettings
from watcher.intake.originals import FileOriginals
from watcher.model import Event, Ticket
from watcher.network.listening import origin
from watcher.publish.serve import TemporaryUrls
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.place import JournalPlace
from watcher.records.sightings import HostFolder
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service import descriptors
from watcher.service.instance import InstanceLock, instance_id
from watcher.service.observed_api import ObservedApi
from watcher.service.systemd import Notifier, confinement

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.compressor.wire import FetchRequest
    from watcher.config.schema import Settings
    from watcher.network.proxies import Proxies
    from watcher.ports import Api, Clock, ObjectStore, Publisher
    from watcher.publish.presign import StagedLinks
    from watcher.records.journal import ThreadedJournal
    from watcher.service.control import Control
    from watcher.service.lifecycle import Lifecycle
    from watcher.service.metrics import Metrics
    from watcher.service.observed_log import ObservedLog

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
TURNS_PER_REQUEST: Final = 2
"""Images that have their turn for each request that may be out: while one waits for its answer, the next is hashed."""
SECOND_SWEEP_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 3600.0
STORE_TIMEOUT_SECONDS: Final = 30.0
TELL_SECONDS: Final = 1.0
"""An original is put away after the line of its ending; where the audit file hangs, after so long."""
STOP_GRACE_SECONDS: Final = 2.0
"""For responses of the temporary-URL server that nobody's request waits for any more."""


@dataclass(slots=True)
class Context:
    """What every part is built with. `settings` are those in force: a reload replaces them."""

    settings: Settings
    events: ObservedLog
    clock: Clock
    life: Lifecycle
    control: Control
    notifier: Notifier
    proxies: Proxies
    metrics: Metrics | None = None

    def use(self, settings: Settings) -> None:
        """Put settings in force."""
        self.settings = settings


@dataclass(frozen=True, slots=True)
class Records:
    """The journal, and the relay from it to the audit file."""

    journal: ThreadedJournal
    relay: OutboxRelay


@dataclass(frozen=True, slots=True)
class Publishing:
    """How originals get an address. Links are served by `urls`, or presigned, and then `public_url` is None."""

    publisher: Publisher
    urls: TemporaryUrls | None = None
    public_url: str | None = None

    def moved_at(self, request: FetchRequest) -> float | None:
        """When bytes of a request's original last moved; None where that cannot be told."""
        return self.urls.moved_at_url(request.url) if self.urls is not None else None


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """The way to the API, and to what it stored."""

    client: Api
    gate: Gate
    store: ObjectStore


def take_state(context: Context) -> None:
    """Hold the state folder for this process alone."""
    lock = InstanceLock.take(context.settings.state_dir)
    context.life.on_stop(lock.release)


async def start_records(context: Context) -> Records:
    """Open the journal and write what the audit file lacks."""
    settings, life = context.settings, context.life
    journal = await _open_journal(context)
    life.on_stop(journal.close)
    relay = OutboxRelay(journal, AuditFile(settings.audit_path), context.events)
    await relay.start()
    life.on_stop(relay.stop)
    life.on_reopen(relay.reopen)
    return Records(journal, relay)


async def _open_journal(context: Context) -> ThreadedJournal:
    settings, place = context.settings, JournalPlace.of(context.settings)
    means: dict[str, Any] = {"events": context.events, "clock": context.clock, "keep": settings.keep, "new_id": _new_id}
    if not place.is_shared:
        roots = {folder.name: folder.path for folder in settings.folders}
        return SqliteJournal.open(place.path, **means, audit=settings.audit_path, roots=roots)
    from watcher.records.postgres.journal import PostgresJournal  # an extra: only who shares a journal needs its parts

    instance, folders = instance_id(settings.state_dir), host_folders(settings)
    journal = await PostgresJournal.open(place.server, instance=instance, **means, audit=settings.audit_path, folders=folders)
    journal.woken = context.control.wake

    def reload(settings: Settings) -> None:
        journal.folders = host_folders(settings)

    context.life.on_reload(reload)
    return journal


def host_folders(settings: Settings) -> dict[str, HostFolder]:
    """The folders as this host has them."""
    rules = [each.rule for each in folder_rules(settings).values()]
    return {rule.folder: HostFolder(rule.root, rule.on_success, rule.on_failure) for rule in rules}


async def start_publishing(context: Context, records: Records) -> Publishing:
    """Open the port for temporary URLs, or the staging bucket."""
    if context.settings.publish.mode == "presign":
        return Publishing(await _start_staging(context, records))
    serve = context.settings.publish.serve
    if serve.listen is None and context.settings.compressor.embedded:
        serve = serve.model_copy(update={"listen": "127.0.0.1:0"})
    urls = TemporaryUrls(serve, context.events, context.clock)
    public_url = await urls.start()
    context.life.on_stop(lambda: urls.stop(STOP_GRACE_SECONDS))
    context.life.on_reopen(urls.reload)
    return Publishing(urls, urls, public_url)


async def _start_staging(context: Context, records: Records) -> Publisher:
    from watcher.publish.presign import StagedLinks  # an extra: only who presigns needs its parts

    presign = context.settings.publish.presign
    if presign is None:
        raise ConfigurationError(["publish.presign: is missing"])
    owner = instance_id(context.settings.state_dir)
    links = StagedLinks(presign, context.events, context.clock, owner=owner, proxies=context.proxies)
    await links.start()
    context.life.on_stop(links.stop)
    context.life.run(_sweep(context, records, links), "sweep")

    def use_keys(settings: Settings) -> None:
        if settings.publish.presign is not None:
            links.use_keys(settings.publish.presign)

    context.life.on_reload(use_keys)
    return links


async def _sweep(context: Context, records: Records, links: StagedLinks) -> None:
    """Remove what a crash left in the staging bucket: at once, when the first scan has ended images of back then, and every hour.

    A store that is down is swept by age later.
    """
    for pause in chain((SECOND_SWEEP_SECONDS,), repeat(SWEEP_SECONDS)):
        with contextlib.suppress(Unavailable):
            await links.sweep(await records.journal.live_tokens(context.clock.now()))
        await context.clock.sleep(pause)


async def start_api(context: Context, publishing: Publishing) -> ApiAccess:
    """Make the client and its gate; where the API is embedded, start the engine."""
    if context.settings.compressor.embedded:
        return await _start_engine(context, publishing)
    verify = HttpObjectStore(context.settings.verify, timeout=STORE_TIMEOUT_SECONDS, proxies=context.proxies)
    context.life.on_stop(verify.aclose)
    context.life.on_reload(lambda settings: verify.use_keys(settings.verify))
    return _api_access(context, publishing, context.settings.compressor.url, lambda: _configured_key(context), verify)


def _configured_key(context: Context) -> str:
    key = context.settings.compressor.api_key
    return key.get_secret_value() if key else ""


async def _start_engine(context: Context, publishing: Publishing) -> ApiAccess:
    """The embedded engine on a loopback port, with a key that nobody else knows."""
    from watcher.engine.server import Engine  # an extra: only who runs the engine needs its parts
    from watcher.engine.store import ConnectorStore

    settings, own_key = context.settings.engine, secrets.token_urlsafe(32)
    host, port = split_address(settings.listen or "127.0.0.1:0")
    keys = {own_key, *(key.get_secret_value() for key in settings.api_keys)}
    own_addresses = _own_addresses(context.settings, publishing)
    state_dir, proxies = context.settings.state_dir, context.proxies
    engine = Engine(settings, state_dir, api_keys=keys, allow_addresses=own_addresses, proxies=proxies)
    port = await engine.start(host, port)
    context.life.on_stop(engine.stop)
    return _api_access(context, publishing, f"{origin(host, port)}/1.0", lambda: own_key, ConnectorStore(engine.connectors))


def _own_addresses(settings: Settings, publishing: Publishing) -> list[tuple[str, int]]:
    """Where this daemon's own originals can be fetched: all that the embedded engine may reach besides public addresses."""
    presign = settings.publish.presign
    parts = urlsplit(publishing.public_url or (presign.endpoint if presign else ""))
    return [(parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])] if parts.hostname else []


def _api_access(context: Context, publishing: Publishing, url: str, api_key: Callable[[], str], store: ObjectStore) -> ApiAccess:
    compressor = context.settings.compressor
    client = CompressorClient(
        url,
        api_key,
        concurrency=MOST_REQUESTS,  # the pipeline keeps to the limit, which may be changed while connections are in use
        timeout=compressor.timeout,
        transport=compressor.transport,
        proxies=context.proxies,
        moved_at=publishing.moved_at,
    )
    context.life.on_stop(client.aclose)
    metrics = context.metrics
    observed: Api = client if metrics is None else ObservedApi(client, metrics.call, context.clock)
    gate = Gate(observed.account, context.events, context.clock, random.random, compressor.requests_per_second)
    context.life.on_stop(gate.close)

    def reload(settings: Settings) -> None:
        client.timeout = settings.compressor.timeout
        gate.pace(settings.compressor.requests_per_second)
        gate.recheck()

    context.life.on_reload(reload)
    return ApiAccess(observed, gate, store)


def build_intake(context: Context, records: Records) -> Intake:
    """Make the watch on the folders; `start_intake` begins it once images can be delivered."""
    return Intake(
        folder_rules(context.settings),
        _intake_settings(context.settings),
        records.journal,
        context.events,
        context.clock,
        on_taken=context.control.wake,
        random=random.random,
        confinement=confinement(os.environ),
    )


async def start_intake(context: Context, intake: Intake) -> None:
    """Watch and scan the folders."""
    await intake.start()
    context.life.on_stop(intake.stop)
    context.life.run(intake.until_broken(), "intake")
    context.life.on_reload(lambda settings: intake.reload(folder_rules(settings), _intake_settings(settings)))


def _intake_settings(settings: Settings) -> IntakeSettings:
    times = IntakeSettings(rescan=settings.rescan, settle=settings.settle, max_wait=settings.max_wait)
    if settings.canary == "auto":
        return times
    interval = math.inf if settings.canary is False else float(settings.canary)
    return replace(times, canary=interval, canary_longest=interval)


def start_delivery(context: Context, records: Records, publishing: Publishing, api: ApiAccess, intake: Intake) -> Dispatcher:
    """Begin to deliver what the journal holds."""
    ports = _delivery_ports(context, records, publishing, api, intake)
    used = descriptors.in_use()
    pipeline = Pipeline(
        ports,
        _policy(context.settings),
        concurrency=_concurrency(context.settings, used),
        new_ticket=lambda now: _new_ticket(now, _policy(context.settings)),
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
    context.life.on_stop(drain)
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
    )


async def _endings_told(relay: OutboxRelay) -> None:
    """Wait for the relay, but not for an audit file that cannot be written."""
    await asyncio.wait({asyncio.ensure_future(relay.flush())}, timeout=TELL_SECONDS)


def _concurrency(settings: Settings, used: int) -> int:
    """How many requests may be out at once: as configured, or as many as there are descriptors for besides those `used`."""
    of_one = descriptors.OF_ONE_REQUEST_TO_ENGINE if settings.compressor.embedded else descriptors.OF_ONE_REQUEST
    return descriptors.affordable(settings.compressor.concurrency, of_one=of_one, limit=descriptors.granted(), used=used)


def _policy(settings: Settings) -> Policy:
    serve, presign = settings.publish.serve, settings.publish.presign
    ttl = presign.ttl if settings.publish.mode == "presign" and presign else serve.ttl
    return Policy(
        max_attempts=settings.compressor.max_attempts,
        verify=settings.verify.mode,
        timeout=settings.compressor.timeout,
        job_patience=ttl,
        expects_b2=not settings.compressor.embedded,
        renders_svg=settings.compressor.embedded,
    )


def _new_ticket(now: float, policy: Policy) -> Ticket:
    """256 random bits for the URL, as many for the header."""
    return Ticket(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now + policy.job_patience)


def _new_id() -> str:
    return str(uuid.uuid4())
