"""Regular files, opened so that no other file than the one that was meant is, and what the kernel knows of them. Blocks."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from typing import TYPE_CHECKING, Final

from watcher.intake.mounts import mount_number
from watcher.intake.settle import Writers
from watcher.model import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.intake.roots import Place

OWN_PREFIX: Final = b".compressor-watcher-"
"""Begins the name of everything that we ourselves put into folders for a moment."""
GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that say that no file is at a path."""
_SECOND_NS: Final = 1_000_000_000
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_version(status: os.stat_result, observation: Observation) -> bool:
    """Same inode, size and mtime; a rename moves the ctime, so it is not asked. Where inodes do not last (0), none is."""
    if status.st_size != observation.size:
        return False
    if not observation.inode:
        return same_times(status.st_mtime_ns, observation.mtime_ns)
    return (status.st_ino, Observation.of(status).mtime_ns) == (observation.inode, observation.mtime_ns)


def same_times(one: int, other: int) -> bool:
    """Whether two times are one that was kept more and less exactly: to the second, or to the microsecond."""
    coarse = not one % _SECOND_NS or not other % _SECOND_NS
    return one == other or (coarse and one // _SECOND_NS == other // _SECOND_NS) or abs(one - other) < 1_000


class NotThere(Exception):
    """No file is at the path, or not the one that was looked for."""


def ignore_lease_breaks() -> None:
    """A lease broken in the instant in which it is held brings SIGIO, whose default ends the process. Main thread only."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def open_expected(path: bytes) -> tuple[int, os.stat_result]:
    """A descriptor of the regular file at a path that has no symbolic link in it, and what the kernel says of it.

    Raises NotThere where there is none, or where a directory on the way was swapped for a link.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno in GONE:
            raise NotThere from None
        raise
    try:
        if os.readlink(b"/proc/self/fd/%d" % descriptor) == path and stat.S_ISREG((status := os.fstat(descriptor)).st_mode):
            return descriptor, status
    except OSError:  # a share that went away once it had opened the file
        os.close(descriptor)
        raise
    os.close(descriptor)
    raise NotThere


def reader_of(descriptor: int) -> Callable[[int, int], bytes]:
    """Reads so many bytes at an offset."""
    return lambda offset, size: os.pread(descriptor, size, offset)


def writers_of(descriptor: int, status: os.stat_result, place: Place) -> Writers:
    """Whether anybody has a file open for writing, on a mount where leases can be believed. `status` is the descriptor's.

    A read lease is granted only where nobody has (fcntl(2)). It is dropped in the same breath, since whoever opens the file for
    writing would have to wait for us.
    """
    if status.st_dev != place.device and mount_number(descriptor) != place.mount:
        return Writers.UNKNOWN  # something was mounted on the way a moment ago
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.SOME if error.errno == errno.EAGAIN else Writers.UNKNOWN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE


def first_hole(descriptor: int, size: int) -> int | None:
    """Where bytes begin that were never written: a download that was given its room beforehand. None where all were."""
    try:
        hole = os.lseek(descriptor, 0, os.SEEK_HOLE)
    except OSError:
        return None  # a file system that does not know
    return hole if hole < size else None


def followed(real_root: bytes, path: bytes) -> tuple[bytes, bool]:
    """Where to open, and whether `path` is a symbolic link to there. Raises NotThere where the link leads out of the folder."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return path, False
    except OSError as error:
        if error.errno in GONE:
            raise NotThere from None
        raise
    real = os.path.realpath(path)
    if not real.startswith(real_root + b"/"):
        raise NotThere
    return real, True
