"""Brings one receiver what it wants: in the order of the audit file, each thing until it is confirmed, at its own pace."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from watcher.errors import WatcherError
from watcher.notify.messages import Gathered, ending_message, outage_message
from watcher.notify.pacing import pause_after
from watcher.notify.sender import NotConfirmed, confirmation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from watcher.model import AuditLine, Record
    from watcher.notify.messages import Message
    from watcher.notify.plan import ReceiverPlan
    from watcher.notify.sender import Sender
    from watcher.ports import Clock

BATCH: Final = 100
"""Lines that are read at a time."""
LOOK_SECONDS: Final = 5.0
"""How often a relay looks for itself whether there is anything."""
ALARM_SECONDS: Final = 1.0
"""Outages that come together are told people in one message: so long is waited for more of them."""
MOST_OUTAGES: Final = 1000
"""Outages kept for a receiver that is down; the oldest go first."""


class ReceiverObserver(Protocol):
    """Who hears how a receiver does."""

    def confirmed(self, name: str, seq: int) -> None:
        """Every line up to this one is dealt with."""

    def idle(self) -> None:
        """There is nothing more to tell it for now."""

    def unavailable(self, name: str, message: str, hint: str) -> None:
        """It did not confirm, and why. Told at each failure: whoever logs it says it once."""

    def recovered(self, name: str, seconds: float, lost: int) -> None:
        """It confirms again, after so many seconds; `lost`: lines that the journal had let go of meanwhile."""


class ReceiverRelay:
    """One receiver. `lines` gives the lines of the audit file behind a number, in order, at most so many."""

    def __init__(
        self,
        plan: ReceiverPlan,
        position: int,
        sender: Sender,
        lines: Callable[[int, int], Awaitable[Sequence[AuditLine]]],
        report: ReceiverObserver,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        """`position` is the number of the last line that it has dealt with."""
        self.plan = plan
        self.position = position
        self._sender = sender
        self._lines = lines
        self._report = report
        self._clock = clock
        self._random = random
        self._news = asyncio.Event()
        self._again = asyncio.Event()
        self._alarm = asyncio.Event()
        self._outages: deque[tuple[Record, str]] = deque(maxlen=MOST_OUTAGES)
        self._failures = 0
        self._down_since = 0.0
        self._lost = 0
        self._hurry = False
        self.is_idle = False

    # --- what it is told --------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """There may be new lines."""
        self.is_idle = False
        self._news.set()

    def tell(self, outage: Record, identity: str) -> None:
        """A line of the log that the receiver may want to know of."""
        if self.plan.wants_outage(outage):
            self.is_idle = False
            self._outages.append((outage, identity))
            self._alarm.set()
            self._news.set()

    def try_now(self) -> None:
        """Somebody may have fixed it: no need to wait for the next try."""
        self._again.set()

    def hurry(self) -> None:
        """The daemon is about to end: what is being gathered is told now."""
        self._hurry = True
        self.look()
        self._alarm.set()

    @property
    def is_down(self) -> bool:
        """Whether it did not confirm what was sent last."""
        return self._failures > 0

    # --- its way ----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._news.clear()
                await self._tell_outages()
                if not (self.plan.follows and await self._some()):
                    await self._rest()
        finally:
            await self._sender.aclose()

    async def _rest(self) -> None:
        self.is_idle = not self._news.is_set()
        if self.is_idle:
            self._report.idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._news.wait()

    async def _some(self) -> bool:
        """A batch of lines. False where there is none."""
        lines = await self._read(self.position)
        if not lines:
            return False
        self._note_gap(lines[0].seq)
        if self.plan.gathers is not None:
            return await self._gather(lines)
        for line in lines:
            await self._tell_outages()
            if self.plan.wants(line):
                await self._deliver(ending_message(line))
            self._move_to(line.seq)
        return True

    async def _read(self, position: int) -> Sequence[AuditLine]:
        try:
            return await self._lines(position, BATCH)
        except WatcherError:  # the journal cannot be read now; who keeps it says so
            return ()

    def _note_gap(self, seq: int) -> None:
        """Lines that were let go of (`keep`) before the receiver got them."""
        self._lost += max(0, seq - self.position - 1)

    def _move_to(self, seq: int) -> None:
        self.position = seq
        self._report.confirmed(self.plan.name, seq)

    # --- gathered ---------------------------------------------------------------------------------------------------------------

    async def _gather(self, lines: Sequence[AuditLine]) -> bool:
        """Wait until the first ending of `lines` has waited long enough, then tell all that there are."""
        first = next((line for line in lines if self.plan.wants(line)), None)
        if first is None:
            self._move_to(lines[-1].seq)
            return True
        await self._wait_until(first.at + (self.plan.gathers or 0.0))
        gathered, last = Gathered(keeps_lines=not self.plan.is_for_people), self.position
        while (lines := await self._read(last)) and not gathered.is_full:
            for line in lines:
                if self.plan.wants(line):
                    gathered.add(line)
                last = line.seq
        if gathered.first is not None:
            await self._deliver(gathered.message(self._clock.now()))
        self._move_to(last)
        return True

    async def _wait_until(self, moment: float) -> None:
        """Until then (Unix seconds), or until the daemon ends; outages are told meanwhile. A clock that is set is no matter."""
        end = self._clock.monotonic() + min(moment - self._clock.now(), self.plan.gathers or 0.0)
        while not self._hurry and (left := end - self._clock.monotonic()) > 0:
            self.is_idle = not self._outages
            self._alarm.clear()
            await self._tell_outages()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, 60.0)):
                    await self._alarm.wait()

    # --- until it is confirmed --------------------------------------------------------------------------------------------------

    async def _tell_outages(self) -> None:
        if self._outages and self.plan.is_for_people and not self._hurry:
            await self._clock.sleep(ALARM_SECONDS)
        while self._outages:
            told = tuple(self._outages) if self.plan.is_for_people else (self._outages[0],)
            await self._deliver(_together([outage_message(*each) for each in told]))
            for each in told:
                if self._outages and self._outages[0] is each:
                    self._outages.popleft()

    async def _deliver(self, message: Message) -> None:
        """Send it until it is confirmed."""
        while True:
            try:
                await confirmation(self._sender.send(message))
            except NotConfirmed as refusal:
                await self._fail(refusal)
            else:
                self._succeed()
                return

    async def _fail(self, refusal: NotConfirmed) -> None:
        self._failures += 1
        if self._failures == 1:
            self._down_since = self._clock.monotonic()
        self._report.unavailable(self.plan.name, refusal.message, refusal.hint)
        await self._pause(pause_after(self._failures, self._random(), refusal.retry_after))

    async def _pause(self, seconds: float) -> None:
        """So long, or until it is worth a try."""
        self._again.clear()
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._again.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _succeed(self) -> None:
        if self._failures or self._lost:
            seconds = self._clock.monotonic() - self._down_since if self._failures else 0.0
            self._report.recovered(self.plan.name, seconds, self._lost)
            self._failures, self._lost = 0, 0


def _together(messages: Sequence[Message]) -> Message:
    """Several messages for people in one."""
    if len(messages) == 1:
        return messages[0]
    first = messages[0]
    text = "\n\n".join(f"{each.title}\n{each.text}" for each in messages)
    return type(first)(first.id, first.body, f"{first.title}, and {len(messages) - 1} more", text)
