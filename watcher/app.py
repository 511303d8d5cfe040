"""The daemon, or one run of `once`: starts the parts in order, stops them in reverse, and watches over them."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher import __version__
from watcher.assembly.admin import Overview, make_metrics, start_admin_port
from watcher.assembly.compressor import start_api
from watcher.assembly.delivery import start_delivery
from watcher.assembly.intake import build_intake, start_intake
from watcher.assembly.manifests import start_manifests
from watcher.assembly.notifications import OutageListener, start_notifications
from watcher.assembly.parts import Context
from watcher.assembly.peers import start_peers
from watcher.assembly.publish import start_publishing
from watcher.assembly.records import start_records, take_state
from watcher.assembly.reports import Reports
from watcher.clock import SystemClock
from watcher.compressor.circuit_state import Phase
from watcher.model import Event
from watcher.network.proxies import Proxies
from watcher.one_processor import keep_together
from watcher.service.control import Control
from watcher.service.lifecycle import Lifecycle
from watcher.service.observed_log import ObservedLog
from watcher.service.reloading import Reloader
from watcher.service.systemd import Notifier
from watcher.service.vitals import Vitals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from watcher.assembly.parts import ApiAccess, Publishing, Records
    from watcher.config.schema import Settings
    from watcher.delivery.dispatcher import Dispatcher
    from watcher.intake.intake import Intake
    from watcher.log import LevelledLog
    from watcher.notify.supervisor import NotifierSupervisor
    from watcher.service.vitals import Check

HEARTBEAT_SECONDS: Final = 1.0
HOUSEKEEPING_SECONDS: Final = 3600.0
STOP_RESERVE_SECONDS: Final = 30.0
"""What a stop may take besides `drain`: a slow disk for the last lines, connections to be closed."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """What the queue holds, for people."""

    waiting: int
    in_flight: int
    stored: int
    failed: int

    def __str__(self) -> str:
        return f"{self.waiting} waiting, {self.in_flight} in flight, {self.stored} stored, {self.failed} failed"


@dataclass(frozen=True, slots=True)
class App:
    """The parts of a daemon that is up."""

    context: Context
    records: Records
    publishing: Publishing
    api: ApiAccess
    intake: Intake
    dispatcher: Dispatcher
    notifications: NotifierSupervisor
    admin_url: str | None = None

    def ready(self) -> None:
        """Say that the folders are watched and the port is open."""
        places = {"public_url": self.publishing.public_url, "admin_url": self.admin_url}
        said = {name: url for name, url in places.items() if url is not None}
        self.context.events.event(Event.SERVICE_READY, folders=len(self.context.settings.folders), **said)
        self.context.notifier.ready("watching")

    async def run(self) -> int:
        """Until a signal says stop. Exit status: 0, or 1 where a part of the daemon died."""
        self.ready()
        await self.context.control.stopping.wait()
        return 1 if self.context.life.failure else 0

    async def until_done(self) -> bool:
        """Until all that lay in the folders has ended. False where a signal came, or key or quota block the way."""
        while not self.context.control.stopping.is_set():
            if await self.is_done():
                return True
            if self.api.gate.state.phase is Phase.BLOCKED:
                return False
            await self.context.clock.sleep(0.05)
        return False

    async def is_done(self) -> bool:
        """Whether nothing waits, nothing is under way, and all endings are written down. What is away is not waited for."""
        if not self.intake.is_quiet() or self.dispatcher.in_flight:
            return False
        if await self._work_left() or not self.intake.is_quiet():
            return False
        await self.records.relay.flush()
        return True

    async def _work_left(self) -> bool:
        """Whether any image has something to come that neither a pause holds up nor lies in a folder that is away."""
        away = self.intake.away()
        left = await self.records.journal.open_images(away)
        return left > 0 and left > await self.records.journal.pauses.held(away)

    def is_alive(self) -> bool:
        """Whether every part says that it moves."""
        urls = self.publishing.urls
        serving = urls is None or urls.alive()
        return self.records.journal.alive() and self.records.relay.alive() and self.intake.alive() and serving

    def checks(self) -> dict[str, Check]:
        """What has to move for a sign of life; the server is asked for a page."""
        checks: dict[str, Check] = {
            "the journal's writer": self.records.journal.alive,
            "the audit file": self.records.relay.alive,
            "the watch on the folders": self.intake.alive,
        }
        urls = self.publishing.urls
        return checks if urls is None else {**checks, "the server of temporary URLs": urls.probe}

    async def status(self) -> str:
        """One line for the service manager."""
        totals, paused = await self.records.journal.totals(), await self.records.journal.pauses.paused()
        pause = "paused; " if None in paused else f"{len(paused)} folders paused; " if paused else ""
        return pause + str(QueueCounts(totals.open, self.dispatcher.in_flight, totals.stored, totals.failed))


@asynccontextmanager
async def started(
    settings: Settings, events: LevelledLog, *, control: Control | None = None, load: Callable[[], Settings] | None = None
) -> AsyncIterator[App]:
    """A daemon that is up for as long as the context lasts.

    `control` brings what signals ask for; `load` reads the configuration anew, for a reload. With `load` it is there to stay: a
    journal's server that is away is waited for. Raises CalledOff where a signal says stop meanwhile.
    """
    context = _context(settings, events, control or Control(), patient=load is not None)
    try:
        app = await _start(context, load)
    except BaseException:  # called off or broken: what was begun is ended all the same
        await context.life.stop()
        raise
    try:
        yield app
    finally:
        events.event(Event.SERVICE_STOPPING, in_flight=app.dispatcher.in_flight)
        context.notifier.stopping("stopping", context.settings.drain + STOP_RESERVE_SECONDS)
        await context.life.stop()
        events.event(Event.SERVICE_STOPPED)


def _context(settings: Settings, events: LevelledLog, control: Control, *, patient: bool) -> Context:
    def part_died(name: str) -> None:
        events.event(Event.SERVICE_STOPPING, message=f"a part of the daemon died: {name}")
        control.stopping.set()

    life, notifier, proxies = Lifecycle(part_died), Notifier(os.environ), Proxies.of_environment(os.environ)
    observed, metrics = ObservedLog(events), make_metrics(settings)
    if metrics is not None:
        observed.observe(metrics.event)
    context = Context(settings, observed, SystemClock(), life, control, notifier, proxies, metrics, patient)
    context.life.on_reload(context.use)
    return context


async def _start(context: Context, load: Callable[[], Settings] | None) -> App:
    """The parts, each built on those before it."""
    take_state(context)
    _say_started(context)
    outages = OutageListener(context.events)
    records = await start_records(context)
    notifications = await start_notifications(context, records, outages)
    await start_manifests(context, records)
    context.life.on_stop(context.life.end_tasks)
    publishing = await start_publishing(context, records)
    api = await start_api(context, publishing)
    start_peers(context, records, api)
    intake = build_intake(context, records)
    dispatcher = start_delivery(context, records, publishing, api, intake)
    await start_intake(context, records, intake)
    app = App(context, records, publishing, api, intake, dispatcher, notifications)
    overview = Overview(context, records, api, intake, app.is_alive, notifications)
    app = replace(app, admin_url=await start_admin_port(context, overview))
    _start_routines(app, overview)
    if load is not None:
        _take_reloads(app, load)
    return app


def _say_started(context: Context) -> None:
    state_dir, folders = str(context.settings.state_dir), len(context.settings.folders)
    context.events.event(Event.SERVICE_STARTED, version=__version__, pid=os.getpid(), state_dir=state_dir, folders=folders)


def _start_routines(app: App, overview: Overview) -> None:
    """What runs beside the work, again and again."""
    life = app.context.life
    life.run(_heartbeat(app, overview), "heartbeat")
    life.run(keep_together(app.context.clock), "one processor")
    signs = life.run(Vitals(app.checks(), app.context.notifier, app.context.clock).keep_giving(), "signs of life")
    life.on_stop(signs.cancel)  # systemd wants none any more, and parts that end in order are not stuck
    life.run(_housekeeping(app), "housekeeping")


async def _heartbeat(app: App, overview: Overview) -> None:
    """Once a second: the status line, the daemon's report, its health, and a look whether somebody else changed the journal."""
    reports = Reports(app.records.journal, app.context.settings.host)
    while True:
        await app.context.clock.sleep(HEARTBEAT_SECONDS)
        app.context.notifier.status(await app.status())
        await reports.keep(overview.report(), app.context.clock.now())
        health = overview.health()
        if health.alive and not health.problems:
            app.notifications.healthy()
        if app.records.journal.changed_by_others():
            app.records.journal.objects_changed.ring_all()
            app.dispatcher.wake()


async def _housekeeping(app: App) -> None:
    """Now and once an hour: endings older than `keep` leave the journal."""
    while True:
        listed = [folder.name for folder in app.context.settings.folders if folder.manifest is not None]
        await app.records.journal.prune(app.context.clock.now(), listed)
        await app.context.clock.sleep(HOUSEKEEPING_SECONDS)


def _take_reloads(app: App, load: Callable[[], Settings]) -> None:
    context = app.context
    reloader = Reloader(load, context.settings, context.life, context.events, context.notifier, app.status)

    def reload() -> None:
        context.life.run(reloader.reload(), "reload")

    context.control.on_reload(reload)
