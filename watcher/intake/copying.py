"""Copies of originals on other file systems: verified, durable, and as like the original as the target allows. Blocks."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from watcher.intake.files import OWN_PREFIX, is_version
from watcher.intake.pools import made_progress
from watcher.intake.renaming import free_names, place, sync
from watcher.model import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

_COARSEST_TIMES_NS: Final = 2_000_000_001
"""FAT keeps every second second."""
_BLOCK: Final = 1 << 20


def copied(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """Copy to `target` or a free name beside it; gives the path. None where another version, or none, is at `source`.

    The copy that an earlier try left is taken for it; what a crash left of a copy is replaced.
    """
    if (before := copied_before(source, observation, target)) is not None:
        return before
    mark = hashlib.sha1(source, usedforsecurity=False).hexdigest()[:16].encode()
    partial = os.path.join(os.path.dirname(target), OWN_PREFIX + mark + b".part")
    unlink_if_there(partial)
    try:
        made = place(partial, target) if _copy(source, observation, partial) else None
    finally:
        unlink_if_there(partial)
    if made is not None:
        _see_to_its_time(made, observation)
    return made


def _see_to_its_time(copy: bytes, observation: Observation) -> None:
    """Give it the original's time once more, where it shows another: rclone does until all have closed what it has to upload."""
    status = os.lstat(copy)
    if not is_like(status, observation):
        _tried(lambda: os.utime(copy, ns=(status.st_atime_ns, observation.mtime_ns)))


def copied_before(source: bytes, observation: Observation, target: bytes) -> bytes | None:
    """The copy that an earlier try left at `target` or beside it: same size, mtime (as far as file systems keep it) and bytes."""
    for candidate in free_names(target):
        try:
            status = os.lstat(candidate)
        except FileNotFoundError:
            return None
        if is_like(status, observation) and sha1_of(candidate) == sha1_of(source):
            return candidate
    return None


def is_like(status: os.stat_result, observation: Observation) -> bool:
    """Whether a file could be a copy of the version, by its size and mtime."""
    there = Observation.of(status)
    alike = there.size == observation.size and abs(there.mtime_ns - observation.mtime_ns) < _COARSEST_TIMES_NS
    return alike and stat.S_ISREG(status.st_mode)


def sha1_of(path: bytes) -> str:
    """The SHA-1 of a file's bytes, in hex."""
    digest = hashlib.sha1(usedforsecurity=False)
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            made_progress()
    return digest.hexdigest()


def unlink_if_there(path: bytes) -> None:
    """Remove a name, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _copy(source: bytes, observation: Observation, partial: bytes) -> bool:
    """Copy the observed version. False where it is not there, or changed meanwhile."""
    with open(source, "rb", buffering=0) as reader:
        status = os.fstat(reader.fileno())
        if not is_version(status, observation):
            return False
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w+b") as writer:
            digest = hashlib.sha1(usedforsecurity=False)
            while block := reader.read(_BLOCK):
                digest.update(block)
                writer.write(block)
                made_progress()
            writer.flush()
            _take_after(descriptor, reader.fileno(), status)
            sync(descriptor)
        if sha1_of(partial) != digest.hexdigest():
            raise OSError(errno.EIO, "the copy differs from the original")
        return is_version(os.fstat(reader.fileno()), observation)


def _take_after(copy: int, original: int, status: os.stat_result) -> None:
    """Owner, mode, ACLs, other attributes and times, as far as this user may set them and the file system keeps them.

    The owner first: a change of it takes rights from the mode. The times last: the others change them.
    """
    if not _tried(lambda: os.fchown(copy, status.st_uid, status.st_gid)):
        _tried(lambda: os.fchown(copy, -1, status.st_gid))
    _tried(lambda: os.fchmod(copy, stat.S_IMODE(status.st_mode)))
    for name in _attributes(original):
        _tried(lambda name=name: os.setxattr(copy, name, os.getxattr(original, name)))  # type: ignore[misc]
    _tried(lambda: os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns)))


def _attributes(descriptor: int) -> list[str]:
    """Extended attributes by name; ACLs are among them (system.posix_acl_access)."""
    try:
        return os.listxattr(descriptor)
    except OSError:
        return []  # a file system without them


def _tried(change: Callable[[], None]) -> bool:
    try:
        change()
    except OSError:
        return False
    return True
