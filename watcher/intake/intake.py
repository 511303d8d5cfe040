"""The intake: watched folders in, complete images into the journal.

Hints, scans and waiting are each folder's own business (folder.py); here are the folders together: started, guarded, replaced
observers, reloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import NotAnswering
from watcher.intake.context import IntakeContext, IntakeSettings
from watcher.intake.emptied import EmptiedDirectories
from watcher.intake.files import ignore_lease_breaks
from watcher.intake.folder import WatchedFolder
from watcher.intake.modes import FolderStatus
from watcher.intake.pools import RootPools
from watcher.intake.roots import Roots
from watcher.intake.watch import ObserverFault, Observers, ObserverSlot
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from watcher.config.rules import FolderRules
    from watcher.model import FileRef, Subtree
    from watcher.ports import Clock, EventLog, Journal

__all__ = ["FolderStatus", "Intake", "IntakeSettings"]

RESTARTS: Final = 3
RESTARTS_WITHIN_SECONDS: Final = 600.0
"""An observer that had to be replaced more often than that is given a rest, and its folders are polled."""
START_PATIENCE_SECONDS: Final = 1.0
"""For all folders to be found and watched, before the others are."""
STOP_PATIENCE_SECONDS: Final = 10.0
"""For the observers' threads to end."""
GUARD_PATIENCE_SECONDS: Final = 60.0
"""A guard that is so late for its round is stuck: a disk that hangs, of which the kernel says nothing."""


class Intake:
    """The folders of one configuration. `on_taken` is called in the loop whenever something new is in the journal."""

    def __init__(
        self,
        rules: Mapping[str, FolderRules],
        settings: IntakeSettings,
        journal: Journal,
        events: EventLog,
        clock: Clock,
        *,
        on_taken: Callable[[], None],
        random: Callable[[], float],
        confinement: str = "",
    ) -> None:
        self.roots = Roots()
        self.pools = RootPools()
        self._rules = dict(rules)
        self._clock = clock
        self._events = events
        self.observers = Observers(self._fault_from_thread)
        self._context = IntakeContext(
            settings,
            journal,
            events,
            clock,
            random,
            self.roots,
            self.pools,
            self.observers,
            on_taken,
            confinement,
            EmptiedDirectories(clock.now),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._folders: dict[str, WatchedFolder] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._helpers: dict[str, asyncio.Task[None]] = {}
        self._restarts: dict[str, deque[float]] = {}
        self._failed = False
        self._end: asyncio.Future[None] | None = None
        self._round_at = clock.monotonic()

    # --- up and down ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Watch every folder, and begin to look through it. A folder that is not there is said, and looked for from now on."""
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        ignore_lease_breaks()
        self.observers.open()
        await self._open(self._rules)
        self._help("guard", self._guard())

    async def stop(self) -> None:
        """Take nothing more. May be called twice, and where nothing was started.

        `pools` stay open, for originals that are still being served and put away: whoever made the intake closes them.
        """
        if self._loop is None:
            return
        tasks = [*self._helpers.values(), *(task for tasks in self._tasks.values() for task in tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for folder in self._folders.values():
            folder.cancel_alarms()
        self._folders.clear()
        self._tasks.clear()
        self.observers.close()
        if retiring := [asyncio.create_task(self._retire(slot)) for slot in self.observers.slots]:
            await asyncio.wait(retiring, timeout=STOP_PATIENCE_SECONDS)
        self._loop = None

    async def _open(self, rules: Mapping[str, FolderRules]) -> None:
        """Begin with these folders. One whose disk or share is slow to answer goes on beginning beside the others."""
        opened = [WatchedFolder(each, self._context) for each in rules.values()]
        for folder in opened:
            self._folders[folder.name] = folder
            self._tasks[folder.name] = [asyncio.create_task(work) for work in (folder.begin(), folder.follow(), folder.sweep())]
            for task in self._tasks[folder.name]:
                task.add_done_callback(self._task_ended)
        if opened:
            await asyncio.wait([self._tasks[folder.name][0] for folder in opened], timeout=START_PATIENCE_SECONDS)

    async def _close(self, name: str) -> None:
        folder = self._folders.pop(name)
        tasks = self._tasks.pop(name)
        if (checking := self._helpers.get(f"check {name}")) is not None:  # it would arm a folder that is there no more
            tasks.append(checking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        folder.cancel_alarms()
        await folder.disarm()
        self.roots.drop(folder.root)
        self.pools.forget(folder.root)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """None of the tasks ends by itself: one that does has hit a fault of ours, or a machine that has nothing left to give."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._failed = True
        if self._end is not None and not self._end.done():
            self._end.set_exception(error)

    def _help(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside, unless the same is still running."""
        if name in self._helpers:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._helpers[name] = task
        task.add_done_callback(lambda _: self._helpers.pop(name, None))
        task.add_done_callback(self._task_ended)

    async def until_broken(self) -> None:
        """Never returns. Raises what has ended a part of the intake: folders would go unwatched from then on."""
        if self._end is not None:
            await asyncio.shield(self._end)

    # --- what others ask ------------------------------------------------------------------------------------------------------

    async def rescan(self) -> None:
        """Look through all folders now; returns when that is done."""
        await asyncio.gather(*(folder.ask_scan() for folder in self._folders.values() if folder.mode != "lost"))

    def look_afresh(self) -> None:
        """The journal may lack what was taken lately: look through all folders again, soon."""
        for folder in self._folders.values():
            folder.look_afresh()

    async def reload(self, rules: Mapping[str, FolderRules], settings: IntakeSettings | None = None) -> None:
        """Other folders, rules and times, for files detected from now on. Nothing that was heard or is waited for is lost."""
        if settings is not None:
            self._context.settings = settings
        moved = {name for name, each in rules.items() if name in self._folders and _is_elsewhere(self._rules[name], each)}
        for name in [name for name in self._folders if name not in rules or name in moved]:
            await self._close(name)
        for name, folder in self._folders.items():
            if self._rules[name] != rules[name]:
                folder.change_rules(rules[name])
        before, self._rules = self._rules, dict(rules)
        await self._open({name: each for name, each in rules.items() if name not in before or name in moved})

    def look_at(self, file: FileRef) -> None:
        """Another version than was taken is at the path: look again. A folder that is not configured any more is left alone."""
        if (folder := self._folders.get(file.folder)) is not None:
            folder.look_at(file.relative)

    def emptied(self, folder: str) -> EmptiedDirectories | None:
        """What removes the emptied directories of a folder; None where they stay."""
        rules = self._rules.get(folder)
        return self._context.emptied if rules is not None and rules.folder.prune_empty else None

    def out_of_reach(self) -> frozenset[Subtree]:
        """What is not available at this moment, since its root or a mount below it is away or hangs."""
        return frozenset(each for folder in self._folders.values() for each in folder.out_of_reach())

    def away(self) -> frozenset[Subtree]:
        """The same of what stays so until somebody does something."""
        return frozenset(each for folder in self._folders.values() for each in folder.away())

    def is_quiet(self) -> bool:
        """Whether nothing is heard, scanned or waited for in any folder that is there."""
        return not self._replacing() and all(folder.is_quiet() for folder in self._folders.values())

    def waiting(self) -> int:
        """Files that are being waited for until they are complete."""
        return sum(folder.waiting() for folder in self._folders.values())

    def unreadable(self) -> int:
        """Directories and files that cannot be read, besides the files that the journal knows as such."""
        return sum(folder.unreadable() for folder in self._folders.values())

    def alive(self) -> bool:
        """Whether everything works that has to, and the guard makes its rounds; observers that are being replaced count."""
        late = self._clock.monotonic() - self._round_at - self._context.settings.guard
        return not self._failed and late < GUARD_PATIENCE_SECONDS

    def status(self) -> list[FolderStatus]:
        """How each folder does, in the order of the configuration."""
        return [self._folders[name].status() for name in self._rules if name in self._folders]

    # --- on guard -------------------------------------------------------------------------------------------------------------

    async def _guard(self) -> None:
        """Every few seconds: are the roots the ones that were armed, the observers alive, the canaries heard?"""
        while True:
            self._round_at = self._clock.monotonic()
            await self._clock.sleep(self._context.settings.guard)
            self.observers.check()
            for name, folder in self._folders.items():
                if folder.is_armed:
                    self._help(f"check {name}", self._check(folder))

    async def _check(self, folder: WatchedFolder) -> None:
        """One folder's turn. It waits for nobody else's, and nobody waits for it."""
        unwatched = folder.mode == "watching" and not self.observers.watches(folder.name)
        if unwatched and not self._replacing():
            await folder.arm("it had no watcher")
            return
        with contextlib.suppress(NotAnswering, OSError):  # nothing can be told now; the next round asks again
            await folder.check()
            if not await folder.hears():
                self.observers.distrust(folder.name)

    def _fault_from_thread(self, slot: ObserverSlot, fault: ObserverFault) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._faulty, slot, fault)

    def _faulty(self, slot: ObserverSlot, fault: ObserverFault) -> None:
        self._help(f"replace {id(slot)}", self._replace(slot, fault))

    def _replacing(self) -> bool:
        return any(name.startswith("replace ") for name in self._helpers)

    async def _replace(self, slot: ObserverSlot, fault: ObserverFault) -> None:
        """Throw an observer away; its folders get another one and are looked through, or are polled if that happens too often."""
        await self._retire(slot)
        names = list(slot.watched)
        if fault is ObserverFault.OVERFLOW:
            message = "the kernel dropped events; the folders are looked through"
            hint = "raise fs.inotify.max_queued_events where this happens often"
            self._events.event(Event.WATCH_OVERFLOW, folders=names, message=message, hint=hint)
        await self._clock.sleep(self._context.settings.pause)
        for name in names:
            folder = self._folders.get(name)
            if folder is None or folder.mode != "watching" or self.observers.watches(name):
                continue
            if self._too_often(name):
                folder.fall_back("its watcher failed again and again", "it is tried again every minute")
            else:
                await folder.arm("" if fault is ObserverFault.OVERFLOW else "its watcher had gone deaf and was replaced")

    async def _retire(self, slot: ObserverSlot) -> None:
        """Stop an observer. One whose threads hang is left behind."""
        with contextlib.suppress(NotAnswering):
            await self._context.in_own_thread(f"observer {id(slot)}", partial(self.observers.retire, slot))

    def _too_often(self, name: str) -> bool:
        now = self._clock.monotonic()
        times = self._restarts.setdefault(name, deque())
        times.append(now)
        while times[0] < now - RESTARTS_WITHIN_SECONDS:
            times.popleft()
        return len(times) > RESTARTS


def _is_elsewhere(before: FolderRules, after: FolderRules) -> bool:
    """Whether the folder has to be watched anew."""
    old, new = before.folder, after.folder
    return (old.path, old.recursive, old.polling) != (new.path, new.recursive, new.polling)
