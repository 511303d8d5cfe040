"""One watched folder: lost, watched or polled; its hints followed, its tree scanned, its candidates taken."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.errors import CANNOT_TELL, NotAnswering
from watcher.intake.alarm import Alarm
from watcher.intake.candidates import Candidates
from watcher.intake.hints import Hints
from watcher.intake.modes import FolderMode, FolderStatus, can_lease, wants_events
from watcher.intake.pools import HANGING_SECONDS, PATIENCE_SECONDS, Lane
from watcher.intake.root_probe import RootProbe
from watcher.intake.roots import RootMissing
from watcher.intake.scanner import Scanner
from watcher.intake.sweeps import Sweeps
from watcher.intake.watching import WatchFailed, Watching
from watcher.model import Subtree

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from watcher.config.rules import FolderRules
    from watcher.intake.context import IntakeContext
    from watcher.intake.hints import Heard
    from watcher.intake.modes import Mode
    from watcher.intake.roots import RootInfo
    from watcher.intake.scanner import ScanResult

TROUBLE_REST_SECONDS: Final = 5.0
"""After a call that hung, or for which there was no descriptor left, until the folder is looked through again."""


class WatchedFolder:
    """The conductor of one folder. Two tasks of it run all the time: `follow` and `sweep`."""

    def __init__(self, rules: FolderRules, context: IntakeContext) -> None:
        self.name = rules.folder.name
        self.is_armed = False
        """Whether the root was looked for at least once."""
        self._rules = rules
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._mode = FolderMode(self.name, self.root, context)
        self._hint_alarm = Alarm(context.clock)
        self._hints = Hints(self._wake_from_thread)
        self._probe = RootProbe(rules, context)
        self._watching = Watching(self.name, self.root, context, self._hints)
        self._candidates = Candidates(rules, context, self._hint_alarm)
        self._scanner = Scanner(rules, context, self._candidates)
        self._sweeps = Sweeps(self.name, context, self._mode, self._scanner, self._candidates)
        self._info: RootInfo | None = None
        self._busy = 0

    # --- what others ask ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The configured path."""
        return self._rules.rule.root

    @property
    def mode(self) -> Mode:
        """Whether it is watched, polled or lost."""
        return self._mode.now

    def waiting(self) -> int:
        """Files being waited for."""
        return self._candidates.waiting

    def unreadable(self) -> int:
        """See `Intake.unreadable`."""
        return self._sweeps.last.closed + self._candidates.unreadable_for_now

    def out_of_reach(self) -> Iterator[Subtree]:
        """What is not available at this moment, since it is away or hangs."""
        if self._context.pools.hangs(self.root, HANGING_SECONDS):
            yield Subtree(self.name)
        yield from self.away(HANGING_SECONDS)

    def away(self, patience: float = PATIENCE_SECONDS) -> Iterator[Subtree]:
        """What is not there, for as long as nobody does something: the folder itself where it is lost, or a mount below it."""
        roots, pools = self._context.roots, self._context.pools
        if self._mode.is_lost and self.is_armed:
            yield Subtree(self.name)
        hanging = (top for top, place in roots.below(self.root) if pools.hangs(place.threads, patience))
        yield from (Subtree(self.name, top) for top in (*roots.away(self.root), *hanging))

    def is_quiet(self) -> bool:
        """Whether nothing is heard, scanned or waited for. A lost folder is quiet: nothing can come of it."""
        if self._mode.is_lost:
            return self.is_armed
        asked = self._hint_alarm.is_ringing() or self._sweeps.are_asked_for
        idle = self._sweeps.seconds is not None and not self._busy and not asked and self._hints.is_empty()
        return idle and self.waiting() == 0 and not self._may_prune()

    def status(self) -> FolderStatus:
        """How the folder does."""
        last = self._sweeps.last
        return FolderStatus(
            self.name,
            str(self.root),
            self.mode,
            len(last.inodes),
            last.files,
            self.waiting(),
            self._sweeps.seconds,
            self._sweeps.found_by_scan,
            self._mode.message,
        )

    def look_at(self, relative: bytes) -> None:
        """The pipeline found another version there than was taken."""
        self._candidates.reconsider(relative)
        self._hints.file(relative)

    def ask_scan(self) -> asyncio.Future[None]:
        """Done when a scan that began after this call is over, or when there will be none any more."""
        return self._sweeps.ask()

    def change_rules(self, rules: FolderRules) -> None:
        """Other rules for the same path, for files detected from now on; everything is looked through again under them."""
        self._rules = self._probe.rules = self._candidates.rules = self._scanner.rules = rules
        self._scanner.start_afresh()
        self._sweeps.soon()

    def look_afresh(self) -> None:
        """The journal may lack what was taken lately: look through everything again, soon."""
        self._scanner.start_afresh()
        self._candidates.judge_afresh()
        self._sweeps.soon()

    def cancel_alarms(self) -> None:
        """Forget what was to be done later: the folder is closed."""
        self._hint_alarm.cancel()
        self._sweeps.cancel()

    # --- lost, watched, polled ------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Arm for the first time."""
        while not await self.arm():
            await self._context.clock.sleep(self._context.settings.guard)
        self.is_armed = True

    async def arm(self, note: str = "") -> bool:
        """Find the root and watch it, or poll it; lost where it is not there. Then everything is looked through.

        `note`: why a folder that was watched is armed again. False where nothing could be told, for want of descriptors or
        memory: what was known stays, and the guard asks again.
        """
        try:
            info = self._info = await self._probe.survey()
            await self._arm(info, note)
        except (RootMissing, NotAnswering) as missing:
            await self.lose(str(missing))
        except OSError as error:
            if error.errno not in CANNOT_TELL:
                raise
            return False
        return True

    async def _arm(self, info: RootInfo, note: str) -> None:
        came_back = self._mode.was_said_lost
        await self._probe.note_targets()
        polling = self._rules.folder.polling
        self._scanner.start_afresh()
        problem = None
        if wants_events(info, polling):
            try:
                async with self._context.arming:
                    await self._watching.arm(info, recursive=self._rules.folder.recursive)
            except WatchFailed as failed:
                problem = failed
        self._context.roots.arm(self.root, info, leases=can_lease(info, polling))
        self._mode.arm(info, polling, problem, note, came_back=came_back)
        self._sweeps.distrust_events()
        self._sweeps.soon()

    def fall_back(self, message: str, hint: str) -> None:
        """Poll, and try to watch again later."""
        self._watching.retry_later()
        self._mode.enter("polling", message, hint)
        self._sweeps.soon()

    async def lose(self, message: str) -> None:
        """The root is not there. Nothing is taken to be deleted; it is looked for until it is back."""
        self._context.roots.lose(self.root)
        self._mode.lose(message)
        self._sweeps.release()
        await self.disarm()

    async def disarm(self) -> None:
        """Watch no more."""
        await self._watching.disarm()

    async def check(self) -> None:
        """Called every few seconds: is the root still the one that was armed, and is it time to try watching again?"""
        info = self._info
        if self._may_prune():
            prune = partial(self._context.emptied.prune, self._context.roots.real(self.root))
            self._context.pools.start(self.root, Lane.DISPOSAL, prune)
        if self._mode.is_lost or info is None:
            await self.arm()
        elif not info.remote and await self._probe.is_healthy() and not self._watching.is_due():
            return
        else:
            await self._check_root(info)

    def _may_prune(self) -> bool:
        return self._info is not None and not self._mode.is_lost and self._context.emptied.pending(self._info.real)

    async def _check_root(self, before: RootInfo) -> None:
        try:
            info = await self._probe.survey()
        except RootMissing as missing:
            await self.lose(str(missing))
            return
        if (info.identity, info.real) == (before.identity, before.real) and info.below != before.below:
            await self.arm("what is mounted below it has changed")
        elif (info.identity, info.real) != (before.identity, before.real):
            await self.lose(f"{self.root} is another directory or mount than before")
            await self.arm()
        elif self._watching.is_due() and self._watching.may_retry():
            await self.arm()

    async def hears(self) -> bool:
        """Whether the folder's watcher told of the canaries sent so far; sends one where it is time."""
        if self.mode != "watching" or self._info is None:
            return True
        directories = list(self._sweeps.last.inodes.values()) if self._rules.folder.recursive else []
        return await self._watching.hears(self._info, directories)

    # --- following hints ------------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Act on what is heard and on the files whose time has come, forever."""
        while True:
            await self._hint_alarm.wait()
            if self._mode.is_lost:
                self._hints.drain()
                continue
            self._busy += 1
            try:
                await self._patiently(self._follow_once(self._hints.drain()))
            finally:
                self._busy -= 1

    async def _follow_once(self, heard: Heard) -> None:
        if heard.everything:
            self._sweeps.soon()
        await self._candidates.examine(self._candidates.heard(heard.files))
        if heard.trees:
            await self._scanner.trees(heard.trees)

    async def _patiently(self, work: Coroutine[None, None, None]) -> None:
        """Do it as far as disk and descriptors allow: what cannot be told now is told by the next scan."""
        try:
            await work
        except (NotAnswering, OSError) as error:
            if isinstance(error, NotAnswering) and not await self._probe.is_healthy():
                await self.lose(str(error))
            else:
                self._sweeps.later(TROUBLE_REST_SECONDS)

    def _wake_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hint_alarm.ring)
        except RuntimeError:
            return  # the loop is closed: the daemon has stopped, and the next start scans

    # --- scanning -------------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Scan whenever it is asked for, and every so often, forever."""
        try:
            while True:
                await self._sweeps.wait()
                if not self._mode.is_lost:
                    await self._sweep_once()
        finally:
            self._sweeps.end()

    async def _sweep_once(self) -> None:
        self._busy += 1
        is_local = self._info is not None and not self._info.remote
        try:
            async with self._context.scanning if is_local else contextlib.nullcontext():
                with self._sweeps.serving():
                    await self._patiently(self._scan_once())
        finally:
            self._busy -= 1
        self._sweeps.schedule()

    async def _scan_once(self) -> None:
        await self._verify_coverage(await self._sweeps.scan())

    async def _verify_coverage(self, result: ScanResult) -> None:
        """Poll where the kernel does not watch every directory for us."""
        if self.mode != "watching" or self._info is None or not self._rules.folder.recursive:
            return
        try:
            await self._watching.verify_coverage(self._info, result.inodes)
        except WatchFailed as failed:
            self._mode.enter("polling", failed.message, failed.hint)
            self._sweeps.soon()
