"""Builds the notifications: what receivers hear of the other parts. Receivers come and go with a reload."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Unavailable
from watcher.notify.plan import OUTAGES, ReceiverPlan
from watcher.notify.supervisor import NotifierSupervisor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.assembly.parts import Context, Records
    from watcher.config.schema import Settings
    from watcher.model import Event
    from watcher.records.bell import Bell
    from watcher.service.observed_log import ObservedLog

LOOK_SECONDS: Final = 0.1
"""Receivers are told to look no oftener than that: what was written meanwhile they find in one look."""
STOP_SECONDS: Final = 2.0
"""A stop gives receivers so long for the last endings; what they do not confirm by then is told after the next start."""


class OutageListener:
    """Hears of outages in whatever thread they are logged, and hands them to the loop; keeps them until somebody listens."""

    def __init__(self, log: ObservedLog) -> None:
        self._loop = asyncio.get_running_loop()
        self._supervisor: NotifierSupervisor | None = None
        self._kept: list[tuple[Event, dict[str, Any]]] = []
        log.observe(self._heard)

    def use(self, supervisor: NotifierSupervisor) -> None:
        """Tell this one from now on, and what was heard before."""
        self._supervisor = supervisor
        kept, self._kept = self._kept, []
        for event, fields in kept:
            supervisor.heard(event, fields)

    def _heard(self, event: Event, fields: Mapping[str, Any]) -> None:
        met_elsewhere = "host" in fields and str(event).startswith("api.")  # that host tells its receivers
        if event in OUTAGES and not met_elsewhere and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hand_on, event, dict(fields))

    def _hand_on(self, event: Event, fields: dict[str, Any]) -> None:
        if self._supervisor is None:
            self._kept.append((event, fields))
        else:
            self._supervisor.heard(event, fields)


async def start_notifications(context: Context, records: Records, outages: OutageListener) -> NotifierSupervisor:
    """Begin to tell the receivers of the configuration."""
    life, relay = context.life, records.relay
    settings = context.settings
    file = str(settings.journal_path) if settings.journal is None else None
    supervisor = NotifierSupervisor(file, records.journal.followers, context.events, context.clock)
    life.run(_use(supervisor, settings), "receivers")
    outages.use(supervisor)
    life.run(_ring(relay.written, supervisor), "notifications")

    async def stop() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await relay.flush()
        supervisor.look()
        await supervisor.settle(STOP_SECONDS)
        await supervisor.stop()

    def reload(settings: Settings) -> None:
        life.run(_use(supervisor, settings), "receivers")

    life.on_stop(stop)
    life.on_reload(reload)
    await asyncio.sleep(0)  # where new receivers begin is asked for before anything can end
    return supervisor


async def _use(supervisor: NotifierSupervisor, settings: Settings) -> None:
    """Have these receivers told. Beside the rest: a journal that takes nothing now holds up neither a start nor a reload."""
    with contextlib.suppress(Unavailable):  # the daemon ends
        await supervisor.use(plans(settings))


def plans(settings: Settings) -> list[ReceiverPlan]:
    """The receivers of a configuration."""
    return [ReceiverPlan.of(name, receiver) for name, receiver in settings.notify.items()]


async def _ring(written: Bell, supervisor: NotifierSupervisor) -> None:
    """At once for the first line after a while; while many come, now and then."""
    listener = written.listen()
    while True:
        await listener.wait()
        listener.clear()
        supervisor.look()
        await asyncio.sleep(LOOK_SECONDS)
