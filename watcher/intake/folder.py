"""One watched folder: lost, watched or polled; its hints followed, its tree scanned, its candidates taken."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from watcher.errors import NotAnswering
from watcher.intake.alarm import Alarm
from watcher.intake.candidates import Candidates
from watcher.intake.durable import OWN_PREFIX
from watcher.intake.hints import Hints
from watcher.intake.pools import Lane
from watcher.intake.roots import RootMissing, survey
from watcher.intake.scanner import Scanner, ScanResult
from watcher.intake.watch import Handler, Watched, watch_limit, watches_left
from watcher.model import Event, path_fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcher.config.rules import FolderRules
    from watcher.intake.context import IntakeContext
    from watcher.intake.hints import Heard
    from watcher.intake.roots import RootInfo

Answer = TypeVar("Answer")
Mode = Literal["watching", "polling", "lost"]
POLL_SHARE: Final = 20
"""A polled folder is scanned for at most one part in so many of the time."""
LIMIT_RETRY_SECONDS: Final = 600.0
"""A folder that has more directories than may be watched tries again that rarely, unless the limit was changed."""


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

    def __init__(self, rules: FolderRules, tools: IntakeContext) -> None:
        self.name = rules.folder.name
        self.mode: Mode = "lost"
        self._rules = rules
        self._tools = tools
        self._loop = asyncio.get_running_loop()
        self._hint_alarm = Alarm(tools.clock)
        self._scan_alarm = Alarm(tools.clock)
        self._hints = Hints(self._wake_from_thread)
        self._candidates = Candidates(rules, tools, self._hint_alarm)
        self._scanner = Scanner(rules, tools, self._candidates)
        self._ground: RootInfo | None = None
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
        self._covered_directories = 0
        self._rearm_at = float("inf")
        self._failed_limit: int | None = None
        self._canaries: dict[bytes, float] = {}
        self._next_canary = 0.0

    # --- what others ask ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The configured path."""
        return self._rules.rule.root

    def waiting(self) -> int:
        """Files being waited for."""
        return self._candidates.waiting

    def is_quiet(self) -> bool:
        """Whether nothing is heard, scanned or waited for. A lost folder is quiet: nothing can come of it."""
        if self.mode == "lost":
            return True
        asked = self._hint_alarm.is_ringing() or self._scan_alarm.is_ringing() or bool(self._scan_waiters)
        return self._scanned and not self._busy and not asked and self._hints.is_empty() and self.waiting() == 0

    def status(self) -> FolderStatus:
        """How the folder does."""
        last = self._last
        return FolderStatus(
            self.name,
            str(self._rules.rule.root),
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

    async def arm(self, note: str = "") -> None:
        """Find the root and watch it, or poll it; lost where it is not there. Then everything is looked through.

        `note`: why a folder that was watched is armed again.
        """
        try:
            self._ground = await self._survey()
        except RootMissing as missing:
            await self.lose(str(missing))
            return
        came_back = self._said is not None and self.mode == "lost"
        self._scanner.start_afresh()
        self._rearm_at = float("inf")
        problem = await self._watch(self._ground) if self._wants_events(self._ground) else None
        self._tools.roots.arm(self._rules.rule.root, self._ground, leases=self._can_lease(self._ground))
        self._say_armed(self._ground, problem, note, came_back=came_back)
        self._events_trusted = False
        self._scan_alarm.ring()

    async def _survey(self) -> RootInfo:
        root = self._rules.rule.root
        to_change = (self._rules.rule.on_success, self._rules.rule.on_failure) != ("keep", "keep")
        try:
            return await self._tools.pools.run(root, Lane.PROBE, partial(survey, root, to_change=to_change))
        except NotAnswering:
            raise RootMissing(f"{root} does not answer") from None

    def _wants_events(self, ground: RootInfo) -> bool:
        polling = self._rules.folder.polling
        return polling is False or (polling == "auto" and not ground.remote)

    def _can_lease(self, ground: RootInfo) -> bool:
        """Where somebody chose polling, closes cannot be seen from here; a share answers for its own clients only."""
        return not ground.remote and self._rules.folder.polling is not True

    async def _watch(self, ground: RootInfo) -> OSError | None:
        """Have the root watched; the error where it cannot be."""
        watched = Watched(ground.real, self._rules.folder.recursive, Handler(ground.real, self._hints, self._canary_heard))
        async with self._tools.watching:
            try:
                await self._in_thread(partial(self._tools.observers.disarm, self.name))
                await self._in_thread(partial(self._tools.observers.arm, self.name, watched))
            except OSError as error:
                self._rearm_at = self._tools.clock.monotonic() + self._tools.settings.rearm
                return error
        self._canaries.clear()
        self._next_canary = self._tools.clock.monotonic() + self._tools.settings.canary
        return None

    def _say_armed(self, ground: RootInfo, problem: OSError | None, note: str, *, came_back: bool) -> None:
        if problem is not None:
            self.fall_back(*_watch_problem(problem))
        elif not self._wants_events(ground):
            why = (
                "" if self._rules.folder.polling is True else f"it lies on {ground.kind}, where changes by others cannot be seen"
            )
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
        self._tools.events.event(event, folder=self.name, **path_fields("path", self._rules.rule.root), mode=mode, **told)

    def fall_back(self, message: str, hint: str, retry_after: float | None = None) -> None:
        """Poll, and try to watch again later."""
        wait = retry_after if retry_after is not None else self._tools.settings.rearm
        self._rearm_at = self._tools.clock.monotonic() + wait
        self._enter("polling", message, hint)
        self._scan_alarm.ring()

    async def lose(self, message: str) -> None:
        """The root is not there. Nothing is taken to be deleted; it is looked for until it is back."""
        self._tools.roots.lose(self._rules.rule.root)
        hint = "nothing is lost: it is looked for every few seconds; mount it, make it again, or give the right to it"
        self._enter("lost", message, f"{hint}; {self._tools.confinement}" if self._tools.confinement else hint)
        _release(self._take_scan_waiters())
        await self.disarm()

    async def disarm(self) -> None:
        """Watch no more."""
        async with self._tools.watching:
            await self._in_thread(partial(self._tools.observers.disarm, self.name))

    def needs_check(self, *, healthy: bool) -> bool:
        """Whether `check` could find anything, given whether the root is the one that was armed."""
        due = self._tools.clock.monotonic() >= self._rearm_at
        return self.mode == "lost" or not healthy or due or (self._ground is not None and self._ground.remote)

    async def check(self) -> None:
        """Called every few seconds: is the root still the one that was armed, and is it time to try watching again?"""
        if self.mode == "lost":
            await self.arm()
            return
        try:
            ground = await self._survey()
        except RootMissing as missing:
            await self.lose(str(missing))
            return
        if self._ground is None or ground.identity != self._ground.identity or ground.real != self._ground.real:
            await self.lose(f"{self._rules.rule.root} is another directory or mount than before")
            await self.arm()
        elif self._tools.clock.monotonic() >= self._rearm_at and self._may_rearm():
            await self.arm()

    def _may_rearm(self) -> bool:
        """Where the limit of watches stopped us it must have been changed, or a good while have passed."""
        limit, self._failed_limit = self._failed_limit, None
        if limit is None or watch_limit() != limit:
            return True
        self._failed_limit = limit
        self._rearm_at = self._tools.clock.monotonic() + self._tools.settings.rearm
        return False

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
                await self._follow_once(self._hints.drain())
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
            async with self._tools.scanning:
                await self._scan_once(self._take_scan_waiters())
        finally:
            self._busy -= 1
        self._scan_alarm.ring_at(self._tools.clock.monotonic() + self._pause())

    def _take_scan_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._scan_waiters = self._scan_waiters, []
        return waiters

    async def _scan_once(self, waiters: list[asyncio.Future[None]]) -> None:
        try:
            trusted = self._events_trusted and self.mode == "watching"
            result = await self._scanner.full()
            self._last, self._scanned = result, True
            late = result.new if trusted else 0
            self._found_by_scan += late
            self._events_trusted = True
            self._tools.events.event(
                Event.SCAN_FINISHED,
                folder=self.name,
                files=result.files,
                new=result.new,
                seconds=round(result.seconds, 3),
                found_by_scan=late,
            )
            await self._verify_cover(result)
        finally:
            _release(waiters)

    def _pause(self) -> float:
        """Until the next scan: of a polled folder as its cost allows; of a watched one long, spread so that they do not meet."""
        settings = self._tools.settings
        if self._candidates.overflowed and self.waiting() < 1000:
            self._candidates.overflowed = False
            return settings.poll
        spread = settings.rescan * (0.75 + 0.5 * self._tools.random())
        if self.mode != "polling":
            return spread
        return min(max(settings.poll, self._last.seconds * POLL_SHARE), spread)

    async def _verify_cover(self, result: ScanResult) -> None:
        """Whether the kernel watches every directory for us: watchdog does not say where it could not."""
        if self.mode != "watching" or self._ground is None or len(result.inodes) == self._covered_directories:
            return
        if not self._rules.folder.recursive:
            return
        missing = await self._unwatched(result)
        if missing:
            await self._tools.clock.sleep(0.5)  # a directory made a moment ago is perhaps about to be watched
            missing = {inode for inode in await self._unwatched(result) if inode in missing}
        if not missing:
            self._covered_directories = len(result.inodes)
        else:
            await self._not_covered(len(missing), len(result.inodes))

    async def _unwatched(self, result: ScanResult) -> set[int]:
        """Inodes of directories that are there and not watched. Empty where inodes cannot be compared (some overlays)."""
        ground = self._ground
        if ground is None:
            return set()
        here = {inode: path for (device, inode), path in result.inodes.items() if device == ground.identity.device}
        async with self._tools.watching:
            missing = await self._in_thread(partial(self._tools.observers.unwatched, self.name, list(here)))
        if ground.identity.inode in missing:
            return set()
        return await self._in_thread(partial(_still_there, ground.real, {inode: here[inode] for inode in missing}))

    async def _not_covered(self, missing: int, directories: int) -> None:
        ground = self._ground
        if ground is not None and await self._in_thread(partial(watches_left, ground.real)):
            self._tools.observers.distrust(self.name)
            return
        await self.disarm()
        self._failed_limit = watch_limit()
        self.fall_back(
            f"{missing} of {directories} directories go unwatched: the limit of {self._failed_limit} inotify watches is reached",
            f"sysctl -w fs.inotify.max_user_watches={max(1_048_576, 2 * directories)}, and keep it in /etc/sysctl.d",
        )

    # --- canaries -------------------------------------------------------------------------------------------------------------

    def _canary_heard(self, relative: bytes) -> None:
        """Called from watchdog's threads."""
        self._canaries.pop(relative, None)

    async def canary(self) -> bool:
        """Send a canary where it is time for one. False where an earlier one was not heard in time: the watcher is deaf."""
        now = self._tools.clock.monotonic()
        settings = self._tools.settings
        if self.mode != "watching" or self._ground is None:
            return True
        if any(now - sent > settings.canary_patience for sent in list(self._canaries.values())):
            self._canaries.clear()
            return False
        if now >= self._next_canary:
            self._next_canary = now + settings.canary
            await self._send_canaries(self._ground)
        return True

    async def _send_canaries(self, ground: RootInfo) -> None:
        """One in the root, one in a directory picked at random: either may have gone unwatched."""
        directories = [b""]
        if self._rules.folder.recursive and self._last.inodes:
            known = list(self._last.inodes.values())
            directories.append(known[int(self._tools.random() * len(known)) % len(known)])
        for directory in dict.fromkeys(directories):
            name = OWN_PREFIX + b"canary-%08x" % int(self._tools.random() * 0xFFFFFFFF)
            relative = directory + b"/" + name if directory else name
            self._canaries[relative] = self._tools.clock.monotonic()
            if not await self._in_thread(partial(_touch_and_remove, ground.real + b"/" + relative)):
                self._canaries.pop(relative, None)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await self._tools.in_thread(self.root, work)


def _release(waiters: list[asyncio.Future[None]]) -> None:
    """Let those who wait for a scan go on; some may have gone by themselves."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _touch_and_remove(path: bytes) -> bool:
    """Whether it could be done: a folder that we may only read has no canaries, and relies on scans."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    with suppress(OSError):  # somebody was faster, or moved the directory away: it was there, and that is all it is for
        os.unlink(path)
    return True


def _still_there(real: bytes, directories: dict[int, bytes]) -> set[int]:
    return {inode for inode, path in directories.items() if _inode(real + b"/" + path) == inode}


def _inode(path: bytes) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _watch_problem(error: OSError) -> tuple[str, str]:
    """Message and hint for a root that cannot be watched."""
    if error.errno == errno.EMFILE:
        hint = "sysctl -w fs.inotify.max_user_instances=512, and keep it in /etc/sysctl.d; until then the folder is polled"
        return "no inotify instance is left for this user", hint
    if error.errno == errno.ENOSPC:
        hint = "sysctl -w fs.inotify.max_user_watches=1048576, and keep it in /etc/sysctl.d; until then the folder is polled"
        return f"the limit of {watch_limit()} inotify watches is reached", hint
    return f"the folder cannot be watched: {error.strerror}", "until it can be, the folder is polled"
