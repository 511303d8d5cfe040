"""Directories that lost their last file to `delete` or `move`, and are removed where `prune_empty` says so.

Only those: a directory that somebody has just made, and is about to put something into, is empty as well. And only when nobody
but us has changed it for a while: whoever copies one file after another into a directory expects it to be there for the next.
What desktops leave in every directory that they showed (LITTER) counts as nothing, and goes along.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET_SECONDS: Final = 10.0
"""Nobody but us has changed a directory for so long when it is removed."""
LIMIT: Final = 10_000
"""Directories kept at most; what is above that stays where it is."""
LITTER: Final = frozenset(
    {b".ds_store", b"._.ds_store", b".localized", b"thumbs.db", b"ehthumbs.db", b"desktop.ini", b".directory"}
)
"""How a directory is shown by Finder, Explorer and Dolphin: names of files, compared without regard to case."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Place = tuple[bytes, bytes]
"""The root without symbolic links, and the path inside it."""


@dataclass(frozen=True, slots=True)
class _Emptied:
    """`left_at`: the directory's mtime when we were done with it; `changed_at`: when somebody else changed it last (both ns).

    `empty` as far as is known; one that is not is kept to tell our own changes from those of others.
    """

    left_at: int
    changed_at: int
    empty: bool


class EmptiedDirectories:
    """Those of all folders. Used from threads; everything but `pending` blocks. `now` gives Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._emptied: dict[Place, _Emptied] = {}

    def pending(self, real_root: bytes) -> bool:
        """Whether any directory of the folder may be removed later."""
        with self._lock:
            return any(each.empty and root == real_root for (root, _), each in self._emptied.items())

    @contextmanager
    def taking_from(self, real_root: bytes, directory: bytes) -> Iterator[None]:
        """Around what takes a file of ours out of a directory (path inside the folder)."""
        before = _changed_at(real_root, directory)
        yield
        self._note(real_root, directory, before)
        self.prune(real_root)

    def _note(self, real_root: bytes, directory: bytes, before: int | None) -> None:
        after = _changed_at(real_root, directory)
        if not directory or before is None or after is None:
            return
        empty = _is_empty(real_root, directory)
        with self._lock:
            known = self._emptied.pop((real_root, directory), None)
            by_others = known.changed_at if known is not None and known.left_at == before else before
            if len(self._emptied) >= LIMIT:
                del self._emptied[next(iter(self._emptied))]
            self._emptied[real_root, directory] = _Emptied(after, by_others, empty)

    def prune(self, real_root: bytes) -> None:
        """Remove what is empty and has been left alone."""
        with self._lock:
            todo = [directory for (root, directory), each in self._emptied.items() if each.empty and root == real_root]
        for directory in sorted(todo, key=lambda each: each.count(b"/"), reverse=True):
            above = directory
            while above and self._remove(real_root, above):
                above = above.rpartition(b"/")[0]

    def _remove(self, real_root: bytes, directory: bytes) -> bool:
        """Whether it was removed, so that the one above may have become empty."""
        with self._lock:
            known = self._emptied.get((real_root, directory))
        if known is None or not known.empty:
            return False
        above = directory.rpartition(b"/")[0]
        left_at = _changed_at(real_root, directory)
        if left_at is None:  # gone, or swapped for something else
            self._replace(real_root, directory, None)
            return False
        changed_at = known.changed_at if left_at == known.left_at else left_at
        if _is_empty(real_root, directory):
            if self._now() - changed_at / 1e9 < QUIET_SECONDS:
                self._replace(real_root, directory, _Emptied(left_at, changed_at, empty=True))
                return False
            before = _changed_at(real_root, above)
            if _remove_if_empty(real_root, directory):
                self._replace(real_root, directory, None)
                self._note(real_root, above, before)
                return True
        self._replace(real_root, directory, _Emptied(left_at, changed_at, empty=False))
        return False

    def _replace(self, real_root: bytes, directory: bytes, known: _Emptied | None) -> None:
        with self._lock:
            if known is None:
                self._emptied.pop((real_root, directory), None)
            else:
                self._emptied[real_root, directory] = known


@contextmanager
def _opened(real_root: bytes, directory: bytes) -> Iterator[int]:
    """A descriptor of a directory below a root, entered step by step, never through a symbolic link."""
    current = os.open(real_root, _DIRECTORY)
    try:
        for name in filter(None, directory.split(b"/")):
            entered = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = entered
        yield current
    finally:
        os.close(current)


def _changed_at(real_root: bytes, directory: bytes) -> int | None:
    with suppress(OSError), _opened(real_root, directory) as descriptor:
        return os.fstat(descriptor).st_mtime_ns
    return None


def _is_empty(real_root: bytes, directory: bytes) -> bool:
    with suppress(OSError), _opened(real_root, directory) as descriptor:
        return _litter_alone(descriptor) is not None
    return False


def _litter_alone(descriptor: int) -> list[str] | None:
    """The names in an open directory where all of them are litter; None where anything else is there."""
    found = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if os.fsencode(entry.name).lower() not in LITTER or not entry.is_file(follow_symlinks=False):
                return None
            found.append(entry.name)
    return found


def _remove_if_empty(real_root: bytes, directory: bytes) -> bool:
    """The kernel removes no directory in which anything is, and none on which something is mounted."""
    above, _, name = directory.rpartition(b"/")
    with suppress(OSError), _opened(real_root, above) as descriptor:
        with suppress(OSError), _opened(real_root, directory) as emptied:
            for litter in _litter_alone(emptied) or ():
                os.unlink(litter, dir_fd=emptied)
        os.rmdir(name, dir_fd=descriptor)
        return True
    return False
