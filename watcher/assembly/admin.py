"""Builds the admin port: what it shows of the other parts, and its server. Off unless `[admin] listen` is set."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from watcher import __version__
from watcher.assembly.page import PATIENCE_SECONDS, PageView
from watcher.assembly.reports import daemon_report
from watcher.config.values import split_address
from watcher.network.listening import origin
from watcher.service.admin import AdminServer, Health
from watcher.service.metrics import Metrics
from watcher.service.password import PasswordCheck
from watcher.shown.figures import DaemonFigures, JournalFigures, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.assembly.parts import ApiAccess, Context, Records
    from watcher.config.schema import Settings
    from watcher.intake.intake import Intake
    from watcher.notify.supervisor import NotifierSupervisor
    from watcher.service.page.pages import PageRoutes
    from watcher.shown.figures import HostFigures
    from watcher.shown.report import DaemonReport

FRESH_SECONDS: Final = 1.0
"""So long the figures are kept: however many look, they are worked out once a second."""
USABLE: Final = ("reachable", "throttled")


@dataclass(slots=True)
class Overview:
    """What the admin port shows of the other parts."""

    context: Context
    records: Records
    api: ApiAccess
    intake: Intake
    is_alive: Callable[[], bool]
    notifications: NotifierSupervisor
    since: float = field(default_factory=time.time)
    _status: Status | None = None
    _read_at: float = float("-inf")
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    def report(self) -> DaemonReport:
        """What the daemon says of itself."""
        return daemon_report(self.api.gate.state, self.intake.status(), self.notifications.states)

    def health(self) -> Health:
        """See `watcher.service.admin.Source`."""
        report = self.report()
        lost = sum(not folder.is_fine for folder in report.folders)
        problems = []
        if self.context.control.stopping.is_set():
            problems.append("stopping")
        if lost:
            problems.append(f"{lost} of {len(report.folders)} folders are away")
        if report.api.state not in USABLE:
            problems.append(f"the API: {report.api.words}")
        return Health(self.is_alive(), tuple(problems))

    async def status(self) -> Status:
        """See `watcher.service.admin.Source`."""
        now = self.context.clock.monotonic()
        if self._status is None or now - self._read_at >= FRESH_SECONDS:
            self._read_at = now
            figures, hosts = await self._figures()
            self._status = replace(Status.of(self.daemon(), self.report(), figures), hosts=hosts)
        return self._status

    async def _figures(self) -> tuple[JournalFigures, Sequence[HostFigures]]:
        """Those of the last time while the journal's server is away: what is said of this process is not kept waiting."""
        journal, last = self.records.journal, self._status
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await journal.figures(self.context.clock.now()), await journal.hosts()
        except TimeoutError:
            return (JournalFigures(), ()) if last is None else (last.journal, last.hosts)

    async def status_of_host(self, host: str) -> Status | None:
        """See `watcher.service.admin.Source`."""
        async with self._one_at_a_time:
            seen = await self._view().picture_of_host(host)
            hosts = [each for each in (await self._figures())[1] if each.name == host]
        return None if seen is None else replace(seen.status, hosts=hosts)

    def _view(self) -> PageView:
        return PageView(self.context, self.records, self.daemon, self.report)

    def daemon(self) -> DaemonFigures:
        """This process."""
        return DaemonFigures(str(self.context.settings.state_dir), os.getpid(), self.since)

    def pages(self) -> PageRoutes:
        """The page, told of every event of the log."""
        from watcher.service.page.pages import PageRoutes  # jinja2, only where somebody can look

        pages = PageRoutes(self._view(), self.context.clock, __version__)
        self.context.events.observe(lambda _event, _fields: pages.live.poke())
        return pages


def make_metrics(settings: Settings) -> Metrics | None:
    """The counters; None where nobody can ask for them."""
    return None if settings.admin.listen is None else Metrics(__version__, [folder.name for folder in settings.folders])


async def start_admin_port(context: Context, overview: Overview) -> str | None:
    """Listen, where the configuration says so. Gives the address of the page."""
    listen, metrics = context.settings.admin.listen, context.metrics
    if listen is None or metrics is None:
        return None
    pages = overview.pages()
    check = PasswordCheck(lambda: password(context.settings), context.clock)
    server = AdminServer(overview, metrics, check, pages.routes())
    context.life.on_stop(server.stop)
    context.life.on_stop(pages.close)
    host, port = split_address(listen)
    return origin(host, await server.start(host, port))


def password(settings: Settings) -> str | None:
    """The one in force now."""
    secret = settings.admin.password
    return None if secret is None else secret.get_secret_value()
