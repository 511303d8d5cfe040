"""The intake: watched folders in, complete images into the journal.

Hints, scans and waiting are each folder's own business (folder.py); here are the folders together: started, guarded, replaced
observers, reloaded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import NotAnswering
from watcher.intake.context import IntakeContext, IntakeSettings
from watcher.intake.files import ignore_lease_breaks
from watcher.intake.folder import FolderStatus, WatchedFolder
from watcher.intake.pools import Lane, RootPools
from watcher.intake.roots import Roots
from watcher.intake.watch import Observers, ObserverSlot, Trouble
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from watcher.config.rules import FolderRules
    from watcher.model import FileRef
    from watcher.ports import Clock, EventLog, Journal

__all__ = ["FolderStatus", "Intake", "IntakeSettings"]

RESTARTS: Final = 3
RESTARTS_WITHIN_SECONDS: Final = 600.0
"""An observer that had to be replaced more often than that is given a rest, and its folders are polled."""
ARM_AT_ONCE: Final = 8
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
        self._tools = IntakeContext(
            settings,
            journal,
            events,
            clock,
            random,
            self.roots,
            self.pools,
            Observers(self._trouble_from_thread),
            on_taken,
            confinement,
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
        self._tools.observers.open()
        await self._open(self._rules)
        self._help("guard", self._guard())

    async def stop(self) -> None:
        """Take nothing more. May be called twice, and where nothing was started."""
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
        await self._tools.in_own_thread(self._tools.observers.close)
        self.pools.close()
        self._loop = None

    async def _open(self, rules: Mapping[str, FolderRules]) -> None:
        at_once = asyncio.Semaphore(ARM_AT_ONCE)

        async def arm(folder: WatchedFolder) -> None:
            async with at_once:
                await folder.arm()

        opened = [WatchedFolder(each, self._tools) for each in rules.values()]
        for folder in opened:
            self._folders[folder.name] = folder
        await asyncio.gather(*(arm(folder) for folder in opened))
        for folder in opened:
            tasks = [asyncio.create_task(folder.follow()), asyncio.create_task(folder.sweep())]
            self._tasks[folder.name] = tasks
            for task in tasks:
                task.add_done_callback(self._task_ended)

    async def _close(self, name: str) -> None:
        folder = self._folders.pop(name)
        tasks = self._tasks.pop(name)
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
        """Inspection through all folders now; returns when that is done."""
        await asyncio.gather(*(folder.ask_scan() for folder in self._folders.values() if folder.mode != "lost"))

    async def reload(self, rules: Mapping[str, FolderRules], settings: IntakeSettings | None = None) -> None:
        """Other folders, rules and times, for files detected from now on. Nothing that was heard or is waited for is lost."""
        if settings is not None:
            self._tools.settings = settings
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

    def is_quiet(self) -> bool:
        """Whether nothing is heard, scanned or waited for in any folder that is there."""
        return not self._replacing() and all(folder.is_quiet() for folder in self._folders.values())

    def waiting(self) -> int:
        """Files that are being waited for until they are complete."""
        return sum(folder.waiting() for folder in self._folders.values())

    def alive(self) -> bool:
        """Whether everything works that has to, and the guard makes its rounds; observers that are being replaced count."""
        late = self._clock.monotonic() - self._round_at - self._tools.settings.guard
        return not self._failed and late < GUARD_PATIENCE_SECONDS

    def status(self) -> list[FolderStatus]:
        """How each folder does, in the order of the configuration."""
        return [self._folders[name].status() for name in self._rules if name in self._folders]

    # --- on guard -------------------------------------------------------------------------------------------------------------

    async def _guard(self) -> None:
        """Every few seconds: are the roots the ones that were armed, the observers alive, the canaries heard?"""
        while True:
            self._round_at = self._clock.monotonic()
            await self._clock.sleep(self._tools.settings.guard)
            self._tools.observers.check()
            near = [each.root for each in self._folders.values() if self.roots.is_near(each.root)]
            healthy = await asyncio.gather(*(self._is_healthy(root) for root in near))
            sick = {root for root, well in zip(near, healthy, strict=True) if not well}
            for name, folder in list(self._folders.items()):
                orphan = folder.mode == "watching" and not self._tools.observers.watches(name) and not self._replacing()
                if orphan and not self._tools.watching.locked():
                    self._help(f"check {name}", folder.arm("it had no watcher"))
                elif folder.needs_check(healthy=folder.root not in sick):
                    self._help(f"check {name}", folder.check())
                if not await folder.canary():
                    self._tools.observers.distrust(name)

    async def _is_healthy(self, root: Path) -> bool:
        try:
            return await self.pools.run(root, Lane.PROBE, partial(self.roots.is_healthy, root))
        except NotAnswering:
            return False

    def _trouble_from_thread(self, post: ObserverSlot, trouble: Trouble) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._in_trouble, post, trouble)

    def _in_trouble(self, post: ObserverSlot, trouble: Trouble) -> None:
        self._help(f"replace {id(post)}", self._replace(post, trouble))

    def _replacing(self) -> bool:
        return any(name.startswith("replace ") for name in self._helpers)

    async def _replace(self, post: ObserverSlot, trouble: Trouble) -> None:
        """Throw an observer away; its folders get another one and are looked through, or are polled if that happens too often."""
        async with self._tools.watching:
            names = list(post.watched)  # only now: a folder may just have been given to this observer
            await self._tools.in_own_thread(partial(self._tools.observers.retire, post))
        if trouble is Trouble.OVERFLOW:
            message = "the kernel dropped events; the folders are looked through"
            hint = "raise fs.inotify.max_queued_events where this happens often"
            self._events.event(Event.WATCH_OVERFLOW, folders=names, message=message, hint=hint)
        await self._clock.sleep(self._tools.settings.pause)
        for name in names:
            folder = self._folders.get(name)
            if folder is None or folder.mode != "watching":
                continue
            if self._too_often(name):
                folder.fall_back("its watcher failed again and again", "it is tried again every minute")
            else:
                await folder.arm("" if trouble is Trouble.OVERFLOW else "its watcher had gone deaf and was replaced")

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
