"""The folders that originals are moved to: whatever name leads to one, nothing in it is taken.

A target may lie in a watched folder under another name: a symbolic link, `..`, a bind mount. So targets and watched folders are
compared by device and inode.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from watcher.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FileId = tuple[int, int]
"""Device and inode."""


class MoveTargets:
    """Those of all folders. Used from threads; everything but `holds` blocks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: dict[Path, FileId] = {}
        self._all: frozenset[FileId] = frozenset()

    def __bool__(self) -> bool:
        return bool(self._all)

    def holds(self, directory: FileId) -> bool:
        """Whether the directory is a target."""
        return directory in self._all

    def note(self, target: Path) -> None:
        """Learn which directory a target is, if it is there."""
        try:
            found = _id(os.fsencode(target))
        except OSError:
            return  # it is made by the first move, and noted again then
        with self._lock:
            self._ids[target] = found
            self._all = frozenset(self._ids.values())

    def refuse_loop(self, target: Path, directory: bytes, roots: Collection[FileId]) -> None:
        """Raises Unavailable where a file that is moved into `directory`, below `target`, would lie in a watched folder again."""
        self.note(target)
        path = os.path.realpath(directory)
        while True:
            here = _id(path)
            if here in roots:
                raise Unavailable(
                    f"files are not moved to {target}: it leads into a watched folder, where they would be taken again",
                    "name another folder in on_success or on_failure",
                )
            if self.holds(here) or path == b"/":
                return
            path = os.path.dirname(path)

    def lie_below(self, real_root: bytes, relative: bytes, known: dict[bytes, bool]) -> bool:
        """Whether a directory on the way to a file of a folder is a target. `known` keeps the answers of one round."""
        if not self._all:
            return False
        directory = relative.rpartition(b"/")[0]
        if not directory:
            return False
        if directory not in known:
            known[directory] = self._is_target(real_root + b"/" + directory) or self.lie_below(real_root, directory, known)
        return known[directory]

    def _is_target(self, path: bytes) -> bool:
        try:
            return self.holds(_id(path))
        except OSError:
            return False


def _id(path: bytes) -> FileId:
    status = os.stat(path)
    return status.st_dev, status.st_ino
