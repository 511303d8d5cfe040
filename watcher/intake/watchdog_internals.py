"""What is used of watchdog beyond its public interface, all in one place: patches, and what its reader keeps to itself.

Written for watchdog 7.1. Where another version lacks any of it, importing this module says which version and what is missing;
tests/unit/intake/test_watchdog_internals.py holds the rest to what is relied on.
"""

from __future__ import annotations

import ctypes
import errno
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from watcher.intake.rename_halves import RenameHalves

try:
    from watchdog.observers import inotify
    from watchdog.observers.inotify import InotifyObserver, InotifyWatchGroup
    from watchdog.observers.inotify_c import InotifyFD, Watch, inotify_add_watch, inotify_init
except ImportError as missing:
    raise ImportError(
        f"watchdog {version('watchdog')} is not as compressor-watcher knows it ({missing}); install watchdog>=7.1,<8"
    ) from missing

if TYPE_CHECKING:
    import threading

PAIRING_SECONDS: Final = 0.02
"""How long the other half of a rename is waited for."""
IN_CREATE: Final = 0x00000100


def apply_patches() -> None:
    """Make watchdog quick about files that are moved, brief in its warnings, and tidy where descriptors run out."""
    inotify.InotifyWatchGroup = _WatchGroup  # type: ignore[misc]
    inotify.InotifyFD = _Reader  # type: ignore[attr-defined]
    # A directory that is watched twice is worth a warning to watchdog, into which it writes all its watches: hundreds of
    # kilobytes, thousands of times where a tree is moved, and an error where another thread changes them meanwhile.
    Watch.__repr__ = _short_name  # type: ignore[method-assign]


class _WatchGroup(InotifyWatchGroup):
    """What hears of one root. A rename's other half is waited for a shorter time, and found at once.

    A file moved out of a folder (our own on_success does it) would hold up everything behind it for half a second while its other
    half is waited for. Both halves of a rename are written to the queue at once and are read together.
    """

    def __post_init__(self) -> None:
        self._move_event_grouper = RenameHalves(PAIRING_SECONDS)  # type: ignore[assignment]
        super().__post_init__()


class _Reader(InotifyFD):
    """What reads the events. Where the second of its descriptors cannot be had, the first is given back.

    Watching is tried again and again then: each try would cost a descriptor, and one of the kernel's few inotify instances.
    """

    def __init__(self) -> None:
        try:
            super().__init__()
        except OSError:
            if (descriptor := vars(self).get("_inotify_fd", -1)) >= 0:
                os.close(descriptor)
            raise


def _short_name(watch: object) -> str:
    return f"<Watch {watch.wd}>" if isinstance(watch, Watch) else object.__repr__(watch)


def reader_of(observer: InotifyObserver) -> InotifyFD:
    """The thread that reads the inotify descriptor. `is_alive` of the observer leaves it out."""
    return observer._inotify_fd  # noqa: SLF001 - it has no public name


def threads_of(observer: InotifyObserver) -> tuple[threading.Thread, ...]:
    """The dispatcher, the reader, and one emitter for each root."""
    return (observer, reader_of(observer), *observer.emitters)


def give_back(reader: InotifyFD) -> None:
    """Close what a reader that died left open. One that ended in order has closed its descriptors itself.

    Their numbers tell nothing: another thread may have been given them since, and would lose its file to a second close.
    """
    closed_by_itself = reader._closed and not reader._is_reading  # noqa: SLF001 - they have no public names
    if not reader.is_alive() and not closed_by_itself:
        reader._close_resources()  # noqa: SLF001


def watched_inodes(observer: InotifyObserver) -> set[int]:
    """The inodes that the kernel watches for an observer (proc_pid_fdinfo(5))."""
    return inodes_watched_by(reader_of(observer)._inotify_fd)  # noqa: SLF001 - the descriptor has no public name


def inodes_watched_by(descriptor: int) -> set[int]:
    """The inodes that an inotify descriptor of this process watches."""
    inodes = set()
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
        for line in lines:
            if line.startswith(b"inotify "):
                inodes.add(int(line.split(b"ino:", 1)[1].split(b" ", 1)[0], 16))
    return inodes


def watches_left(path: bytes) -> bool:
    """Whether one more directory could be watched now: asked of the kernel, since the count of other programs cannot be seen."""
    descriptor = inotify_init()
    if descriptor < 0:
        return False
    try:
        return inotify_add_watch(descriptor, path, IN_CREATE) >= 0 or ctypes.get_errno() != errno.ENOSPC
    finally:
        os.close(descriptor)
