"""What the parts of the intake share: the edges they are given, the pools their blocking work runs in, and their times."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.intake.emptied import EmptiedDirectories
from watcher.intake.pools import Lane
from watcher.intake.settle import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.intake.pools import RootPools
    from watcher.intake.roots import Roots
    from watcher.intake.watch import Observers
    from watcher.ports import Clock, EventLog, Journal

Answer = TypeVar("Answer")
OWN_THREADS: Final = "//observers"
"""Begins the names of threads that belong to no folder's root."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Times in seconds."""

    rescan: float = 300.0
    """Between full scans of a folder; each is spread by a quarter to either side."""
    settle: float = 2.0
    """How long a file stands still where the close cannot be seen."""
    max_wait: float = 3600.0
    """A file that stays cut or empty that long is given up."""
    guard: float = 5.0
    """Between checks of the folders' roots and the observers' threads."""
    canary: float = 60.0
    """Until the first proof that a watched folder's events arrive; infinite where none is wanted."""
    canary_longest: float = 3600.0
    """Between two of them in the end: while nothing else is heard, each time between them is twice the one before."""
    canary_patience: float = 5.0
    """How long the event of a canary may take."""
    rearm: float = 60.0
    """Between tries to watch again where a folder had to fall back to polling."""
    poll: float = 1.0
    """The shortest time between two scans of a polled folder."""
    pause: float = 1.0
    """Between an observer thrown away and the next one, so that a storm can pass."""

    @property
    def canary_times(self) -> tuple[float, float]:
        """The first and the longest time between canaries."""
        return self.canary, max(self.canary, self.canary_longest)


@dataclass(slots=True)
class IntakeContext:
    """Everything a folder needs of the world. `settings` is replaced on reload."""

    settings: IntakeSettings
    journal: Journal
    events: EventLog
    clock: Clock
    random: Callable[[], float]
    roots: Roots
    pools: RootPools
    observers: Observers
    on_taken: Callable[[], None]
    confinement: str = ""
    """What besides permissions keeps folders from this process, and how they are opened to it; for people."""
    emptied: EmptiedDirectories = field(default_factory=lambda: EmptiedDirectories(time.time))
    scanning: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Full scans of local folders at a time; those of shares mostly wait, and must not keep others waiting."""
    arming: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
    """Trees that are walked to be watched, at a time."""

    @property
    def patience(self) -> Patience:
        """What `settle` wants to know."""
        return Patience(self.settings.settle, self.settings.max_wait)

    async def in_thread(self, root: Path, work: Callable[[], Answer]) -> Answer:
        """Run what blocks on a folder's file system, in a thread of that folder. Raises NotAnswering where it hangs."""
        return await self.pools.run(root, Lane.INTAKE, work)

    async def in_own_thread(self, name: str, work: Callable[[], Answer]) -> Answer:
        """Run what waits for threads of an observer, which may hang by themselves: apart from the folders' threads."""
        return await self.pools.run(Path(f"{OWN_THREADS}/{name}"), Lane.INTAKE, work)
