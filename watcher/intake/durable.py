"""Moving and deleting so that a crash, a full disk or a file replaced at the last moment costs nothing. Blocks; raises OSError.

Only the observed version is touched. Since no system call removes a name only if it is a certain inode, the name is first taken
aside by a rename within its directory, looked at, and only then removed; another version that was caught is put back.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from watcher.intake.copying import copied, is_like, sha1_of, unlink_if_there
from watcher.intake.files import OWN_PREFIX, is_version
from watcher.intake.renaming import free_names, make_directories, place, rename_noreplace, sync_directory
from watcher.model import Observation

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_RIGHT: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def delete_version(path: bytes, observation: Observation) -> bool:
    """Remove the observed version; False where another one, or none, is at the path. May be repeated after a crash."""
    aside = _aside(path, observation)
    if not _is_exactly(path, observation):
        return _finish_delete(aside, path, observation)
    try:
        rename_noreplace(path, aside)
    except FileNotFoundError:
        pass  # somebody else took it away; or a share did it at the first asking, and the answer got lost
    except OSError as error:
        return _delete_in_place(path, observation, error)
    return _finish_delete(aside, path, observation)


def _delete_in_place(path: bytes, observation: Observation, problem: OSError) -> bool:
    """Where nothing can be renamed, but perhaps deleted."""
    if not _is_exactly(path, observation):
        return False
    try:
        unlink_if_there(path)
    except OSError:
        raise problem from None
    sync_directory(os.path.dirname(path))
    return True


def _is_exactly(path: bytes, observation: Observation) -> bool:
    """Whether the path (a link is followed) leads to the very observation, ctime included where inodes last."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return is_version(status, observation) and (not observation.inode or Observation.of(status) == observation)


def _aside(path: bytes, observation: Observation) -> bytes:
    """The name a version is taken aside under: the same after a restart, hidden, never taken by a scan."""
    digest = hashlib.sha1(os.path.basename(path), usedforsecurity=False).hexdigest()[:8]
    number = observation.inode or observation.mtime_ns
    return os.path.join(os.path.dirname(path), OWN_PREFIX + b"%s-%d" % (digest.encode(), number))


def _finish_delete(aside: bytes, path: bytes, observation: Observation) -> bool:
    """Remove what was taken aside, if it is the version; else put it back."""
    try:
        status = os.stat(aside)
    except FileNotFoundError:
        return False
    directory = os.path.dirname(path)
    if is_version(status, observation):
        unlink_if_there(aside)
        sync_directory(directory)
        return True
    with suppress(FileNotFoundError):
        place(aside, path)
    sync_directory(directory)
    return False


def was_deleted(path: bytes) -> bool:
    """Whether nothing is at a path whose directory is there: a deletion before a crash leaves it so."""
    return not os.path.lexists(path) and os.path.isdir(os.path.dirname(path))


def move_version(source: bytes, observation: Observation, target: bytes, sha1: str | None = None) -> bytes | None:
    """Move the observed version to `target`, or to a free name beside it; gives the new path.

    None where another version, or none, is at `source`. The directories are made and everything is synced. May be repeated after
    a crash: what was moved before it is found again, a copy by the `sha1` of its bytes.
    """
    if not _is_exactly(source, observation):
        moved = _moved_before(source, observation, target, sha1)
        _settle_aside(source, observation, is_moved=moved is not None)
        return moved
    make_directories(os.path.dirname(target))
    if stat.S_ISLNK(os.lstat(source).st_mode):
        return _copy_over(source, observation, target)
    try:
        return _rename_over(source, observation, target, sha1)
    except OSError as error:
        if error.errno in _NO_RIGHT and not _may_write(os.path.dirname(source)):
            raise
        return _copy_over(source, observation, target)


def _may_write(directory: bytes) -> bool:
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def _moved_before(source: bytes, observation: Observation, target: bytes, sha1: str | None) -> bytes | None:
    """Where an earlier try, which a crash kept from being written down, has moved the version; None if there was none."""
    here = _status(source)
    for candidate, there in _taken(target):
        if here is not None and os.path.samestat(here, there):  # linked there, and not yet unlinked here
            if is_version(there, observation):
                unlink_if_there(source)
                sync_directory(os.path.dirname(source))
                return candidate
        elif _is_moved(candidate, there, observation, sha1):
            return candidate
    return None


def _settle_aside(source: bytes, observation: Observation, *, is_moved: bool) -> None:
    """A crash may have left the original under the name it was taken aside under: it goes if its copy is there, else back."""
    aside = _aside(source, observation)
    status = _status(aside)
    if status is None:
        return
    if is_moved and is_version(status, observation):
        unlink_if_there(aside)
    else:
        with suppress(FileNotFoundError):
            place(aside, source)
    sync_directory(os.path.dirname(source))


def _is_moved(candidate: bytes, there: os.stat_result, observation: Observation, sha1: str | None) -> bool:
    if observation.inode and is_version(there, observation):
        return True
    return sha1 is not None and is_like(there, observation) and sha1_of(candidate) == sha1


def _taken(target: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """What lies at `target` and the names beside it, up to the first free one."""
    for candidate in free_names(target):
        status = _status(candidate)
        if status is None:
            return
        yield candidate, status


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _rename_over(source: bytes, observation: Observation, target: bytes, sha1: str | None) -> bytes | None:
    try:
        final = place(source, target)
    except FileNotFoundError:  # somebody else took it away; or a share moved it, and the answer got lost
        return _moved_before(source, observation, target, sha1)
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
    final = copied(source, observation, target)
    if final is None:
        return None
    try:
        sync_directory(directory)
        if delete_version(source, observation):
            return final
    except OSError:
        with suppress(OSError):
            unlink_if_there(final)
        raise
    unlink_if_there(final)
    sync_directory(directory)
    return None
