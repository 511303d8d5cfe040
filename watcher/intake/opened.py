"""One original that is open: what is said of it, and its bytes, until it is closed."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR, Unavailable
from watcher.intake.files import GONE, is_version
from watcher.intake.pools import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.intake.contents import Contents
    from watcher.intake.pools import Pools
    from watcher.model import Observation, SourceFacts

T = TypeVar("T")
_LOST: Final = GONE | {errno.ESTALE}
"""What a share says of an open file that it has no more: some ask for it by its path, others keep no file that was removed."""


@dataclass(frozen=True, slots=True)
class PlaceThreads:
    """The threads of what a file lies on."""

    pools: Pools
    root: Path

    async def run(self, lane: Lane, work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
        """See `Pools.run`."""
        return await self.pools.run(self.root, lane, work, undo=undo)

    def start(self, lane: Lane, work: Callable[[], object]) -> None:
        """See `Pools.start`."""
        self.pools.start(self.root, lane, work)


class OpenOriginal:
    """Implements `watcher.ports.Source`. `through_link`: the path is a symbolic link to the file.

    `seen_at`: when the path led here (monotonic seconds).
    """

    def __init__(
        self,
        contents: Contents,
        path: bytes,
        observation: Observation,
        facts: SourceFacts,
        threads: PlaceThreads,
        *,
        through_link: bool,
        seen_at: float,
    ) -> None:
        self._contents = contents
        self._path = path
        self._observation = observation
        self._facts = facts
        self._threads = threads
        self._through_link = through_link
        self._seen_at = seen_at

    @property
    def facts(self) -> SourceFacts:
        """Name, SHA-1, size and format of the bytes behind the descriptor."""
        return self._facts

    @property
    def held(self) -> bytes | None:
        """See `Source.held`."""
        return self._contents.held

    @property
    def modified(self) -> float:
        """See `Source.modified`."""
        return self._observation.mtime_ns / 1e9

    def fileno(self) -> int:
        """The descriptor; -1 where the bytes are held, and after `close`."""
        return self._contents.descriptor

    async def is_current(self, within: float = 0.0) -> bool:
        """Whether the path still leads to this inode and version, or did within so many seconds."""
        if within and self.seen_within(within):
            return True
        asked_at = time.monotonic()
        is_current = await self._threads.run(Lane.ORIGINALS, self._is_current)
        self._seen_at = asked_at if is_current else float("-inf")
        return is_current

    def seen_within(self, seconds: float) -> bool:
        """See `Source.seen_within`."""
        return time.monotonic() - self._seen_at <= seconds

    def _is_current(self) -> bool:
        try:
            return is_version(os.stat(self._path, follow_symlinks=self._through_link), self._observation)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise unavailable("cannot be looked at", Path(os.fsdecode(self._path)), error) from error

    async def run(self, work: Callable[[], T]) -> T:
        """See `Source.run`."""
        return await self._threads.run(Lane.SERVING, work)

    def start(self, work: Callable[[], object]) -> None:
        """See `Source.start`."""
        self._threads.start(Lane.SERVING, work)

    def is_intact(self) -> bool:
        """See `Source.is_intact`."""
        descriptor = self._contents.descriptor
        if descriptor < 0:
            return self._contents.held is not None and not self._is_overwritten()
        try:
            return is_version(os.fstat(descriptor), self._observation)
        except OSError as error:
            if error.errno in _LOST:
                return False
            raise unavailable("cannot be looked at", Path(os.fsdecode(self._path)), error) from error

    def _is_overwritten(self) -> bool:
        """Whether the path leads to the same inode in another version. What was moved, replaced or removed is not overwritten."""
        try:
            status = os.stat(self._path, follow_symlinks=self._through_link)
        except OSError as error:
            if error.errno in _LOST:
                return False
            raise unavailable("cannot be looked at", Path(os.fsdecode(self._path)), error) from error
        same_file = self._observation.inode in (0, status.st_ino)
        return same_file and not is_version(status, self._observation)

    def close(self) -> None:
        """Let go of the bytes. A share may have to be asked for that, so a thread gives a descriptor back."""
        if (descriptor := self._contents.let_go()) >= 0:
            self._threads.start(Lane.ORIGINALS, partial(os.close, descriptor))


def unavailable(what: str, path: Path, error: OSError) -> Unavailable:
    """What is said of a file that is not available now."""
    hint = "check the owner, mode and mount of the file and its folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room there"
    elif error.errno in CANNOT_TELL:
        hint = NO_DESCRIPTOR
    elif error.errno == errno.EROFS:
        hint = "the folder is read-only for this process: see ReadWritePaths= of the service, or the mount"
    return Unavailable(f"{path} {what}: {error.strerror}", hint)
