"""Whether the kernel watches every directory of a folder for us: watchdog does not say where it could not."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from watcher.intake.context import IntakeContext
    from watcher.intake.roots import RootInfo

Directories = "Mapping[tuple[int, int], bytes]"
SECOND_LOOK_SECONDS: Final = 0.5
"""A directory made a moment ago is perhaps about to be watched."""


class Coverage:
    """That of one folder. It is looked at again when the number of directories has changed."""

    def __init__(self, name: str, root: Path, context: IntakeContext) -> None:
        self._name = name
        self._root = root
        self._context = context
        self._covered = 0

    async def gaps(self, info: RootInfo, directories: Mapping[tuple[int, int], bytes]) -> int:
        """How many of these directories, by (device, inode), go unwatched."""
        if len(directories) == self._covered:
            return 0
        missing = await self._unwatched(info, directories)
        if missing:
            await self._context.clock.sleep(SECOND_LOOK_SECONDS)
            missing &= await self._unwatched(info, directories)
        if not missing:
            self._covered = len(directories)
        return len(missing)

    async def _unwatched(self, info: RootInfo, directories: Mapping[tuple[int, int], bytes]) -> set[int]:
        """Inodes of directories that are there and not watched. Empty where inodes cannot be compared (some overlays)."""
        here = {inode: path for (device, inode), path in directories.items() if device == info.identity.device}
        missing = self._context.observers.unwatched(self._name, list(here))
        if info.identity.inode in missing:
            return set()
        work = partial(_still_there, info.real, {inode: here[inode] for inode in missing})
        return await self._context.in_thread(self._root, work)


def _still_there(real: bytes, directories: dict[int, bytes]) -> set[int]:
    return {inode for inode, path in directories.items() if _inode(real + b"/" + path) == inode}


def _inode(path: bytes) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None
