"""How one folder is watched: its watcher armed, proved, and tried again where it had to be given up."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR, NotAnswering
from watcher.intake.canaries import Canaries
from watcher.intake.coverage import Coverage
from watcher.intake.watch import Handler, WatchedRoot, watch_limit
from watcher.intake.watchdog_internals import watches_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from watcher.intake.context import IntakeContext
    from watcher.intake.hints import Hints
    from watcher.intake.roots import RootInfo

LIMIT_RETRY_SECONDS: Final = 600.0
"""A folder that has more directories than may be watched tries again that rarely, unless the limit was changed."""


class WatchFailed(Exception):
    """The folder cannot be watched; it has to be polled until it can. `message` and `hint` are for people."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Watching:
    """The watcher of one folder. What it hears goes to `hints`."""

    def __init__(self, name: str, root: Path, context: IntakeContext, hints: Hints) -> None:
        self._name = name
        self._root = root
        self._context = context
        self._hints = hints
        self._canaries = Canaries(root, context, hints)
        self._coverage = Coverage(name, root, context)
        self._retry_at = float("inf")
        self._failed_limit: int | None = None
        self._failed_until = 0.0

    async def arm(self, info: RootInfo, *, recursive: bool) -> None:
        """Watch the root. Raises WatchFailed; then it is tried again after a while (see `is_due`)."""
        self._retry_at = float("inf")
        root = WatchedRoot(info.real, recursive, Handler(info.real, self._hints, self._canaries.heard))
        observers = self._context.observers
        try:
            await self.disarm()
            await self._context.in_thread(self._root, partial(observers.arm, self._name, root))
        except OSError as error:
            self.retry_later()
            raise WatchFailed(*_why_not(error)) from None
        self._canaries.start_afresh()

    async def disarm(self) -> None:
        """Watch no more."""
        observers = self._context.observers
        if observers.watches(self._name):
            with suppress(NotAnswering):  # its threads hang; it is left behind
                await self._context.in_own_thread(self._name, partial(observers.disarm, self._name))

    def retry_later(self, seconds: float | None = None) -> None:
        """The folder is polled; try to watch it again later."""
        wait = seconds if seconds is not None else self._context.settings.rearm
        self._retry_at = self._context.clock.monotonic() + wait

    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return self._context.clock.monotonic() >= self._retry_at

    def may_retry(self) -> bool:
        """Where the limit of watches stopped us it must have been changed, or a good while have passed."""
        now = self._context.clock.monotonic()
        if self._failed_limit in (None, watch_limit()) and now < self._failed_until:
            self.retry_later()
            return False
        self._failed_limit, self._failed_until = None, 0.0
        return True

    async def hears(self, info: RootInfo, directories: Sequence[bytes]) -> bool:
        """Whether the canaries sent so far were heard; sends one where it is time."""
        return await self._canaries.check(info.real, directories)

    async def verify_coverage(self, info: RootInfo, directories: Mapping[tuple[int, int], bytes]) -> None:
        """Replace the watcher where directories go unwatched. Raises WatchFailed where the kernel watches no more of them."""
        missing = await self._coverage.gaps(info, directories)
        if not missing:
            return
        if await self._context.in_thread(self._root, partial(watches_left, info.real)):
            self._context.observers.distrust(self._name)
            return
        await self.disarm()
        self._failed_limit = watch_limit()
        self._failed_until = self._context.clock.monotonic() + LIMIT_RETRY_SECONDS
        self.retry_later()
        raise WatchFailed(
            f"{missing} of {len(directories)} directories go unwatched: "
            f"the limit of {self._failed_limit} inotify watches is reached",
            f"sysctl -w fs.inotify.max_user_watches={max(1_048_576, 2 * len(directories))}, and keep it in /etc/sysctl.d",
        )


def _why_not(error: OSError) -> tuple[str, str]:
    """Message and hint for a root that cannot be watched. EMFILE speaks of this process's limit, or of the user's."""
    if error.errno in CANNOT_TELL and not _has_descriptor():
        return "the folder cannot be watched now", NO_DESCRIPTOR
    if error.errno == errno.EMFILE:
        hint = "sysctl -w fs.inotify.max_user_instances=512, and keep it in /etc/sysctl.d; until then the folder is polled"
        return "no inotify instance is left for this user", hint
    if error.errno == errno.ENOSPC:
        hint = "sysctl -w fs.inotify.max_user_watches=1048576, and keep it in /etc/sysctl.d; until then the folder is polled"
        return f"the limit of {watch_limit()} inotify watches is reached", hint
    return f"the folder cannot be watched: {error.strerror}", "until it can be, the folder is polled"


def _has_descriptor() -> bool:
    """Whether this process may open another one."""
    try:
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True
