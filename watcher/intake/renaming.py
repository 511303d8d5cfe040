"""Names: renamed without overwriting, found free, made durable, on whatever file system they are. Blocks; raises OSError."""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_NAME_MAX: Final = 255
_FINAL: Final = frozenset({errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.ENAMETOOLONG})
"""Errors that another way of renaming would meet as well, or that the caller waits for."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
_libc: Final = ctypes.CDLL(None, use_errno=True)


def rename_noreplace(source: bytes, target: bytes) -> None:
    """Rename, and never onto something that is there: FileExistsError then. Other failures as OSError.

    File systems differ in what they can do, and in how they say that they cannot: after any error but those that are about the
    two names the next way is tried.
    """
    problem = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    for way in (_rename_exclusively, _rename_by_link, _rename_if_free):
        try:
            way(source, target)
        except OSError as error:
            if error.errno in _FINAL:
                raise
            problem = error
        else:
            return
    raise problem


def _rename_exclusively(source: bytes, target: bytes) -> None:
    if _libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def _rename_by_link(source: bytes, target: bytes) -> None:
    """For file systems without RENAME_NOREPLACE (NFS, some FUSE): a link fails where the name is taken."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:  # some say so of links alone
            raise OSError(errno.EOPNOTSUPP, error.strerror) from error
        raise
    try:
        os.unlink(source)
    except FileNotFoundError:
        return  # gone is what it is to be; a share may have done it at the first asking, and the answer got lost
    except OSError:
        _unlink_if_there(target)
        raise


def _rename_if_free(source: bytes, target: bytes) -> None:
    """Without links either (some FUSE): what comes to the name in the instant between would be replaced.

    An empty file that reserves the name, to be replaced by the rename, is worse: rclone writes files back later, and what was
    renamed onto an empty one is empty then.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def _unlink_if_there(path: bytes) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def place(source: bytes, target: bytes) -> bytes:
    """Rename to `target` or to the first free name beside it; gives the new path."""
    names = free_names(target)
    while True:
        candidate = next(names)
        with suppress(FileExistsError):
            rename_noreplace(source, candidate)
            return candidate


def free_names(path: bytes) -> Iterator[bytes]:
    """`a/b.jpg`, `a/b-1.jpg`, `a/b-2.jpg`, ... without end; the stem is shortened where the name would become too long."""
    yield path
    directory, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    number = 1
    while True:
        suffix = b"-%d" % number + extension
        yield os.path.join(directory, stem[: _NAME_MAX - len(suffix)] + suffix)
        number += 1


def make_directories(path: bytes) -> None:
    """Make a directory and those above it, each one durably."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory)
        except FileExistsError:
            continue  # somebody else made it; if it is no directory, the next step says so
        sync_directory(os.path.dirname(directory))


def sync_directory(path: bytes) -> None:
    """Make the names in a directory durable. File systems that cannot sync directories keep their own order."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # one may put files into it, and not open it
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Make a file's bytes, or a directory's names, durable, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _FULL:
            raise
