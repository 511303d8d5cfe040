"""The composition root: builds the parts, starts them in order, stops them in reverse, watches over them.

The only module that knows both the pipeline and the edges.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from watcher import __version__
from watcher.clock import SystemClock
from watcher.compressor.circuit import Phase
from watcher.compressor.client import CompressorClient
from watcher.compressor.gate import Gate
from watcher.compressor.stored import HttpObjectStore
from watcher.config.reload import changed, keeping, waiting_for_restart
from watcher.config.rules import folder_rules
from watcher.config.schema import MOST_REQUESTS, split_address
from watcher.delivery.dispatcher import Dispatcher
from watcher.delivery.pipeline import Pipeline, Policy, Ports
from watcher.errors import ConfigurationError, Unavailable, WatcherError
from watcher.intake.files import FileOriginals
from watcher.intake.intake import Intake, IntakeSettings
from watcher.model import Event, Ticket
from watcher.publish.serve import TemporaryUrls
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.admin import AdminServer, Figures
from watcher.service.instance import InstanceLock, instance_id
from watcher.service.supervisor import Supervisor
from watcher.service.systemd import Notifier, confinement
from watcher.service.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.config.schema import Settings
    from watcher.log import LevelledLog
    from watcher.ports import ObjectStore, Publisher
    from watcher.publish.presign import StagedLinks
    from watcher.service.vitals import Check

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
FILE_THREADS: Final = 4
"""For reading, hashing and moving originals; more would only wait for the disk."""
TURNS_PER_REQUEST: Final = 2
"""Images that have their turn for each request that may be out: while one waits for its answer, the next is hashed."""
HEARTBEAT_SECONDS: Final = 1.0
HOUSEKEEPING_SECONDS: Final = 3600.0
STOP_GRACE_SECONDS: Final = 2.0
"""For responses of the temporary-URL server that nobody's request waits for any more."""
STOP_RESERVE_SECONDS: Final = 30.0
"""What a stop may take besides `drain`: a slow disk for the last lines, connections to be closed."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the queue holds, for people."""

    waiting: int
    in_flight: int
    stored: int
    failed: int

    def __str__(self) -> str:
        return f"{self.waiting} waiting, {self.in_flight} in flight, {self.stored} stored, {self.failed} failed"


class App:
    """The daemon, or one run of `once`: `async with App(...)` is up between start and stop."""

    def __init__(self, settings: Settings, events: LevelledLog, *, load: Callable[[], Settings] | None = None) -> None:
        """`load` reads the configuration anew, for SIGHUP."""
        self.settings = settings
        self.events = events
        self._load = load
        self._clock = SystemClock()
        self._stack = AsyncExitStack()
        self._supervisor = Supervisor(self._part_died)
        self._stopping = asyncio.Event()
        self._notifier = Notifier(os.environ)
        self._is_up = False
        self._urls: TemporaryUrls | None = None
        self._links: StagedLinks | None = None
        self._bucket: HttpObjectStore | None = None
        self._reload_asked = False
        self._one_reload = asyncio.Lock()
        self._engine_key: str | None = None
        self.public_url: str | None = None
        """Where temporary URLs begin; None where links are presigned."""

    # --- up and down ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:  # called off or broken: what was begun is ended all the same
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.event(Event.SERVICE_STOPPING, **self._count_fields())
        self._notifier.stopping("stopping", self.settings.drain + STOP_RESERVE_SECONDS)
        await self._stack.aclose()
        self.events.event(Event.SERVICE_STOPPED)

    async def _start(self) -> None:
        settings = self.settings
        lock = InstanceLock.take(settings.state_dir)
        self._stack.callback(lock.release)
        self.events.event(
            Event.SERVICE_STARTED,
            version=__version__,
            pid=os.getpid(),
            state_dir=str(settings.state_dir),
            folders=len(settings.folders),
        )
        await self._start_records()
        self._stack.push_async_callback(self._supervisor.end)
        await self._start_publisher()
        await self._start_api()
        await self._start_pipeline()
        await self._start_intake()
        await self._start_admin()
        self._supervisor.start(self._heartbeat(), "heartbeat")
        signs = self._supervisor.start(Vitals(self._parts(), self._notifier, self._clock).keep_giving(), "signs of life")
        self._stack.callback(signs.cancel)  # systemd wants none any more, and parts that end in order are not stuck
        self._supervisor.start(self._housekeeping(), "housekeeping")
        self._is_up = True
        if self._reload_asked:
            self._reload_soon()

    async def _start_records(self) -> None:
        settings = self.settings
        self.journal = SqliteJournal.open(
            settings.journal_path,
            events=self.events,
            clock=self._clock,
            keep=settings.keep,
            new_id=_new_id,
            audit=settings.audit_path,
            roots={folder.name: folder.path for folder in settings.folders},
        )
        self._stack.push_async_callback(self.journal.close)
        self.audit = AuditFile(settings.audit_path)
        self.recorder = OutboxRelay(self.journal, self.audit, self.events)
        await self.recorder.start()
        self._stack.push_async_callback(self.recorder.stop)

    async def _start_publisher(self) -> None:
        serve = self.settings.publish.serve
        if self.settings.publish.mode == "presign":
            self.publisher: Publisher = await self._start_presign()
            return
        if serve.listen is None and self.settings.compressor.embedded:
            serve = serve.model_copy(update={"listen": "127.0.0.1:0"})
        urls = TemporaryUrls(serve, self.events, self._clock)
        self.public_url = await urls.start()
        self._stack.push_async_callback(urls.stop, STOP_GRACE_SECONDS)
        self.publisher = self._urls = urls

    async def _start_presign(self) -> Publisher:
        from watcher.publish.presign import StagedLinks  # an extra: only who presigns needs its parts

        presign = self.settings.publish.presign
        if presign is None:
            raise ConfigurationError(["publish.presign: is missing"])
        links = StagedLinks(presign, self.events, self._clock, owner=instance_id(self.settings.state_dir))
        await links.start()
        self._stack.push_async_callback(links.stop)
        self._supervisor.start(self._sweep(links), "sweep")
        self._links = links
        return links

    async def _sweep(self, links: StagedLinks) -> None:
        """Remove what a crash left in the staging bucket. A store that is down is swept by age later."""
        with contextlib.suppress(Unavailable):
            await links.sweep(await self.journal.live_tokens(self._clock.now()))

    async def _start_api(self) -> None:
        compressor, verify = self.settings.compressor, self.settings.verify
        url = compressor.url
        self._store: ObjectStore
        if compressor.embedded:
            url = await self._start_engine()
        else:
            self._store = self._bucket = HttpObjectStore(verify, timeout=30.0)
            self._stack.push_async_callback(self._bucket.aclose)
        self.client = CompressorClient(
            url,
            lambda: self._api_key,
            concurrency=MOST_REQUESTS,  # the pipeline keeps to the limit, which may be changed while connections are in use
            timeout=compressor.timeout,
            transport=compressor.transport,
        )
        self._stack.push_async_callback(self.client.aclose)
        self.gate = Gate(
            self.client.account, self.events, self._clock, random.random, requests_per_second=compressor.requests_per_second
        )
        self._stack.push_async_callback(self.gate.close)

    @property
    def _api_key(self) -> str:
        if self._engine_key is not None:
            return self._engine_key
        key = self.settings.compressor.api_key
        return key.get_secret_value() if key else ""

    async def _start_engine(self) -> str:
        """The embedded engine on a loopback port, with a key that nobody else knows. Gives the API's URL."""
        from watcher.engine.server import Engine  # an extra: only who runs the engine needs its parts
        from watcher.engine.store import ConnectorStore

        self._engine_key = secrets.token_urlsafe(32)
        settings = self.settings.engine
        host, port = split_address(settings.listen or "127.0.0.1:0")
        keys = {self._engine_key, *(key.get_secret_value() for key in settings.api_keys)}
        engine = Engine(settings, self.settings.state_dir, api_keys=keys, allow_addresses=self._own_addresses())
        port = await engine.start(host, port)
        self._stack.push_async_callback(engine.stop)
        self._store = ConnectorStore(engine.connectors)
        return f"http://{host}:{port}/1.0"

    def _own_addresses(self) -> list[tuple[str, int]]:
        """Where this daemon's own originals can be fetched: all that the embedded engine may reach besides public addresses."""
        presign = self.settings.publish.presign
        parts = urlsplit(self.public_url or (presign.endpoint if presign else ""))
        return [(parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])] if parts.hostname else []

    async def _start_pipeline(self) -> None:
        settings = self.settings
        rules = folder_rules(settings)
        pool = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files")
        self._stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        self.intake = Intake(
            rules,
            IntakeSettings(rescan=settings.rescan, settle=settings.settle, max_wait=settings.max_wait),
            self.journal,
            self.events,
            self._clock,
            on_taken=self._taken,
            random=random.random,
            confinement=confinement(os.environ),
        )
        originals = FileOriginals(self.intake.roots, pool)
        ports = Ports(self.journal, originals, self.publisher, self.client, self.gate, self._store, self.events, self._clock)
        self.pipeline = Pipeline(
            ports,
            self._policy(settings),
            concurrency=settings.compressor.concurrency,
            new_ticket=self._new_ticket,
            random=random.random,
            look_again=self.intake.look_at,
            is_present=self.intake.roots.is_healthy,
        )
        slots = settings.compressor.concurrency * TURNS_PER_REQUEST
        self.dispatcher = Dispatcher(self.journal, self.pipeline, self.events, self._clock, slots=slots, random=random.random)
        dispatching = self._supervisor.start(self.dispatcher.run(), "dispatcher")
        self._stack.push_async_callback(self._drain, dispatching)

    async def _start_intake(self) -> None:
        await self.intake.start()
        self._stack.push_async_callback(self.intake.stop)
        self._supervisor.start(self.intake.until_broken(), "intake")

    async def _start_admin(self) -> None:
        if self.settings.admin.listen is None:
            return
        admin = AdminServer(self._figures)
        await admin.start(*split_address(self.settings.admin.listen))
        self._stack.push_async_callback(admin.stop)

    async def _figures(self) -> Figures:
        totals, folders = await self.journal.totals(), self.intake.status()
        return Figures(
            alive=self.is_alive(),
            waiting=totals.open,
            in_flight=self.dispatcher.in_flight,
            stored=totals.stored,
            failed=totals.failed,
            superseded=totals.superseded,
            vanished=totals.vanished,
            folders=len(folders),
            folders_lost=sum(folder.mode == "lost" for folder in folders),
            api=str(self.gate.state.phase),
        )

    def _taken(self) -> None:
        self.dispatcher.wake()

    def _wake(self) -> None:
        if self._is_up:
            self.dispatcher.wake()

    def _policy(self, settings: Settings) -> Policy:
        serve, presign = settings.publish.serve, settings.publish.presign
        ttl = presign.ttl if settings.publish.mode == "presign" and presign else serve.ttl
        return Policy(
            max_attempts=settings.compressor.max_attempts,
            verify=settings.verify.mode,
            timeout=settings.compressor.timeout,
            job_patience=ttl,
            expects_b2=not settings.compressor.embedded,
        )

    def _new_ticket(self, now: float) -> Ticket:
        """256 random bits for the URL, as many for the header."""
        return Ticket(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now + self.pipeline.policy.job_patience)

    async def _drain(self, dispatching: asyncio.Task[None]) -> None:
        dispatching.cancel()
        cut = await self.dispatcher.drain(self.settings.drain)
        if cut:
            self.events.event(
                Event.SERVICE_STOPPING, cut_off=cut, message="requests still on their way; the next start asks the store"
            )

    # --- while it runs --------------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Say that the folders are watched and the port is open."""
        serving = {"public_url": self.public_url} if self.public_url else {}
        self.events.event(Event.SERVICE_READY, folders=len(self.settings.folders), **serving)
        self._notifier.ready("watching")

    async def run(self) -> int:
        """Until a signal says stop. Exit status: 0, or 1 where a part of the daemon died."""
        self.ready()
        await self._stopping.wait()
        return 1 if self._supervisor.failure else 0

    def catch_signals(self) -> None:
        """Stop at SIGTERM and Ctrl-C, reload at SIGHUP, look at the journal at SIGUSR1; from before the start on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        loop.add_signal_handler(signal.SIGUSR1, self._wake)

    def stop(self, number: signal.Signals) -> None:
        """The first signal ends the daemon in order; a second one ends the process at once."""
        if self._stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._stopping.set()

    async def until_done(self) -> bool:
        """Until all that lay in the folders has ended. False where a signal came, or key or quota block the way."""
        while not self._stopping.is_set():
            if await self.is_done():
                return True
            if self.gate.state.phase is Phase.BLOCKED:
                return False
            await self._clock.sleep(0.05)
        return False

    async def is_done(self) -> bool:
        """Whether nothing waits, nothing is under way, and all endings are written down."""
        if not self.intake.is_quiet() or self.dispatcher.in_flight:
            return False
        if await self.journal.open_images() or not self.intake.is_quiet():
            return False
        await self.recorder.flush()
        return True

    def _part_died(self, name: str) -> None:
        self.events.event(Event.SERVICE_STOPPING, message=f"a part of the daemon died: {name}")
        self._stopping.set()

    async def _heartbeat(self) -> None:
        """Once a second: the status line, and a look whether somebody else changed the journal."""
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            self._notifier.status(str(await self._counts()))
            if self.journal.changed_by_others():
                self._wake()

    async def _housekeeping(self) -> None:
        """Now and once an hour: endings older than `keep` leave the journal."""
        while True:
            await self.journal.prune(self._clock.now())
            await self._clock.sleep(HOUSEKEEPING_SECONDS)

    def is_alive(self) -> bool:
        """Whether every part says that it moves."""
        serving = self._urls is None or self._urls.alive()
        return self.journal.alive() and self.recorder.alive() and self.intake.alive() and serving

    def _parts(self) -> dict[str, Check]:
        """What has to move for a sign of life; the server is asked for a page."""
        parts: dict[str, Check] = {
            "the journal's writer": self.journal.alive,
            "the audit file": self.recorder.alive,
            "the watch on the folders": self.intake.alive,
        }
        return parts if self._urls is None else {**parts, "the server of temporary URLs": self._urls.probe}

    async def _counts(self) -> Counts:
        totals = await self.journal.totals()
        return Counts(totals.open, self.dispatcher.in_flight, totals.stored, totals.failed)

    def _count_fields(self) -> dict[str, int]:
        return {"in_flight": self.dispatcher.in_flight} if self._is_up else {}

    # --- reload ---------------------------------------------------------------------------------------------------------------

    def _reload_soon(self) -> None:
        """Now, or once everything is up: the configuration may have been read before it was changed."""
        self._reload_asked = not self._is_up
        if self._is_up:
            self._supervisor.start(self.reload(), "reload")

    async def reload(self) -> None:
        """Read the configuration anew: rules, folders, keys, limits, log level. A bad one leaves the old in force."""
        async with self._one_reload:
            await self._reload()

    async def _reload(self) -> None:
        if self._load is None:
            return
        self._notifier.reloading()
        await self.recorder.reopen()
        if self._urls is not None:
            self._urls.reload()
        try:
            new = self._load()
        except ConfigurationError as error:
            self.events.event(
                Event.CONFIG_REJECTED, problems=list(error.problems), message="the old configuration stays in force"
            )
        except WatcherError as error:
            self.events.event(Event.CONFIG_REJECTED, problems=[str(error)], message="the old configuration stays in force")
        else:
            await self._apply(new)
        self._notifier.ready(str(await self._counts()))

    async def _apply(self, new: Settings) -> None:
        old, rules = self.settings, folder_rules(new)
        self.settings = keeping(old, new)
        self.events.level = new.log.level
        self.pipeline.policy = self._policy(self.settings)
        self.pipeline.limit(new.compressor.concurrency)
        self.dispatcher.slots = new.compressor.concurrency * TURNS_PER_REQUEST
        self.dispatcher.wake()
        self.client.timeout = new.compressor.timeout
        self._renew_keys()
        self.gate.pace(new.compressor.requests_per_second)
        self.gate.recheck()
        await self.intake.reload(rules, IntakeSettings(rescan=new.rescan, settle=new.settle, max_wait=new.max_wait))
        self.events.event(
            Event.CONFIG_RELOADED,
            changed=changed(old, new),
            needs_restart=waiting_for_restart(self.settings, new),
            folders=len(new.folders),
        )

    def _renew_keys(self) -> None:
        """Use the keys of the settings from now on (the API's is asked for at each call)."""
        if self._bucket is not None:
            self._bucket.use_keys(self.settings.verify)
        if self._links is not None and self.settings.publish.presign is not None:
            self._links.use_keys(self.settings.publish.presign)


def _new_id() -> str:
    return str(uuid.uuid4())
