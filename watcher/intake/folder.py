"""One watched folder: lost, watched or polled; its hints followed, its tree scanned, its candidates taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from watcher.errors import CANNOT_TELL, NotAnswering
from watcher.intake.alarm import Alarm
from watcher.intake.candidates import Candidates
from watcher.intake.hints import Hints
from watcher.intake.pools import HANGING_SECONDS, PATIENCE_SECONDS, Lane
from watcher.intake.roots import RootMissing, survey
from watcher.intake.scanner import Scanner, ScanResult
from watcher.intake.watching import WatchFailed, Watching
from watcher.model import Event, Subtree, path_fields

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from watcher.config.rules import FolderRules
    from watcher.intake.context import IntakeContext
    from watcher.intake.hints import Heard
    from watcher.intake.roots import RootInfo

Mode = Literal["watching", "polling", "lost"]
TARGET_PATIENCE_SECONDS: Final = 1.0
"""For the folders that files are moved to, to be found."""
TROUBLE_REST_SECONDS: Final = 5.0
"""After a call that hung, or for which there was no descriptor left, until the folder is looked through again."""
POLL_SHARE: Final = 20
"""A polled folder is scanned for at most one part in so many of the time."""


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What an operator wants to know of a folder. `found_by_scan`: files that no event told of though the folder was watched."""

    name: str
    path: str
    mode: Mode
    directories: int
    files: int
    waiting: int
    last_scan_seconds: float | None
    found_by_scan: int
    message: str


class WatchedFolder:
    """The conductor of one folder. Two tasks of it run all the time: `follow` and `sweep`."""

    def __init__(self, rules: FolderRules, context: IntakeContext) -> None:
        self.name = rules.folder.name
        self.mode: Mode = "lost"
        self.is_armed = False
        """Whether the root was looked for at least once."""
        self._rules = rules
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._hint_alarm = Alarm(context.clock)
        self._scan_alarm = Alarm(context.clock)
        self._hints = Hints(self._wake_from_thread)
        self._watching = Watching(self.name, rules.rule.root, context, self._hints)
        self._candidates = Candidates(rules, context, self._hint_alarm)
        self._scanner = Scanner(rules, context, self._candidates)
        self._info: RootInfo | None = None
        self._said: tuple[Mode, str] | None = None
        self._message = ""
        self._busy = 0
        self._scan_waiters: list[asyncio.Future[None]] = []
        self._swept = False
        """Whether `sweep` has ended: no scan will come."""
        self._events_trusted = False
        self._last = ScanResult(complete=False)
        self._scanned = False
        self._found_by_scan = 0

    # --- what others ask ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The configured path."""
        return self._rules.rule.root

    def waiting(self) -> int:
        """Files being waited for."""
        return self._candidates.waiting

    def unreadable(self) -> int:
        """See `Intake.unreadable`."""
        return self._last.closed + self._candidates.unreadable_for_now

    def out_of_reach(self) -> Iterator[Subtree]:
        """What cannot be had at this moment, since it is away or hangs."""
        if self._context.pools.hangs(self.root, HANGING_SECONDS):
            yield Subtree(self.name)
        yield from self.away(HANGING_SECONDS)

    def away(self, patience: float = PATIENCE_SECONDS) -> Iterator[Subtree]:
        """What is not there, for as long as nobody does something: the folder itself where it is lost, or a mount below it."""
        roots, pools = self._context.roots, self._context.pools
        if self.mode == "lost" and self.is_armed:
            yield Subtree(self.name)
        hanging = (top for top, place in roots.below(self.root) if pools.hangs(place.threads, patience))
        yield from (Subtree(self.name, top) for top in (*roots.away(self.root), *hanging))

    def is_quiet(self) -> bool:
        """Whether nothing is heard, scanned or waited for. A lost folder is quiet: nothing can come of it."""
        if self.mode == "lost":
            return self.is_armed
        asked = self._hint_alarm.is_ringing() or self._scan_alarm.is_ringing() or bool(self._scan_waiters)
        idle = self._scanned and not self._busy and not asked and self._hints.is_empty()
        return idle and self.waiting() == 0 and not self._may_prune()

    def status(self) -> FolderStatus:
        """How the folder does."""
        last = self._last
        return FolderStatus(
            self.name,
            str(self.root),
            self.mode,
            len(last.inodes),
            last.files,
            self.waiting(),
            last.seconds if self._scanned else None,
            self._found_by_scan,
            self._message,
        )

    def look_at(self, relative: bytes) -> None:
        """The pipeline found another version there than was taken."""
        self._candidates.reconsider(relative)
        self._hints.file(relative)

    def ask_scan(self) -> asyncio.Future[None]:
        """Done when a scan that began after this call is over, or when there will be none any more."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._scan_waiters.append(waiter)
        self._scan_alarm.ring()
        if self._swept:
            _release(self._take_scan_waiters())
        return waiter

    def change_rules(self, rules: FolderRules) -> None:
        """Other rules for the same path, for files detected from now on; everything is looked through again under them."""
        self._rules = self._candidates.rules = self._scanner.rules = rules
        self._scanner.start_afresh()
        self._scan_alarm.ring()

    def cancel_alarms(self) -> None:
        """Forget what was to be done later: the folder is closed."""
        self._hint_alarm.cancel()
        self._scan_alarm.cancel()
        _release(self._take_scan_waiters())

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
            info = self._info = await self._survey()
            await self._arm(info, note)
        except (RootMissing, NotAnswering) as missing:
            await self.lose(str(missing))
        except OSError as error:
            if error.errno not in CANNOT_TELL:
                raise
            return False
        return True

    async def _arm(self, info: RootInfo, note: str) -> None:
        came_back = self._said is not None and self.mode == "lost"
        await self._note_targets()
        self._scanner.start_afresh()
        problem = None
        if self._wants_events(info):
            try:
                async with self._context.arming:
                    await self._watching.arm(info, recursive=self._rules.folder.recursive)
            except WatchFailed as failed:
                problem = failed
        self._context.roots.arm(self.root, info, leases=self._can_lease(info))
        self._say_armed(info, problem, note, came_back=came_back)
        self._events_trusted = False
        self._scan_alarm.ring()

    async def _note_targets(self) -> None:
        """Learn which directories files are moved to. One on a share that hangs is learnt at the first move."""
        targets = self._context.roots.targets
        noting = [
            asyncio.ensure_future(self._context.pools.run(target, Lane.PROBE, partial(targets.note, target)))
            for target in self._rules.move_targets
        ]
        if noting:
            await asyncio.wait(noting, timeout=TARGET_PATIENCE_SECONDS)
            for each in noting:
                each.cancel()
            await asyncio.gather(*noting, return_exceptions=True)

    async def _survey(self) -> RootInfo:
        to_change = (self._rules.rule.on_success, self._rules.rule.on_failure) != ("keep", "keep")
        try:
            return await self._context.pools.run(self.root, Lane.PROBE, partial(survey, self.root, to_change=to_change))
        except NotAnswering:
            raise RootMissing(f"{self.root} does not answer") from None

    def _wants_events(self, info: RootInfo) -> bool:
        polling = self._rules.folder.polling
        return polling is False or (polling == "auto" and not info.remote and not info.shares_below)

    def _can_lease(self, info: RootInfo) -> bool:
        """Where somebody chose polling, closes cannot be seen from here; a share answers for its own clients only."""
        return not info.remote and self._rules.folder.polling is not True

    def _say_armed(self, info: RootInfo, problem: WatchFailed | None, note: str, *, came_back: bool) -> None:
        if problem is not None:
            self._enter("polling", problem.message, problem.hint)
        elif not self._wants_events(info):
            chosen = self._rules.folder.polling is True
            why = "" if chosen else _why_polled(info)
            self._enter("polling", why, came_back=came_back)
        else:
            self._enter("watching", note, came_back=came_back)

    def _enter(self, mode: Mode, message: str, hint: str = "", *, came_back: bool = False) -> None:
        """Be in a mode, and say so where that is new."""
        self.mode, self._message = mode, message
        if self._said == (mode, message) and not came_back:
            return
        self._said = (mode, message)
        event = Event.FOLDER_LOST if mode == "lost" else Event.FOLDER_RECOVERED if came_back else Event.FOLDER_WATCHING
        told = {key: value for key, value in (("message", message), ("hint", hint)) if value}
        self._context.events.event(event, folder=self.name, **path_fields("path", self.root), mode=mode, **told)

    def fall_back(self, message: str, hint: str) -> None:
        """Poll, and try to watch again later."""
        self._watching.retry_later()
        self._enter("polling", message, hint)
        self._scan_alarm.ring()

    async def lose(self, message: str) -> None:
        """The root is not there. Nothing is taken to be deleted; it is looked for until it is back."""
        self._context.roots.lose(self.root)
        hint = "nothing is lost: it is looked for every few seconds; mount it, make it again, or give the right to it"
        confinement = self._context.confinement
        self._enter("lost", message, f"{hint}; {confinement}" if confinement else hint)
        _release(self._take_scan_waiters())
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
        if self.mode == "lost" or info is None:
            await self.arm()
        elif not info.remote and await self._is_healthy() and not self._watching.is_due():
            return
        else:
            await self._check_root(info)

    def _may_prune(self) -> bool:
        return self._info is not None and self.mode != "lost" and self._context.emptied.pending(self._info.real)

    async def _is_healthy(self) -> bool:
        try:
            return await self._context.pools.run(self.root, Lane.PROBE, partial(self._context.roots.is_healthy, self.root))
        except NotAnswering:
            return False

    async def _check_root(self, before: RootInfo) -> None:
        try:
            info = await self._survey()
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
        directories = list(self._last.inodes.values()) if self._rules.folder.recursive else []
        return await self._watching.hears(self._info, directories)

    # --- following hints ------------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Act on what is heard and on the files whose time has come, for ever."""
        while True:
            await self._hint_alarm.wait()
            if self.mode == "lost":
                self._hints.drain()
                continue
            self._busy += 1
            try:
                await self._patiently(self._follow_once(self._hints.drain()))
            finally:
                self._busy -= 1

    async def _follow_once(self, heard: Heard) -> None:
        if heard.everything:
            self._scan_alarm.ring()
        files = [relative for relative in heard.files if self._may_take(relative)]
        await self._candidates.examine(dict.fromkeys([*files, *self._candidates.due()]))
        if heard.trees:
            await self._scanner.trees(self._worth_entering(heard.trees))

    def _may_take(self, relative: bytes) -> bool:
        if (reason := self._rules.ignores(os.fsdecode(relative))) is None:
            return True
        self._candidates.left_by_name(relative, reason)
        return False

    def _worth_entering(self, trees: frozenset[bytes]) -> list[bytes]:
        """Directories whose contents matter and that do not lie in another one of them."""
        found = []
        for relative in trees:
            parts = relative.split(b"/")
            above = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
            ignored = any(self._rules.ignores_directory(os.fsdecode(each)) for each in (*above, relative))
            if not ignored and not any(each in trees for each in above):
                found.append(relative)
        return found

    async def _patiently(self, work: Coroutine[None, None, None]) -> None:
        """Do it as far as disk and descriptors allow: what cannot be told now is told by the next scan."""
        try:
            await work
        except (NotAnswering, OSError) as error:
            if isinstance(error, NotAnswering) and not await self._is_healthy():
                await self.lose(str(error))
            else:
                self._scan_alarm.ring_at(self._context.clock.monotonic() + TROUBLE_REST_SECONDS)

    def _wake_from_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._hint_alarm.ring)
        except RuntimeError:
            return  # the loop is closed: the daemon has stopped, and the next start scans

    # --- scanning -------------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Scan whenever it is asked for, and every so often, for ever."""
        try:
            while True:
                await self._sweep_once()
        finally:
            self._swept = True
            _release(self._take_scan_waiters())

    async def _sweep_once(self) -> None:
        await self._scan_alarm.wait()
        self._scan_alarm.cancel()
        if self.mode == "lost":
            return
        self._busy += 1
        try:
            async with self._context.scanning if self._is_local() else contextlib.nullcontext():
                await self._patiently(self._scan_once(self._take_scan_waiters()))
        finally:
            self._busy -= 1
        self._scan_alarm.ring_at(self._context.clock.monotonic() + self._pause())

    def _is_local(self) -> bool:
        return self._info is not None and not self._info.remote

    def _take_scan_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._scan_waiters = self._scan_waiters, []
        return waiters

    async def _scan_once(self, waiters: list[asyncio.Future[None]]) -> None:
        try:
            trusted = self._events_trusted and self.mode == "watching"
            result = await self._scanner.full(first=not self._scanned)
            self._last, self._scanned = result, True
            late = result.new if trusted else 0
            self._found_by_scan += late
            self._events_trusted = True
            self._context.events.event(
                Event.SCAN_FINISHED,
                folder=self.name,
                files=result.files,
                new=result.new,
                seconds=round(result.seconds, 3),
                found_by_scan=late,
            )
            await self._verify_coverage(result)
        finally:
            _release(waiters)

    def _pause(self) -> float:
        """Until the next scan: of a polled folder as its cost allows; of a watched one long, spread so that they do not meet."""
        settings = self._context.settings
        if self._candidates.overflowed and self.waiting() < 1000:
            self._candidates.overflowed = False
            return settings.poll
        spread = settings.rescan * (0.75 + 0.5 * self._context.random())
        if self.mode != "polling":
            return spread
        return min(max(settings.poll, self._last.seconds * POLL_SHARE), spread)

    async def _verify_coverage(self, result: ScanResult) -> None:
        """Poll where the kernel does not watch every directory for us."""
        if self.mode != "watching" or self._info is None or not self._rules.folder.recursive:
            return
        try:
            await self._watching.verify_coverage(self._info, result.inodes)
        except WatchFailed as failed:
            self._enter("polling", failed.message, failed.hint)
            self._scan_alarm.ring()


def _why_polled(info: RootInfo) -> str:
    if info.remote:
        return f"it lies on {info.kind}, where changes by others cannot be seen"
    top = os.fsdecode(info.shares_below[0])
    return f"a share is mounted below it, at {top}, where changes by others cannot be seen"


def _release(waiters: list[asyncio.Future[None]]) -> None:
    """Let those who wait for a scan go on; some may have gone by themselves."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
