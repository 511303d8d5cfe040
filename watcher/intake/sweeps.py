"""When a folder is looked through as a whole, who waits for that, and what it brought."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from watcher.intake.alarm import Alarm
from watcher.intake.scanner import ScanResult
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.intake.candidates import Candidates
    from watcher.intake.context import IntakeContext
    from watcher.intake.modes import FolderMode
    from watcher.intake.scanner import Scanner

POLL_SHARE: Final = 20
"""A polled folder is scanned for at most one part in so many of the time."""
FEW_WAITING: Final = 1000
"""After candidates were left out, since too many were waited for, the folder is scanned again once only so many are left."""


class Sweeps:
    """The scans of one folder."""

    def __init__(self, name: str, context: IntakeContext, mode: FolderMode, scanner: Scanner, candidates: Candidates) -> None:
        self.last = ScanResult(complete=False)
        self.found_by_scan = 0
        self._name = name
        self._context = context
        self._mode = mode
        self._scanner = scanner
        self._candidates = candidates
        self._alarm = Alarm(context.clock)
        self._waiters: list[asyncio.Future[None]] = []
        self._is_over = False
        self._scanned = False
        self._events_trusted = False

    # --- asked for ------------------------------------------------------------------------------------------------------------

    def ask(self) -> asyncio.Future[None]:
        """Done when a scan that began after this call is over, or when there will be none any more."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._alarm.ring()
        if self._is_over:
            self.release()
        return waiter

    def soon(self) -> None:
        """Scan as soon as may be."""
        self._alarm.ring()

    def later(self, seconds: float) -> None:
        """Scan after so long, if not before."""
        self._alarm.ring_at(self._context.clock.monotonic() + seconds)

    def distrust_events(self) -> None:
        """What the next scan finds was dropped while nobody watched: that tells nothing of the watcher."""
        self._events_trusted = False

    @property
    def are_asked_for(self) -> bool:
        """Whether a scan is to begin now."""
        return self._alarm.is_ringing() or bool(self._waiters)

    @property
    def seconds(self) -> float | None:
        """How long the last scan took; None before the first."""
        return self.last.seconds if self._scanned else None

    def release(self) -> None:
        """Let those who wait for a scan go on."""
        _release(self._take_waiters())

    def cancel(self) -> None:
        """Scan no more, unless it is asked for."""
        self._alarm.cancel()
        self.release()

    def end(self) -> None:
        """No scan will come any more."""
        self._is_over = True
        self.release()

    # --- done -----------------------------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Until it is time for the next one."""
        await self._alarm.wait()
        self._alarm.cancel()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Those who asked for a scan until now wait for what is done in here, and go on then, whatever comes of it."""
        waiters = self._take_waiters()
        try:
            yield
        finally:
            _release(waiters)

    async def scan(self) -> ScanResult:
        """Look through the whole folder, and say what that brought."""
        trusted = self._events_trusted and self._mode.now == "watching"
        result = await self._scanner.full(first=not self._scanned)
        self.last, self._scanned = result, True
        self._events_trusted = True
        self._tell(result, late=result.new if trusted else 0)
        return result

    def _tell(self, result: ScanResult, late: int) -> None:
        self.found_by_scan += late
        self._context.events.event(
            Event.SCAN_FINISHED,
            folder=self._name,
            files=result.files,
            new=result.new,
            seconds=round(result.seconds, 3),
            found_by_scan=late,
        )

    def schedule(self) -> None:
        """Set the time of the next scan."""
        self.later(self._pause())

    def _pause(self) -> float:
        """Until the next scan: of a polled folder as its cost allows; of a watched one long, spread so that they do not meet."""
        settings = self._context.settings
        if self._candidates.overflowed and self._candidates.waiting < FEW_WAITING:
            self._candidates.overflowed = False
            return settings.poll
        spread = settings.rescan * (0.75 + 0.5 * self._context.random())
        if self._mode.now != "polling":
            return spread
        return min(max(settings.poll, self.last.seconds * POLL_SHARE), spread)

    def _take_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._waiters = self._waiters, []
        return waiters


def _release(waiters: list[asyncio.Future[None]]) -> None:
    """Let those who wait for a scan go on; some may have gone by themselves."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
