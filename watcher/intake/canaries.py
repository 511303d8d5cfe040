"""Canaries: small files of our own, made and removed again. A watcher that does not tell of one has gone deaf.

They wake disks and programs that synchronise folders. So there is none while other changes are heard, and ever fewer while
nothing changes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from watcher.intake.files import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from watcher.intake.context import IntakeContext
    from watcher.intake.hints import Hints


class Canaries:
    """Those of one watched folder. `heard` is called from watchdog's threads, everything else in the loop."""

    def __init__(self, root: Path, context: IntakeContext, hints: Hints) -> None:
        self._root = root
        self._context = context
        self._hints = hints
        self._heard = 0
        self._pause = 0.0
        self._times = (0.0, 0.0)
        self._sent: dict[bytes, float] = {}
        self._next = 0.0

    def heard(self, relative: bytes) -> None:
        """The watcher told of a canary."""
        self._sent.pop(relative, None)

    @property
    def sent(self) -> tuple[bytes, ...]:
        """Those that were not heard yet, by path inside the folder."""
        return tuple(self._sent)

    def start_afresh(self) -> None:
        """Another watcher is at work: what the last one did not tell of says nothing of this one."""
        self._sent.clear()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._heard, self._times = self._hints.heard, self._context.settings.canary_times
        self._pause, _ = self._times
        self._next = self._context.clock.monotonic() + self._pause

    async def check(self, real_root: bytes, directories: Sequence[bytes]) -> bool:
        """Send one where it is time. False where an earlier one was not heard in time: the watcher is deaf.

        One goes into the root, one into one of `directories` picked at random: either may have gone unwatched.
        """
        now, settings = self._context.clock.monotonic(), self._context.settings
        if any(now - sent > settings.canary_patience for sent in list(self._sent.values())):
            self._sent.clear()
            return False
        if self._hints.heard != self._heard or self._times != settings.canary_times:  # it has shown that it is alive
            self._begin_anew()
        elif now >= self._next:
            self._pause = min(2 * self._pause, self._times[1])
            self._next = now + self._pause
            await self._send(real_root, directories)
        return True

    async def _send(self, real_root: bytes, directories: Sequence[bytes]) -> None:
        random = self._context.random
        chosen = [b"", directories[int(random() * len(directories)) % len(directories)]] if directories else [b""]
        for directory in dict.fromkeys(chosen):
            name = OWN_PREFIX + b"canary-%08x" % int(random() * 0xFFFFFFFF)
            relative = directory + b"/" + name if directory else name
            self._sent[relative] = self._context.clock.monotonic()
            if not await self._context.in_thread(self._root, partial(_touch_and_remove, real_root + b"/" + relative)):
                self._sent.pop(relative, None)


def _touch_and_remove(path: bytes) -> bool:
    """Whether it could be done: a folder that we may only read has no canaries, and relies on scans."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:
        return False
    with suppress(OSError):  # somebody was faster, or moved the directory away: it was there, and that is all it is for
        os.unlink(path)
    return True
