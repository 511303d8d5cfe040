"""The heartbeat: tells a watchdog elsewhere, again and again, that the daemon is healthy; when it stops, that one says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from watcher.notify.sender import NotConfirmed, confirmation

if TYPE_CHECKING:
    from watcher.notify.plan import ReceiverPlan
    from watcher.notify.relay import ReceiverObserver
    from watcher.ports import Clock

FRESH_SECONDS: Final = 10.0
"""So long the daemon's word that it is healthy counts: one that is stuck says nothing."""
LOOK_SECONDS: Final = 0.5


class HeartbeatSender(Protocol):
    """A way to the watchdog."""

    async def beat(self) -> str:
        """Returns once it has answered well. Raises NotConfirmed."""

    async def aclose(self) -> None:
        """Let go of everything."""


class Heartbeat:
    """One heartbeat. A beat that is not answered well is not made up for: the next one comes in its time."""

    def __init__(self, plan: ReceiverPlan, sender: HeartbeatSender, report: ReceiverObserver, clock: Clock) -> None:
        self.plan = plan
        self._sender = sender
        self._report = report
        self._clock = clock
        self._healthy_at = float("-inf")
        self._down_since: float | None = None

    def healthy(self) -> None:
        """The daemon is well now."""
        self._healthy_at = self._clock.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        due = self._clock.monotonic()
        try:
            while True:
                now = self._clock.monotonic()
                if now >= due and now - self._healthy_at <= FRESH_SECONDS:
                    due = now + (self.plan.heartbeat or 0.0)
                    await self._beat()
                await self._clock.sleep(min(LOOK_SECONDS, max(0.01, due - self._clock.monotonic())))
        finally:
            await self._sender.aclose()

    async def _beat(self) -> None:
        try:
            await confirmation(self._sender.beat())
        except NotConfirmed as refusal:
            self._down_since = self._down_since or self._clock.monotonic()
            self._report.unavailable(self.plan.name, refusal.message, refusal.hint)
            return
        if self._down_since is not None:
            self._report.recovered(self.plan.name, self._clock.monotonic() - self._down_since, 0)
            self._down_since = None
