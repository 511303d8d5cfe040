"""Moving and deleting so that a crash, a full disk or a file replaced at the last moment costs nothing. Blocks; raises OSError.

Only the observed version is touched. Since no system call removes a name only if it is a certain inode, the name is first taken
aside by a rename within its directory, looked at, and only then removed; another version that was caught is put back.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from watcher.model import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN_PREFIX: Final = b".compressor-watcher-"
"""Begins the name of everything that we ourselves put into folders for a moment."""
_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES})
_NAME_MAX: Final = 255
_COARSEST_TIMES_NS: Final = 2_000_000_001
"""FAT keeps every second second."""
_libc: Final = ctypes.CDLL(None, use_errno=True)


def is_version(status: os.stat_result, observation: Observation) -> bool:
    """Same inode, size and mtime; a rename moves the ctime, so it is not asked."""
    now = Observation.of(status)
    return (now.inode, now.size, now.mtime_ns) == (observation.inode, observation.size, observation.mtime_ns)


def delete_version(path: bytes, observation: Observation) -> bool:
    """Remove the observed version; False where another one, or none, is at the path. May be repeated after a crash."""
    aside = _aside(path, observation)
    if not _is_exactly(path, observation):
        return _finish_delete(aside, path, observation)
    try:
        rename_noreplace(path, aside)
    except FileNotFoundError:
        return False
    return _finish_delete(aside, path, observation)


def _is_exactly(path: bytes, observation: Observation) -> bool:
    """Whether the path (a link is followed) leads to the very observation, ctime included."""
    try:
        return Observation.of(os.stat(path)) == observation
    except (FileNotFoundError, NotADirectoryError):
        return False


def _aside(path: bytes, observation: Observation) -> bytes:
    """The name a version is taken aside under: the same after a restart, hidden, never taken by a scan."""
    digest = hashlib.sha1(os.path.basename(path), usedforsecurity=False).hexdigest()[:8]
    return os.path.join(os.path.dirname(path), OWN_PREFIX + b"%s-%d" % (digest.encode(), observation.inode))


def _finish_delete(aside: bytes, path: bytes, observation: Observation) -> bool:
    """Remove what was taken aside, if it is the version; else put it back."""
    try:
        status = os.stat(aside)
    except FileNotFoundError:
        return False
    directory = os.path.dirname(path)
    if is_version(status, observation):
        os.unlink(aside)
        sync_directory(directory)
        return True
    place(aside, path)
    sync_directory(directory)
    return False


def move_version(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """Move the observed version to `target`, or to a free name beside it; gives the new path.

    None where another version, or none, is at `source`. The directories are made and everything is synced.
    """
    if not _is_exactly(source, observation):
        return None
    make_directories(os.path.dirname(target))
    if stat.S_ISLNK(os.lstat(source).st_mode):
        return _copy_over(source, observation, target)
    try:
        return _rename_over(source, observation, target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return _copy_over(source, observation, target)
        raise


def _rename_over(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    try:
        final = place(source, target)
    except FileNotFoundError:
        return None
    if not is_version(os.lstat(final), observation):
        place(final, source)
        return None
    sync_directory(os.path.dirname(final))
    sync_directory(os.path.dirname(source))
    return final


def _copy_over(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """Another file system: a verified, synced copy under the final name first, then the original goes.

    After a crash in between, the copy that is there already is the one.
    """
    directory = os.path.dirname(target)
    final = _copied_before(source, observation, target) or _copied(source, observation, target)
    if final is None:
        return None
    sync_directory(directory)
    if delete_version(source, observation):
        return final
    _unlink_if_there(final)
    sync_directory(directory)
    return None


def _copied(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """Copy to `target` or a free name beside it. What a crash leaves of a copy is replaced by the next try."""
    mark = hashlib.sha1(source, usedforsecurity=False).hexdigest()[:16].encode()
    partial = os.path.join(os.path.dirname(target), OWN_PREFIX + mark + b".part")
    _unlink_if_there(partial)
    try:
        return place(partial, target) if _copy(source, observation, partial) else None
    finally:
        _unlink_if_there(partial)


def _copied_before(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """The copy that an earlier try left at `target` or beside it: same size, mtime (as far as file systems keep it) and bytes."""
    for candidate in free_names(target):
        try:
            status = os.lstat(candidate)
        except FileNotFoundError:
            return None
        there = Observation.of(status)
        alike = there.size == observation.size and abs(there.mtime_ns - observation.mtime_ns) < _COARSEST_TIMES_NS
        if alike and stat.S_ISREG(status.st_mode) and _digest(candidate) == _digest(source):
            return candidate
    return None


def _digest(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").digest()


def _copy(source: bytes, observation: Observation, partial: bytes) -> bool:
    """Copy the observed version with its mode and mtime. False where it is not there, or changed meanwhile."""
    with open(source, "rb") as reader:
        status = os.fstat(reader.fileno())
        if not is_version(status, observation):
            return False
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w+b") as writer:
            digest = hashlib.sha1(usedforsecurity=False)
            while block := reader.read(1 << 20):
                digest.update(block)
                writer.write(block)
            writer.flush()
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(descriptor)
            writer.seek(0)
            copied = hashlib.file_digest(writer, "sha1").digest()
        if copied != digest.digest():
            raise OSError(errno.EIO, "the copy differs from the original")
        return is_version(os.fstat(reader.fileno()), observation)


def place(source: bytes, target: bytes) -> bytes:
    """Rename to `target` or to the first free name beside it; gives the new path."""
    names = free_names(target)
    while True:
        candidate = next(names)
        with suppress(FileExistsError):
            rename_noreplace(source, candidate)
            return candidate


def _unlink_if_there(path: bytes) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


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


def rename_noreplace(source: bytes, target: bytes) -> None:
    """Rename, and never onto something that is there: FileExistsError then. Other failures as OSError."""
    if _libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), source, None, target)
    _rename_by_link(source, target)


def _rename_by_link(source: bytes, target: bytes) -> None:
    """For file systems without RENAME_NOREPLACE (NFS, some FUSE): a link fails where the name is taken."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_by_reservation(source, target)
        return
    os.unlink(source)


def _rename_by_reservation(source: bytes, target: bytes) -> None:
    """Without links either: an empty file reserves the name, and the rename replaces that."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        os.rename(source, target)
    except OSError:
        os.unlink(target)
        raise


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
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)
