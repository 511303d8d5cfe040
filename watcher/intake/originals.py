"""The originals of images: opened once, hashed, moved and deleted, in threads of what they lie on."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import NotAnswering, SourceChanged, SourceGone, Unavailable
from watcher.formats.containers import judge
from watcher.formats.sizes import pixel_size
from watcher.intake.contents import Contents, Memory
from watcher.intake.durable import delete_version, move_version, was_deleted
from watcher.intake.files import NotThere, followed, is_version, open_expected, writers_of
from watcher.intake.opened import OpenOriginal, PlaceThreads, unavailable
from watcher.intake.pools import Lane
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


class FileOriginals:
    """Implements `watcher.ports.Originals`.

    `roots` and `pools` are the intake's, which knows what the folders lie on and has their threads.
    """

    def __init__(
        self,
        roots: Roots,
        pools: Pools,
        emptied: Callable[[str], EmptiedDirectories | None] = lambda _: None,
        memory: Memory | None = None,
    ) -> None:
        """`emptied` gives, by a folder's name, what removes the directories that it lost its files from; None where they stay.

        `memory`: what small originals are held in.
        """
        self._roots = roots
        self._pools = pools
        self._emptied = emptied
        self._memory = memory or Memory()
        self._hashed_as: dict[tuple[FileRef, Observation], Observation] = {}

    async def open(self, file: FileRef, observation: Observation, sha1: str | None = None) -> OpenOriginal:
        """See `Originals.open`."""
        place = self._place(file)
        work = partial(self._open, file, place, observation, sha1)
        return await self._pools.run(place.threads, Lane.ORIGINALS, work, undo=OpenOriginal.close)

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

    def _open(self, file: FileRef, place: Place, observation: Observation, sha1: str | None) -> OpenOriginal:
        seen_at, real_root = time.monotonic(), self._roots.real(file.root)
        path = real_root + b"/" + file.relative
        try:
            real, through_link = followed(real_root, path)
            descriptor, status = open_expected(real)
        except NotThere:
            raise self._absence(file) from None
        except OSError as error:
            raise unavailable("cannot be read", file.path, error) from error
        contents = Contents(descriptor, observation.size, self._memory)
        try:
            opened = place.observe(status)
            facts = self._hashed_as_before(contents, (status, place), file, observation, sha1)
            contents.leave_file()
        except BaseException as error:  # nobody else knows of the descriptor
            os.close(contents.let_go())
            if isinstance(error, OSError):
                raise unavailable("cannot be read", file.path, error) from error
            raise
        self._remember(file, observation, opened)
        threads = PlaceThreads(self._pools, place.threads)
        return OpenOriginal(contents, path, opened, facts, threads, through_link=through_link, seen_at=seen_at)

    def _remember(self, file: FileRef, observation: Observation, opened: Observation) -> None:
        """Programs that set times and mode after the close leave us with an observation that is a moment too old."""
        if opened != observation:
            if len(self._hashed_as) >= _REMEMBERED:
                self._hashed_as.clear()
            self._hashed_as[file, observation] = opened

    def _hashed_as_before(
        self, contents: Contents, found: tuple[os.stat_result, Place], file: FileRef, observation: Observation, sha1: str | None
    ) -> SourceFacts:
        """The same, of a file that was hashed once already (None: it was not)."""
        facts = self._hashed(contents, found, file, observation)
        if sha1 not in (None, facts.sha1):
            raise SourceChanged("the file was written over")
        return facts

    def _hashed(
        self, contents: Contents, found: tuple[os.stat_result, Place], file: FileRef, observation: Observation
    ) -> SourceFacts:
        """Everything that is said of the original, from the one descriptor. Raises SourceChanged, Unavailable.

        `found`: what the kernel said of it when it was opened, and what it lies on.

        Times alone make no other version here: what counts is what these bytes are now. Only where their formal end is missing
        must it be the very version that stood still.
        """
        descriptor, (before, place) = contents.descriptor, found
        if (observation.inode and before.st_ino != observation.inode) or before.st_size != observation.size:
            raise SourceChanged("another version of the file is there")
        if self._roots.leases(file.root, place) and writers_of(descriptor, before, place) is Writers.SOME:
            raise Unavailable(f"{file.path} is open for writing", "it is tried again when its writer has closed it")
        try:
            contents.hold()
            verdict = judge(contents.read_at, before.st_size)
            pixels = verdict.format and pixel_size(contents.read_at, before.st_size, verdict.format)
            sha1 = contents.sha1()
        except OSError as error:
            raise unavailable("cannot be read", file.path, error) from error
        if verdict.format is None or not (verdict.whole or (verdict.formal and is_version(before, observation))):
            raise SourceChanged(f"the file is no whole image: {verdict.missing or 'not an image'}")
        if place.observe(os.fstat(descriptor)) != place.observe(before):
            raise SourceChanged("the file changed while it was read")
        width, height = pixels or (None, None)
        return SourceFacts(file.name, sha1, before.st_size, verdict.format, width, height, no_formal_end=not verdict.whole)

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
            raise unavailable("cannot be deleted", file.path, error) from error

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
            raise unavailable(f"cannot be moved to {target}", file.path, error) from error
        return Path(os.fsdecode(moved)) if moved is not None else None


def _away(file: FileRef) -> Unavailable:
    return Unavailable(f"what {file.path} lies on is not mounted any more", "mount it again; the image waits")
