"""All receivers at work: who comes and goes, who is told to look, and when nobody has anything left to do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.notify.command import AppriseSender, CommandSender
from watcher.notify.heartbeat import Heartbeat
from watcher.notify.relay import ReceiverRelay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from watcher.model import AuditLine, Record
    from watcher.network.proxies import Proxies
    from watcher.notify.plan import ReceiverPlan
    from watcher.notify.relay import ReceiverObserver
    from watcher.notify.sender import Sender
    from watcher.notify.web import WebSender
    from watcher.ports import Clock

SETTLE_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Ways:
    """What every way to a receiver is made with: the proxies, and the environment that programs are run in."""

    proxies: Proxies
    environment: Mapping[str, str]

    def web(self, plan: ReceiverPlan, clock: Clock) -> WebSender:
        """The way to a URL."""
        from watcher.notify.web import WebSender  # late: two thirds of what the process would load

        return WebSender(plan, self.proxies, clock.now)

    def sender(self, plan: ReceiverPlan, clock: Clock) -> Sender:
        """The way that a plan names."""
        if plan.command:
            return CommandSender(plan, self.environment)
        if plan.apprise:
            return AppriseSender(plan, self.environment)
        return self.web(plan, clock)


class Receivers:
    """Keeps a relay or a heartbeat for each receiver. `lines` gives the lines of the audit file behind a number."""

    def __init__(
        self,
        ways: Ways,
        lines: Callable[[int, int], Awaitable[Sequence[AuditLine]]],
        report: ReceiverObserver,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._ways = ways
        self._lines = lines
        self._report = report
        self._clock = clock
        self._random = random
        self._couriers: dict[str, ReceiverRelay] = {}
        self._hearts: dict[str, Heartbeat] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def use(self, plans: Iterable[ReceiverPlan], positions: Mapping[str, int]) -> None:
        """Have these receivers and no others. One whose plan has not changed goes on, and is tried now."""
        wanted = {plan.name: plan for plan in plans}
        at_work = {name: relay.plan for name, relay in self._couriers.items()}
        at_work |= {name: heartbeat.plan for name, heartbeat in self._hearts.items()}
        reached = {name: relay.position for name, relay in self._couriers.items()}
        await self._end([name for name, plan in at_work.items() if wanted.get(name) != plan])
        for relay in self._couriers.values():
            relay.try_now()
        for name, plan in wanted.items():
            if name not in self._tasks:
                self._begin(plan, reached.get(name, positions.get(name, 0)))

    def _begin(self, plan: ReceiverPlan, position: int) -> None:
        if plan.heartbeat is not None:
            heartbeat = self._hearts[plan.name] = Heartbeat(plan, self._ways.web(plan, self._clock), self._report, self._clock)
            self._tasks[plan.name] = asyncio.create_task(heartbeat.run())
            return
        sender = self._ways.sender(plan, self._clock)
        relay = ReceiverRelay(plan, position, sender, self._lines, self._report, self._clock, self._random)
        self._couriers[plan.name] = relay
        self._tasks[plan.name] = asyncio.create_task(relay.run())

    async def _end(self, names: Sequence[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for name in names:
            self._couriers.pop(name, None)
            self._hearts.pop(name, None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> None:
        """There are new lines in the audit file."""
        for relay in self._couriers.values():
            relay.look()

    def tell(self, outage: Record, identity: str) -> None:
        """An outage, or the end of one."""
        for relay in self._couriers.values():
            relay.tell(outage, identity)

    def healthy(self) -> None:
        """The daemon is well now."""
        for heartbeat in self._hearts.values():
            heartbeat.healthy()

    async def settle(self, patience: float, *, hurry: bool) -> None:
        """Tell what there is to tell, as far as receivers confirm and `patience` (seconds) lasts. `hurry`: gather no longer."""
        for relay in self._couriers.values():
            if hurry:
                relay.hurry()
            else:
                relay.look()
        deadline = self._clock.monotonic() + patience
        while self._clock.monotonic() < deadline:
            if all(relay.is_idle or relay.is_down for relay in self._couriers.values()):
                return
            await self._clock.sleep(SETTLE_LOOK_SECONDS)

    async def stop(self) -> None:
        """End all; what is under way is given up."""
        await self._end(list(self._tasks))
