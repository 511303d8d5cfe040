"""The files themselves: looked at, opened once, hashed, moved and deleted durably.

An edge: everything here blocks but the coroutines, which hand the work to the folder's threads.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import NotAnswering, SourceChanged, SourceGone, Unavailable
from watcher.formats.containers import judge
from watcher.formats.sizes import pixel_size
from watcher.intake.durable import delete_version, is_version, move_version
from watcher.intake.pools import Lane, made_progress
from watcher.intake.settle import Inspection, NotYet, Writers
from watcher.model import FileRef, IgnoredReason, Observation, SourceFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.intake.pools import Pools
    from watcher.intake.roots import Roots

T = TypeVar("T")

_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_REMEMBERED: Final = 10_000
_HASH_BLOCK: Final = 1 << 20
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """Not for us, whatever it holds: no regular file, a link that leads nowhere good, or not readable.

    `lasting` is False where the reason may pass without a change of the file (an I/O error): nothing is remembered then.
    """

    observation: Observation
    reason: IgnoredReason
    message: str = ""
    lasting: bool = True


class NotThere(Exception):
    """No file is at the path, or not the one that was looked for."""


def ignore_lease_breaks() -> None:
    """A lease broken in the instant in which it is held brings SIGIO, whose default ends the process. Main thread only."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class Inspector:
    """How a file is looked at. `leases`: a lease can be believed here. `before`: what the last look left. `still`: that version,
    if it is still there, has stood long enough to be read although writers cannot be seen."""

    leases: bool
    before: NotYet | None = None
    still: bool = False


def inspect_file(real_root: bytes, relative: bytes, inspector: Inspector) -> Inspection | Unsuitable | None:
    """One look at a file, for `settle`; None where nothing is there (any more)."""
    path = real_root + b"/" + relative
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            link = Observation.of(status)
            try:
                path, _ = _followed(real_root, path)
                status = os.lstat(path)
                if stat.S_ISLNK(status.st_mode):
                    return Unsuitable(link, IgnoredReason.SYMLINK_BROKEN)  # it leads to itself
            except NotThere:
                return Unsuitable(link, IgnoredReason.SYMLINK_OUTSIDE)
            except FileNotFoundError:
                return Unsuitable(link, IgnoredReason.SYMLINK_BROKEN)
        return _inspect_regular(path, status, inspector)
    except NotThere:
        return None
    except OSError as error:
        return _unreadable(path, error)


def _inspect_regular(path: bytes, status: os.stat_result, inspector: Inspector) -> Inspection | Unsuitable:
    if not stat.S_ISREG(status.st_mode):
        return Unsuitable(Observation.of(status), IgnoredReason.NOT_REGULAR)
    if status.st_size == 0:
        return Inspection(Observation.of(status), Writers.UNKNOWN)
    descriptor = _open_expected(path)
    try:
        return _inspect_content(descriptor, inspector)
    finally:
        os.close(descriptor)


def _inspect_content(descriptor: int, inspector: Inspector) -> Inspection:
    observation = Observation.of(os.fstat(descriptor))
    writers = _writers(descriptor) if inspector.leases else Writers.UNKNOWN
    before = inspector.before if inspector.before is not None and inspector.before.observation == observation else None
    if writers is Writers.SOME or (writers is Writers.UNKNOWN and not (before is not None and inspector.still)):
        return Inspection(observation, writers)
    verdict = before.verdict if before is not None else None
    if verdict is None:
        verdict = judge(_reader(descriptor), observation.size)
    if Observation.of(os.fstat(descriptor)) != observation:
        return Inspection(observation, Writers.SOME)
    return Inspection(observation, writers, verdict)


def _open_expected(path: bytes) -> int:
    """A descriptor of the regular file at a path that has no symbolic link in it.

    Raises NotThere where there is none, or where a directory on the way was swapped for a link.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno in _GONE:
            raise NotThere from None
        raise
    if os.readlink(b"/proc/self/fd/%d" % descriptor) == path and stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NotThere


def _reader(descriptor: int) -> Callable[[int, int], bytes]:
    return lambda offset, size: os.pread(descriptor, size, offset)


def _writers(descriptor: int) -> Writers:
    """Whether anybody has the file open for writing: a read lease is granted only where nobody has (fcntl(2)).

    It is dropped in the same breath, since whoever opens the file for writing would have to wait for us.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.SOME if error.errno == errno.EAGAIN else Writers.UNKNOWN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE


def _unreadable(path: bytes, error: OSError) -> Unsuitable | None:
    if error.errno in _GONE:
        return None
    rights = error.errno in (errno.EACCES, errno.EPERM)
    return _unsuitable(path, error.strerror or str(error), lasting=rights)


def uninspected(real_root: bytes, relative: bytes, message: str) -> Unsuitable | None:
    """For a file at which no look can be had for another reason than its own; None where it is not there."""
    return _unsuitable(real_root + b"/" + relative, message, lasting=False)


def _unsuitable(path: bytes, message: str, *, lasting: bool) -> Unsuitable | None:
    try:
        observation = Observation.of(os.lstat(path))
    except OSError:
        return None  # what cannot even be asked about is found again by the next scan
    return Unsuitable(observation, IgnoredReason.UNREADABLE, message, lasting=lasting)


class OpenOriginal:
    """Implements `watcher.ports.Source`. `through_link`: the path is a symbolic link to the file."""

    def __init__(
        self,
        descriptor: int,
        path: bytes,
        observation: Observation,
        facts: SourceFacts,
        threads: FolderThreads,
        *,
        through_link: bool,
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._observation = observation
        self._facts = facts
        self._threads = threads
        self._through_link = through_link

    @property
    def facts(self) -> SourceFacts:
        """Name, SHA-1, size and format of the bytes behind the descriptor."""
        return self._facts

    def fileno(self) -> int:
        """The descriptor; -1 after `close`."""
        return self._descriptor

    async def is_current(self) -> bool:
        """Whether the path still leads to this inode and version."""
        return await self._threads.run(Lane.ORIGINALS, self._is_current)

    def _is_current(self) -> bool:
        try:
            return is_version(os.stat(self._path, follow_symlinks=self._through_link), self._observation)
        except OSError:
            return False

    async def run(self, work: Callable[[], T]) -> T:
        """See `Source.run`."""
        return await self._threads.run(Lane.SERVING, work)

    def start(self, work: Callable[[], object]) -> None:
        """See `Source.start`."""
        self._threads.start(Lane.SERVING, work)

    def is_intact(self) -> bool:
        """Whether size and mtime are those of the bytes that were hashed."""
        return self._descriptor >= 0 and is_version(os.fstat(self._descriptor), self._observation)

    def close(self) -> None:
        """Give the descriptor back; a share may have to be asked for that too, so a thread does it."""
        if self._descriptor >= 0:
            self._threads.start(Lane.ORIGINALS, partial(os.close, self._descriptor))
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class FolderThreads:
    """The threads of one folder."""

    pools: Pools
    root: Path

    async def run(self, lane: Lane, work: Callable[[], T], *, undo: Callable[[T], None] | None = None) -> T:
        """See `Pools.run`."""
        return await self.pools.run(self.root, lane, work, undo=undo)

    def start(self, lane: Lane, work: Callable[[], object]) -> None:
        """See `Pools.start`."""
        self.pools.start(self.root, lane, work)


class FileOriginals:
    """Implements `watcher.ports.Originals`.

    `roots` and `pools` are the intake's, which knows what the folders lie on and has their threads.
    """

    def __init__(self, roots: Roots, pools: Pools) -> None:
        self._roots = roots
        self._pools = pools
        self._hashed_as: dict[tuple[FileRef, Observation], Observation] = {}

    async def open(self, file: FileRef, observation: Observation, sha1: str | None = None) -> OpenOriginal:
        """See `Originals.open`."""
        work = partial(self._open, file, observation, sha1)
        return await self._pools.run(file.root, Lane.ORIGINALS, work, undo=OpenOriginal.close)

    async def delete(self, file: FileRef, observation: Observation) -> bool:
        """See `Originals.delete`. Raises Unavailable where the folder does not let us."""
        return await self._pools.run(file.root, Lane.DISPOSAL, partial(self._delete, file, observation))

    async def is_there(self, file: FileRef) -> bool:
        """See `Originals.is_there`."""
        return await self._pools.run(file.root, Lane.ORIGINALS, partial(self._is_there, file))

    async def is_present(self, root: Path) -> bool:
        """See `Originals.is_present`."""
        try:
            return await self._pools.run(root, Lane.PROBE, partial(self._roots.is_healthy, root))
        except NotAnswering:
            return False

    async def move(self, file: FileRef, observation: Observation, target: Path) -> Path | None:
        """See `Originals.move`."""
        return await self._pools.run(file.root, Lane.DISPOSAL, partial(self._move, file, observation, target))

    def _is_there(self, file: FileRef) -> bool:
        return os.path.lexists(self._roots.real(file.root) + b"/" + file.relative)

    def _open(self, file: FileRef, observation: Observation, sha1: str | None) -> OpenOriginal:
        path = self._roots.real(file.root) + b"/" + file.relative
        try:
            real, through_link = _followed(self._roots.real(file.root), path)
            descriptor = _open_expected(real)
        except NotThere:
            raise self._absence(file) from None
        except OSError as error:
            raise _unavailable("cannot be read", file.path, error) from error
        try:
            opened = Observation.of(os.fstat(descriptor))
            facts = self._hashed_as_before(descriptor, file, observation, sha1)
        except BaseException:  # nobody else knows of the descriptor
            os.close(descriptor)
            raise
        self._remember(file, observation, opened)
        threads = FolderThreads(self._pools, file.root)
        return OpenOriginal(descriptor, path, opened, facts, threads, through_link=through_link)

    def _remember(self, file: FileRef, observation: Observation, opened: Observation) -> None:
        """Programs that set times and mode after the close leave us with an observation that is a moment too old."""
        if opened != observation:
            if len(self._hashed_as) >= _REMEMBERED:
                self._hashed_as.clear()
            self._hashed_as[file, observation] = opened

    def _hashed_as_before(self, descriptor: int, file: FileRef, observation: Observation, sha1: str | None) -> SourceFacts:
        """The same, of a file that was hashed once already (None: it was not)."""
        facts = self._hashed(descriptor, file, observation)
        if sha1 not in (None, facts.sha1):
            raise SourceChanged("the file was written over")
        return facts

    def _hashed(self, descriptor: int, file: FileRef, observation: Observation) -> SourceFacts:
        """Everything that is said of the original, from the one descriptor. Raises SourceChanged, Unavailable.

        Times alone make no other version here: what counts is what these bytes are now.
        """
        before = os.fstat(descriptor)
        if (before.st_ino, before.st_size) != (observation.inode, observation.size):
            raise SourceChanged("another version of the file is there")
        if self._roots.leases(file.root) and _writers(descriptor) is Writers.SOME:
            raise Unavailable(f"{file.path} is open for writing", "it is tried again when its writer has closed it")
        try:
            verdict = judge(_reader(descriptor), before.st_size)
            pixels = verdict.format and pixel_size(_reader(descriptor), before.st_size, verdict.format)
            sha1 = _sha1(descriptor)
        except OSError as error:
            raise _unavailable("cannot be read", file.path, error) from error
        if verdict.format is None or not verdict.whole:
            raise SourceChanged(f"the file is no whole image: {verdict.missing or 'not an image'}")
        if Observation.of(os.fstat(descriptor)) != Observation.of(before):
            raise SourceChanged("the file changed while it was read")
        return SourceFacts(file.path.name, sha1, before.st_size, verdict.format, *(pixels or ()))

    def _absence(self, file: FileRef) -> SourceGone | Unavailable:
        """A file that is missing from a folder that is itself missing is not gone: it waits for the folder."""
        if self._roots.is_healthy(file.root):
            return SourceGone("there is no such file any more")
        return Unavailable(f"the folder {file.root} is not there", "mount it or make it again; the image waits")

    def _delete(self, file: FileRef, observation: Observation) -> bool:
        version = self._hashed_as.get((file, observation), observation)
        try:
            return delete_version(self._roots.real(file.root) + b"/" + file.relative, version)
        except OSError as error:
            raise _unavailable("cannot be deleted", file.path, error) from error

    def _move(self, file: FileRef, observation: Observation, target: Path) -> Path | None:
        source = self._roots.real(file.root) + b"/" + file.relative
        version = self._hashed_as.get((file, observation), observation)
        try:
            moved = move_version(source, version, os.fsencode(target) + b"/" + file.relative)
        except OSError as error:
            raise _unavailable(f"cannot be moved to {target}", file.path, error) from error
        return Path(os.fsdecode(moved)) if moved is not None else None


def _followed(real_root: bytes, path: bytes) -> tuple[bytes, bool]:
    """Where to open, and whether `path` is a symbolic link to there. Raises NotThere where the link leads out of the folder."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return path, False
    except OSError as error:
        if error.errno in _GONE:
            raise NotThere from None
        raise
    real = os.path.realpath(path)
    if not real.startswith(real_root + b"/"):
        raise NotThere
    return real, True


def _sha1(descriptor: int) -> str:
    digest, offset = hashlib.sha1(usedforsecurity=False), 0
    while block := os.pread(descriptor, _HASH_BLOCK, offset):
        digest.update(block)
        offset += len(block)
        made_progress()
    return digest.hexdigest()


def _unavailable(what: str, path: Path, error: OSError) -> Unavailable:
    hint = "check the owner, mode and mount of the file and its folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room there"
    elif error.errno == errno.EROFS:
        hint = "the folder is read-only for this process: see ReadWritePaths= of the service, or the mount"
    return Unavailable(f"{path} {what}: {error.strerror}", hint)
