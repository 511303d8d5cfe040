"""Gives images their turns: as many at once as there are slots, oldest first, never two turns of one image.

Nothing grows with the backlog: what waits, waits in the journal, and only the next few images are held in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.backoff import BACKOFF_CAP_SECONDS, backoff
from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR, Unavailable
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from watcher.delivery.pipeline import Pipeline
    from watcher.model import FileRef, Image, Subtree
    from watcher.ports import Clock, EventLog, Journal

REACH_SECONDS: Final = 0.2
"""Between two looks at which folders hang while any does, or while all slots are used."""
REMEMBERED_SECONDS: Final = 2 * BACKOFF_CAP_SECONDS
"""So long after its rest it is known of an image that its turn broke."""
LONGEST_IDLE: Final = 30.0
"""Seconds after which the journal is looked at again though nobody called."""


class Dispatcher:
    """Runs the pipeline over what the journal says is due, `slots` images at once; that may be changed (reload).

    What lies where `out_of_reach` says gets no turn, and a turn that waits for it uses no slot.
    """

    def __init__(
        self,
        journal: Journal,
        pipeline: Pipeline,
        events: EventLog,
        clock: Clock,
        *,
        slots: int,
        random: Callable[[], float],
        out_of_reach: Callable[[], Collection[Subtree]] = tuple,
    ) -> None:
        self._journal = journal
        self._pipeline = pipeline
        self._events = events
        self._clock = clock
        self.slots = slots
        self._random = random
        self._wake = asyncio.Event()
        self._next: deque[Image] = deque()
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._files: dict[str, FileRef] = {}
        """What the turns are about."""
        self._out_of_reach = out_of_reach
        self._away: Collection[Subtree] = ()
        self._rests: dict[str, tuple[float, int]] = {}
        """Of images whose turn broke: until when (monotonic), and how often in a row."""
        self._resting: dict[str, float] = {}
        """Those that rested when the journal was looked at last."""
        self._looked_at = 0.0

    def wake(self) -> None:
        """There may be something to do. Cheap; call it as often as you like."""
        self._wake.set()

    @property
    def in_flight(self) -> int:
        """Images that have their turn now."""
        return len(self._turns)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        broken = 0
        while True:
            try:
                await self._dispatch()
                broken = 0
            except Exception as error:  # noqa: BLE001 - whatever a look at the journal brings must not end all deliveries
                traceback.print_exception(error, file=sys.stderr)
                broken += 1
                await self._clock.sleep(max(1.0, backoff(broken, self._random())))

    async def _dispatch(self) -> None:
        self._wake.clear()
        await self._use_slots()
        if self._used() >= self.slots:
            await self._wait(REACH_SECONDS)
        else:
            await self._wait_for_work()

    async def _use_slots(self) -> None:
        """Start turns until the slots or the due images are used up."""
        self._away = self._out_of_reach()
        self._start_turns()
        more = True
        while more and self._used() < self.slots:
            more = await self._fill()
            self._start_turns()

    def _used(self) -> int:
        """Slots that are used. A turn of a folder that hangs holds up no other."""
        if not self._away:
            return len(self._turns)
        return sum(1 for file in self._files.values() if not self._is_away(file))

    def _is_away(self, file: FileRef) -> bool:
        return any(subtree.holds(file) for subtree in self._away)

    async def _fill(self) -> bool:
        """Load the next due images; True if there may be more than were asked for."""
        self._looked_at = self._clock.steady()
        limit = self.slots
        found = await self._journal.due(self._looked_at, limit, {*self._turns, *self._at_rest()}, self._away)
        self._next.extend(found)
        return len(found) >= limit

    def _at_rest(self) -> dict[str, float]:
        """The images that rest now, and until when. Those that have rested stay known for a while: the next rest is longer."""
        now = self._clock.monotonic()
        self._rests = {key: rest for key, rest in self._rests.items() if rest[0] > now - REMEMBERED_SECONDS or key in self._turns}
        self._resting = {key: until for key, (until, _) in self._rests.items() if until > now}
        return self._resting

    def _start_turns(self) -> None:
        while self._next and self._used() < self.slots:
            image = self._next.popleft()
            if image.id not in self._turns and not self._is_away(image.file):
                task = asyncio.create_task(self._turn(image), name=f"image {image.id}")
                self._turns[image.id] = task
                self._files[image.id] = image.file
                task.add_done_callback(partial(self._ended, image.id))

    def _ended(self, image_id: str, _: asyncio.Task[None]) -> None:
        self._turns.pop(image_id, None)
        self._files.pop(image_id, None)
        self._wake.set()

    async def _wait_for_work(self) -> None:
        due = await self._journal.next_due(self._looked_at)
        rests = [until - self._clock.monotonic() for until in self._resting.values()]
        waits = [LONGEST_IDLE, *rests, *([due - self._clock.steady()] if due is not None else [])]
        loop = asyncio.get_running_loop()
        end = loop.time() + max(0.005, min(waits))
        while (left := end - loop.time()) > 0 and not self._wake.is_set():
            await self._wait(min(left, REACH_SECONDS) if self._away else left)
            if self._away and self._out_of_reach() != self._away:
                return

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _turn(self, image: Image) -> None:
        try:
            await self._pipeline.process(image)
        except Unavailable as error:
            await self._broken_off(image, str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of one image: a fault of ours must not stop the others
            await self._broken_off(image, _what_broke(error))
        else:
            self._rests.pop(image.id, None)

    async def _broken_off(self, image: Image, reason: str) -> None:
        self._rest(image, reason)
        with contextlib.suppress(Unavailable):  # a journal that is closed by now puts this in order when it is opened again
            await self._journal.interrupted(image.id, self._clock.now())

    def _rest(self, image: Image, reason: str) -> None:
        """Another turn later; paced in memory, since the journal itself may be what is failing."""
        _, tries = self._rests.get(image.id, (0.0, 0))
        wait = max(1.0, backoff(tries + 1, self._random()))
        self._rests[image.id] = (self._clock.monotonic() + wait, tries + 1)
        self._events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason, wait=round(wait, 3))

    async def drain(self, seconds: float) -> int:
        """End: images without a request on its way stop at once, the others have `seconds`. Gives how many were cut off."""
        self._pipeline.stop_following()
        self._next.clear()
        for image_id, task in list(self._turns.items()):
            if not self._pipeline.is_asking(image_id):
                task.cancel()
        pending = set(self._turns.values())
        if pending:
            _, pending = await asyncio.wait(pending, timeout=seconds)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return len(pending)


def _what_broke(error: Exception) -> str:
    """Words for an exception that nobody foresaw; but that there is no descriptor left is nobody's fault."""
    if isinstance(error, OSError) and error.errno in CANNOT_TELL:
        return f"{error.strerror} ({NO_DESCRIPTOR})"
    traceback.print_exception(error, file=sys.stderr)
    return f"internal error ({type(error).__name__}); this is a fault of compressor-watcher, please report it"
