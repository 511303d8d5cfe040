"""Keeps open pages current: one picture for all of them, made when something has changed and only while somebody looks."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.errors import Unavailable
from watcher.service.page.plots import activity, last_day, last_month
from watcher.service.page.rendering import PageContext, Renderer
from watcher.service.page.words import picture_origins

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from typing import TypeVar

    from watcher.ports import Clock
    from watcher.service.page.plots import Activity
    from watcher.service.page.source import PageSource, Snapshot

    Answer = TypeVar("Answer")

LOOK_SECONDS: Final = 1.0
"""So often the journal is asked whether anything has changed."""
SHORTEST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 1.2
COST_SHARE: Final = 40.0
"""After a picture that took t seconds the next one is made no sooner than this many t later, as far as the longest pause goes."""
SEND_SECONDS: Final = 0.01
"""So much longer the pause is for each open page: what all of them are sent is bounded as well."""
STALE_SECONDS: Final = 10.0
"""A picture is made anew after so long even where nothing changed: "in the last minute" does by itself."""
PLOTS_SECONDS: Final = 20.0
MOST_ORIGINS: Final = 50


@dataclass(frozen=True, slots=True)
class PageSection:
    """A part of the page, and the number of the frame that changed it last."""

    html: str
    since: int
    message: bytes
    """As an event of a stream."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The page at one moment."""

    number: int
    look: PageContext
    sections: Mapping[str, PageSection]

    def news(self, seen: int) -> bytes:
        """The events for who has seen frame number `seen`; they end with this frame's number."""
        events = b"".join(each.message for each in self.sections.values() if each.since > seen)
        return events + f"id: {self.number}\nevent: seen\ndata: {self.number}\n\n".encode() if events else b""


class Live:
    """The frames. `poke` may be called from any thread; all else belongs to the event loop."""

    def __init__(self, source: PageSource, clock: Clock, look: PageContext) -> None:
        """`look` is what does not change: the zone and the token."""
        self._source = source
        self._clock = clock
        self._look = look
        self._renderer = Renderer()
        self._thread = ThreadPoolExecutor(1, "page")
        self._loop = asyncio.get_running_loop()
        self._frame: Frame | None = None
        self._version: object = None
        self._made_at = float("-inf")
        self._cost = 0.0
        self._activities: tuple[Activity, ...] = ()
        self._plotted_at = float("-inf")
        self._making = asyncio.Lock()
        self._poked = asyncio.Event()
        self._changed = asyncio.Condition()
        self._lookers = 0
        self._keeping: asyncio.Task[None] | None = None
        self.closed = False

    async def render(self, work: Callable[[Renderer], Answer]) -> Answer:
        """Have something rendered, in the page's own thread."""
        return await self._loop.run_in_executor(self._thread, work, self._renderer)

    def poke(self) -> None:
        """Something happened: the next picture is made as soon as it may."""
        if not self._lookers:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody looks any more
            self._loop.call_soon_threadsafe(self._poked.set)

    def expire(self) -> None:
        """A button was pressed: whoever asks next sees what it did."""
        self._made_at = float("-inf")
        self.poke()

    async def frame(self) -> Frame:
        """The page now: a frame that is younger than a second, or a new one. Raises Unavailable."""
        if self._frame is None or self._clock.monotonic() - self._made_at >= LOOK_SECONDS:
            await self._refresh()
        if self._frame is None:
            raise Unavailable("the page is closed")
        return self._frame

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """While the context lasts, frames are kept current."""
        self._lookers += 1
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_current(), name="page")
        try:
            yield
        finally:
            self._lookers -= 1
            if not self._lookers:
                await self._end_keeping()

    async def next_frame(self, seen: int, seconds: float) -> Frame | None:
        """A frame after number `seen`, as soon as there is one; None where there was none for so long, or at the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.closed or (self._frame is not None and self._frame.number > seen))
                return None if self.closed else self._frame
        return None

    async def close(self) -> None:
        """End all that wait. May be called twice."""
        self.closed = True
        await self._end_keeping()
        async with self._changed:
            self._changed.notify_all()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _end_keeping(self) -> None:
        task, self._keeping = self._keeping, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # --- making frames --------------------------------------------------------------------------------------------------------

    async def _keep_current(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._poked.wait()
            self._poked.clear()
            await self._clock.sleep(self._rest())
            with contextlib.suppress(Unavailable):  # the journal cannot be read now; the page stays as it is and is tried again
                if self._is_stale() or await self._source.version() != self._version:
                    await self._refresh()

    def _rest(self) -> float:
        """How long the next picture has to wait yet."""
        pause = min(max(SHORTEST_PAUSE, SEND_SECONDS * self._lookers, COST_SHARE * self._cost), LONGEST_PAUSE)
        return max(0.0, self._made_at + pause - self._clock.monotonic())

    def _is_stale(self) -> bool:
        return self._clock.monotonic() - self._made_at >= STALE_SECONDS

    async def _refresh(self) -> None:
        """Make a frame, unless another call has just done so."""
        asked_at = self._clock.monotonic()
        async with self._making:
            if self._made_at >= asked_at or self.closed:
                return
            version = await self._source.version()
            began = self._clock.monotonic()
            picture = await self._source.picture()
            if began - self._plotted_at >= PLOTS_SECONDS:
                hours, self._plotted_at = await self._source.hours(), began
                self._activities = (
                    activity(hours, last_day(picture.now), self._look.zone),
                    activity(hours, last_month(picture.now, self._look.zone), self._look.zone),
                )
            frame = await self._draw(picture, self._activities)
            self._version, self._made_at = version, self._clock.monotonic()
            self._cost = self._made_at - began
        async with self._changed:
            self._frame = frame
            self._changed.notify_all()

    async def _draw(self, picture: Snapshot, activities: Sequence[Activity]) -> Frame:
        before = self._frame
        known = self._source.origins() if before is None else before.look.origins
        origins = known | picture_origins(picture.journal.latest)
        look = replace(self._look, now=picture.now, origins=origins if len(origins) <= MOST_ORIGINS else known)
        drawn = await self.render(lambda renderer: renderer.sections(picture, activities, look))
        number = 1 if before is None else before.number + 1
        sections = {name: _section(name, html, number, before) for name, html in drawn.items()}
        return Frame(number, look, sections)


def _section(name: str, html: str, number: int, before: Frame | None) -> PageSection:
    old = None if before is None else before.sections[name]
    return old if old is not None and old.html == html else PageSection(html, number, event(name, html))


def event(name: str, text: str) -> bytes:
    """An event of a stream of server-sent events. An empty text is one line as well: without any there is no event."""
    lines = "".join(f"data: {line}\n" for line in text.replace("\r", "&#13;").split("\n"))
    return f"event: {name}\n{lines}\n".encode()
