"""Builds the admin port: what it shows of the other parts, and its server. Off unless `[admin] listen` is set."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from watcher import __version__
from watcher.assembly.reports import daemon_report
from watcher.config.schema import split_address
from watcher.figures import DaemonFigures, Status
from watcher.service.admin import AdminServer, Health
from watcher.service.metrics import Metrics
from watcher.service.password import PasswordCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.assembly.parts import ApiAccess, Context, Records
    from watcher.config.schema import Settings
    from watcher.figures import DaemonReport
    from watcher.intake.intake import Intake
    from watcher.notify.office import Office

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
    notifications: Office
    since: float = field(default_factory=time.time)
    _status: Status | None = None
    _read_at: float = float("-inf")

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
            figures = await self.records.journal.figures(self.context.clock.now())
            daemon = DaemonFigures(str(self.context.settings.state_dir), os.getpid(), self.since)
            self._status = Status.of(daemon, self.report(), figures)
        return self._status


def make_metrics(settings: Settings) -> Metrics | None:
    """The counters; None where nobody can ask for them."""
    return None if settings.admin.listen is None else Metrics(__version__, [folder.name for folder in settings.folders])


async def start_admin_port(context: Context, overview: Overview) -> None:
    """Listen, where the configuration says so."""
    listen, metrics = context.settings.admin.listen, context.metrics
    if listen is None or metrics is None:
        return
    server = AdminServer(overview, metrics, PasswordCheck(lambda: password(context.settings), context.clock))
    await server.start(*split_address(listen))
    context.life.on_stop(server.stop)


def password(settings: Settings) -> str | None:
    """The one in force now."""
    secret = settings.admin.password
    return None if secret is None else secret.get_secret_value()
