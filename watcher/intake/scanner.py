"""Scans of one folder: what lies in the tree and the journal does not know goes to the candidates; what is gone is forgotten."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.errors import NotAnswering
from watcher.intake.judgements import RecentJudgements
from watcher.intake.pools import Lane
from watcher.intake.scan import PIECE_DIRECTORIES, Digests, Walk, absent, gone, news, unreadable
from watcher.model import KnownDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from watcher.config.rules import FolderRules
    from watcher.intake.candidates import Candidates
    from watcher.intake.context import IntakeContext
    from watcher.intake.roots import Place
    from watcher.intake.scan import Listing
    from watcher.model import Stamp


_NOTHING: Final = KnownDirectory({}, {})


@dataclass(slots=True)
class ScanResult:
    """What a scan saw. `inodes`: the readable directories by (device, inode). `complete`: every directory could be read.

    `unreadable`: files that may not be read; `closed`: directories.
    """

    files: int = 0
    new: int = 0
    seconds: float = 0.0
    complete: bool = True
    inodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    unreadable: int = 0
    closed: int = 0

    def add(self, other: ScanResult) -> None:
        """Count another part of the same tree in."""
        self.files += other.files
        self.new += other.new
        self.seconds = max(self.seconds, other.seconds)
        self.complete &= other.complete
        self.inodes |= other.inodes
        self.unreadable += other.unreadable
        self.closed += other.closed


class Scanner:
    """`rules` may be replaced while it runs."""

    def __init__(self, rules: FolderRules, context: IntakeContext, candidates: Candidates) -> None:
        self.rules = rules
        self._context = context
        self._candidates = candidates
        self._digests = Digests()
        self._unreadable = RecentJudgements()

    def start_afresh(self) -> None:
        """Look everything up again: other rules are in force, or another directory is the folder."""
        self._digests.clear()

    async def full(self, *, first: bool = False) -> ScanResult:
        """The whole folder. Stops early, incomplete, where the folder is lost meanwhile.

        `first`: what is found was dropped while nobody watched, and goes behind what is dropped now.
        What is mounted below it is walked beside the rest, by threads of its own.
        """
        root = self.rules.rule.root
        below = [(top, place) for top, place in self._context.roots.below(root) if self._reaches(top)]
        walks = [self._walk([b""], self._place_of(b"")), *(self._walk([top], place) for top, place in below)]
        result, *others = await asyncio.gather(
            self._go(walks[0], self._place_of(b""), backlog=first),
            *(self._go_if_it_answers(walk, place, backlog=first) for walk, (_, place) in zip(walks[1:], below, strict=True)),
        )
        for other in others:
            result.add(other)
        if result.complete:
            seen = set().union(*(walk.seen for walk in walks))
            await self._forget_directories(self._digests.forget_others(seen))
        self._candidates.scanned(all_readable=not result.unreadable and not result.closed)
        return result

    async def trees(self, directories: frozenset[bytes]) -> None:
        """Some directories and all below them, as far as the rules care for them."""
        places: dict[Place, list[bytes]] = {}
        for directory in self._worth_entering(directories):
            places.setdefault(self._place_of(directory), []).append(directory)
        for place, some in places.items():
            await self._go(self._walk(some, place), place)

    def _worth_entering(self, directories: frozenset[bytes]) -> Iterator[bytes]:
        """Those whose contents matter and that do not lie in another one of them."""
        for directory in directories:
            lies_in_another = any(each in directories for each in _way_to(directory)[:-1])
            if not lies_in_another and self._reaches(directory):
                yield directory

    def _place_of(self, relative: bytes) -> Place:
        return self._context.roots.place_of(self.rules.rule.root, relative)

    def _walk(self, start: Iterable[bytes], place: Place) -> Walk:
        root = self.rules.rule.root
        others = {top for top, other in self._context.roots.below(root) if other is not place}
        return Walk(
            self._context.roots.real(root),
            place,
            start,
            lambda directory: directory not in others and self._enters(directory),
            self._context.roots.targets.holds,
            self._digests,
        )

    def _enters(self, directory: bytes) -> bool:
        return self.rules.ignores_directory(os.fsdecode(directory)) is None

    def _reaches(self, top: bytes) -> bool:
        return all(self._enters(each) for each in _way_to(top))

    async def _go_if_it_answers(self, walk: Walk, place: Place, *, backlog: bool) -> ScanResult:
        try:
            return await self._go(walk, place, backlog=backlog)
        except NotAnswering:  # what lies on it is looked through when it is back
            return ScanResult(walk.files, complete=False)

    async def _go(self, walk: Walk, place: Place, *, backlog: bool = False) -> ScanResult:
        clock, root = self._context.clock, self.rules.rule.root
        started = clock.monotonic()
        result = ScanResult(inodes=walk.inodes)
        while not walk.finished and self._context.roots.is_armed(root):
            listings = await self._context.in_thread(place.threads, walk.piece)
            await self._look_up(listings, result, backlog=backlog)
        result.complete, result.closed = walk.finished and walk.errors == 0, walk.errors
        result.files, result.seconds = walk.files, clock.monotonic() - started
        return result

    async def _look_up(self, listings: list[Listing], result: ScanResult, *, backlog: bool) -> None:
        """Hand what the journal does not know to the candidates; counts how many were taken."""
        known = await self._known(listings)
        candidates: list[bytes] = []
        closed: list[bytes] = []
        vanished: dict[bytes, Stamp] = {}
        for listing, before in zip(listings, known, strict=True):
            found = self._eligible(listing, news(listing, before))
            unread = self._eligible(listing, unreadable(listing, before))
            closed += unread
            candidates += [relative for relative in found if not self._candidates.is_waited_for(relative)]
            vanished |= {_join(listing.directory, name): version for name, version in gone(listing, before).items()}
            if listing.error is not None:
                self._say_unreadable(listing)
            elif not found and not unread:
                self._digests.settled(listing)
        await self._forget(vanished)
        result.unreadable += len(closed)
        result.new += await self._candidates.examine(candidates, looked_up=True, backlog=backlog)
        again = [relative for relative in closed if not self._candidates.is_waited_for(relative)]
        result.new += await self._candidates.examine_unreadable(again)

    async def _known(self, listings: list[Listing]) -> list[KnownDirectory]:
        """What the journal knows of each listing; it is not asked about those that hold nothing and never did."""
        asked = [each for each in listings if each.entries or (each.error is None and self._digests.knows(each.directory))]
        found = await self._context.journal.known_in(self.rules.rule.folder, [each.directory for each in asked]) if asked else []
        known = dict(zip((each.directory for each in asked), found, strict=True))
        return [known.get(each.directory, _NOTHING) for each in listings]

    def _eligible(self, listing: Listing, names: Iterable[bytes]) -> list[bytes]:
        """Those whose names are for us."""
        found = []
        for name in names:
            relative = _join(listing.directory, name)
            reason = self.rules.ignores_name(os.fsdecode(relative))
            if reason is None:
                found.append(relative)
            else:
                self._candidates.left_by_name(relative, reason)
        return found

    def _say_unreadable(self, listing: Listing) -> None:
        """A directory that cannot be read is said once for each kind of error."""
        error = listing.error
        if error is None or isinstance(error, FileNotFoundError | NotADirectoryError):
            return
        if self._unreadable.is_new(listing.directory, error.errno):
            self._candidates.say_unreadable(listing.directory, error.strerror or str(error))

    async def _forget_directories(self, directories: Sequence[bytes]) -> None:
        for start in range(0, len(directories), PIECE_DIRECTORIES):
            some = directories[start : start + PIECE_DIRECTORIES]
            known = await self._context.journal.known_in(self.rules.rule.folder, some)
            inside = zip(some, known, strict=True)
            await self._forget({_join(top, name): version for top, each in inside for name, version in each.stamps.items()})

    async def _forget(self, versions: Mapping[bytes, Stamp]) -> None:
        """What was not found when the tree was read, and is not there now that the journal has been asked either.

        Both are needed: a file that came, and was taken, between the two would otherwise be forgotten and taken again.
        """
        if not versions:
            return
        real_root = self._context.roots.real(self.rules.rule.root)
        places: dict[Place, dict[bytes, Stamp]] = {}
        for relative, version in versions.items():
            if not self._context.roots.is_away(self.rules.rule.root, relative):
                places.setdefault(self._place_of(relative), {})[relative] = version
        for place, some in places.items():
            missing = await self._context.in_thread(place.threads, partial(absent, real_root, some))
            if missing and await self._is_healthy():
                await self._context.journal.forget(self.rules.rule.folder, missing)
                for relative in missing:  # a directory that is moved back brings the same versions, which are then unknown
                    self._candidates.reconsider(relative)

    async def _is_healthy(self) -> bool:
        root = self.rules.rule.root
        return await self._context.pools.run(root, Lane.PROBE, partial(self._context.roots.is_healthy, root))


def _way_to(directory: bytes) -> list[bytes]:
    """The directory, and before it those that it lies in, from the top."""
    parts = directory.split(b"/")
    return [b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
