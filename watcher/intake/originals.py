"""The originals of images: opened once, hashed, moved and deleted, in threads of what they lie on."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR, NotAnswering, SourceChanged, SourceGone, Unavailable
from watcher.formats.containers import judge
from watcher.formats.sizes import pixel_size
from watcher.intake.durable import delete_version, move_version, was_deleted
from watcher.intake.files import GONE, NotThere, followed, is_version, open_expected, reader_of, writers_of
from watcher.intake.pools import Lane, made_progress
from watcher.intake.renaming import make_directories
from watcher.intake.settle import Writers
from watcher.model import FileRef, Observation, SourceFacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from watcher.intake.emptied import EmptiedDirectories
    from watcher.intake.pools import Pools
    from watcher.intake.roots import Place, Roots

T = TypeVar("T")
_REMEMBERED: Final = 10_000
_HASH_BLOCK: Final = 1 << 20
_LOST: Final = GONE | {errno.ESTALE}
"""What a share says of an open file that it has no more: some ask for it by its path, others keep no file that was removed."""


class OpenOriginal:
    """Implements `watcher.ports.Source`. `through_link`: the path is a symbolic link to the file.

    `seen_at`: when the path led here (monotonic seconds).
    """

    def __init__(
        self,
        descriptor: int,
        path: bytes,
        observation: Observation,
        facts: SourceFacts,
        threads: PlaceThreads,
        *,
        through_link: bool,
        seen_at: float,
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._observation = observation
        self._facts = facts
        self._threads = threads
        self._through_link = through_link
        self._seen_at = seen_at

    @property
    def facts(self) -> SourceFacts:
        """Name, SHA-1, size and format of the bytes behind the descriptor."""
        return self._facts

    def fileno(self) -> int:
        """The descriptor; -1 after `close`."""
        return self._descriptor

    async def is_current(self, within: float = 0.0) -> bool:
        """Whether the path still leads to this inode and version, or did within so many seconds."""
        if within and time.monotonic() - self._seen_at <= within:
            return True
        asked_at = time.monotonic()
        is_current = await self._threads.run(Lane.ORIGINALS, self._is_current)
        self._seen_at = asked_at if is_current else float("-inf")
        return is_current

    def _is_current(self) -> bool:
        try:
            return is_version(os.stat(self._path, follow_symlinks=self._through_link), self._observation)
        except OSError as error:
            if error.errno in GONE:
                return False
            raise _unavailable("cannot be looked at", Path(os.fsdecode(self._path)), error) from error

    async def run(self, work: Callable[[], T]) -> T:
        """See `Source.run`."""
        return await self._threads.run(Lane.SERVING, work)

    def start(self, work: Callable[[], object]) -> None:
        """See `Source.start`."""
        self._threads.start(Lane.SERVING, work)

    def is_intact(self) -> bool:
        """Whether size and mtime are those of the bytes that were hashed. Raises Unavailable where the disk is in trouble."""
        try:
            return self._descriptor >= 0 and is_version(os.fstat(self._descriptor), self._observation)
        except OSError as error:
            if error.errno in _LOST:
                return False
            raise _unavailable("cannot be looked at", Path(os.fsdecode(self._path)), error) from error

    def close(self) -> None:
        """Give the descriptor back; a share may have to be asked for that too, so a thread does it."""
        if self._descriptor >= 0:
            self._threads.start(Lane.ORIGINALS, partial(os.close, self._descriptor))
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class PlaceThreads:
    """The threads of what a file lies on."""

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

    def __init__(self, roots: Roots, pools: Pools, emptied: Callable[[str], EmptiedDirectories | None] = lambda _: None) -> None:
        """`emptied` gives, by a folder's name, what removes the directories that it lost its files from; None where they stay."""
        self._roots = roots
        self._pools = pools
        self._emptied = emptied
        self._hashed_as: dict[tuple[FileRef, Observation], Observation] = {}

    async def open(self, file: FileRef, observation: Observation, sha1: str | None = None) -> OpenOriginal:
        """See `Originals.open`."""
        work = partial(self._open, file, observation, sha1)
        return await self._pools.run(self._place(file).threads, Lane.ORIGINALS, work, undo=OpenOriginal.close)

    async def delete(self, file: FileRef, observation: Observation) -> bool:
        """See `Originals.delete`. Raises Unavailable where the folder does not let us."""
        return await self._pools.run(self._place(file).threads, Lane.DISPOSAL, partial(self._delete, file, observation))

    async def is_there(self, file: FileRef) -> bool:
        """See `Originals.is_there`."""
        if self._roots.is_away(file.root, file.relative):
            raise _away(file)
        return await self._pools.run(self._place(file).threads, Lane.ORIGINALS, partial(self._is_there, file))

    async def is_present(self, root: Path) -> bool:
        """See `Originals.is_present`."""
        try:
            return await self._pools.run(root, Lane.PROBE, partial(self._roots.is_healthy, root))
        except NotAnswering:
            return False

    async def move(self, file: FileRef, observation: Observation, target: Path, sha1: str | None = None) -> Path | None:
        """See `Originals.move`."""
        work = partial(self._move, file, observation, target, sha1)
        return await self._pools.run(self._place(file).threads, Lane.DISPOSAL, work)

    def _place(self, file: FileRef) -> Place:
        return self._roots.place_of(file.root, file.relative)

    def _is_there(self, file: FileRef) -> bool:
        return os.path.lexists(self._roots.real(file.root) + b"/" + file.relative)

    def _open(self, file: FileRef, observation: Observation, sha1: str | None) -> OpenOriginal:
        place, seen_at = self._place(file), time.monotonic()
        path = self._roots.real(file.root) + b"/" + file.relative
        try:
            real, through_link = followed(self._roots.real(file.root), path)
            descriptor = open_expected(real)
        except NotThere:
            raise self._absence(file) from None
        except OSError as error:
            raise _unavailable("cannot be read", file.path, error) from error
        try:
            opened = place.observe(os.fstat(descriptor))
            facts = self._hashed_as_before(descriptor, file, observation, sha1)
        except BaseException as error:  # nobody else knows of the descriptor
            os.close(descriptor)
            if isinstance(error, OSError):
                raise _unavailable("cannot be read", file.path, error) from error
            raise
        self._remember(file, observation, opened)
        threads = PlaceThreads(self._pools, place.threads)
        return OpenOriginal(descriptor, path, opened, facts, threads, through_link=through_link, seen_at=seen_at)

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

        Times alone make no other version here: what counts is what these bytes are now. Only where their formal end is missing
        must it be the very version that stood still.
        """
        before = os.fstat(descriptor)
        place = self._place(file)
        if (observation.inode and before.st_ino != observation.inode) or before.st_size != observation.size:
            raise SourceChanged("another version of the file is there")
        if self._roots.leases(file.root, place) and writers_of(descriptor, place) is Writers.SOME:
            raise Unavailable(f"{file.path} is open for writing", "it is tried again when its writer has closed it")
        try:
            verdict = judge(reader_of(descriptor), before.st_size)
            pixels = verdict.format and pixel_size(reader_of(descriptor), before.st_size, verdict.format)
            sha1 = _sha1(descriptor)
        except OSError as error:
            raise _unavailable("cannot be read", file.path, error) from error
        if verdict.format is None or not (verdict.whole or (verdict.formal and is_version(before, observation))):
            raise SourceChanged(f"the file is no whole image: {verdict.missing or 'not an image'}")
        if place.observe(os.fstat(descriptor)) != place.observe(before):
            raise SourceChanged("the file changed while it was read")
        width, height = pixels or (None, None)
        return SourceFacts(file.path.name, sha1, before.st_size, verdict.format, width, height, no_formal_end=not verdict.whole)

    def _absence(self, file: FileRef) -> SourceGone | Unavailable:
        """A file that is missing from a folder that is itself missing is not gone: it waits for the folder."""
        if self._roots.is_away(file.root, file.relative):
            return _away(file)
        if self._roots.is_healthy(file.root):
            return SourceGone("there is no such file any more")
        return Unavailable(f"the folder {file.root} is not there", "mount it or make it again; the image waits")

    def _delete(self, file: FileRef, observation: Observation) -> bool:
        version = self._hashed_as.get((file, observation), observation)
        path = self._roots.real(file.root) + b"/" + file.relative
        try:
            with self._taking(file):
                return delete_version(path, version) or was_deleted(path)
        except OSError as error:
            raise _unavailable("cannot be deleted", file.path, error) from error

    def _taking(self, file: FileRef) -> AbstractContextManager[None]:
        """Around what takes the file out of its directory."""
        emptied = self._emptied(file.folder)
        if emptied is None:
            return nullcontext()
        return emptied.taking_from(self._roots.real(file.root), file.relative.rpartition(b"/")[0])

    def _move(self, file: FileRef, observation: Observation, target: Path, sha1: str | None) -> Path | None:
        source = self._roots.real(file.root) + b"/" + file.relative
        version = self._hashed_as.get((file, observation), observation)
        wanted = os.fsencode(target) + b"/" + file.relative
        try:
            make_directories(os.path.dirname(wanted))
            self._roots.targets.refuse_loop(target, os.path.dirname(wanted), self._roots.ids())
            with self._taking(file):
                moved = move_version(source, version, wanted, sha1)
        except OSError as error:
            raise _unavailable(f"cannot be moved to {target}", file.path, error) from error
        return Path(os.fsdecode(moved)) if moved is not None else None


def _sha1(descriptor: int) -> str:
    digest, offset = hashlib.sha1(usedforsecurity=False), 0
    while block := os.pread(descriptor, _HASH_BLOCK, offset):
        digest.update(block)
        offset += len(block)
        made_progress()
    return digest.hexdigest()


def _away(file: FileRef) -> Unavailable:
    return Unavailable(f"what {file.path} lies on is not mounted any more", "mount it again; the image waits")


def _unavailable(what: str, path: Path, error: OSError) -> Unavailable:
    hint = "check the owner, mode and mount of the file and its folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "make room there"
    elif error.errno in CANNOT_TELL:
        hint = NO_DESCRIPTOR
    elif error.errno == errno.EROFS:
        hint = "the folder is read-only for this process: see ReadWritePaths= of the service, or the mount"
    return Unavailable(f"{path} {what}: {error.strerror}", hint)
