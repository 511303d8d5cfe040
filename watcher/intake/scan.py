"""The tree against the journal: reads directories in pieces, and says what the journal has not seen.

A known file that did not change costs one stat and its part of one look-up of its directory; a directory in which nothing changed
since it was last looked through costs no look-up at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from watcher.errors import CANNOT_TELL
from watcher.intake.pools import made_progress
from watcher.model import FARTHEST_NS, INODE_BITS, IgnoredReason, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from watcher.intake.roots import Place
    from watcher.model import KnownDirectory, Stamp

PIECE_FILES: Final = 2_000
PIECE_DIRECTORIES: Final = 250
"""A piece ends at whichever comes first: the loop gets its turn, and memory stays bounded."""
DIGEST_LIMIT: Final = 250_000
"""Directories whose digest is remembered at most."""


@dataclass(slots=True)
class Listing:
    """What lies directly in a directory (path inside the folder): everything that is no directory, by name, with its stamp.

    `targets` holds the stamps of what symbolic links lead to. `error` is set where the directory could not be read.
    """

    directory: bytes
    entries: dict[bytes, Stamp] = field(default_factory=dict)
    targets: dict[bytes, Stamp] = field(default_factory=dict)
    subdirectories: list[bytes] = field(default_factory=list)
    inode: int = 0
    device: int = 0
    digest: int = 0
    error: OSError | None = None

    def is_empty(self) -> bool:
        """Whether there is nothing at all in it, as in a mount point on which nothing is mounted."""
        return not self.entries and not self.subdirectories


class Digests:
    """What every directory looked like when it was last found to hold nothing new. No memory for files."""

    def __init__(self, limit: int = DIGEST_LIMIT) -> None:
        self._limit = limit
        self._digests: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def is_settled(self, listing: Listing) -> bool:
        """Whether the directory looks as it did then."""
        return self._digests.get(listing.directory) == listing.digest

    def knows(self, directory: bytes) -> bool:
        """Whether the directory is remembered at all."""
        return directory in self._digests

    def settled(self, listing: Listing) -> None:
        """Nothing new is in it."""
        if len(self._digests) < self._limit or listing.directory in self._digests:
            self._digests[listing.directory] = listing.digest

    def forget_others(self, seen: Collection[bytes]) -> list[bytes]:
        """Drop the directories that are not among `seen`; gives them."""
        gone = [directory for directory in self._digests if directory not in seen]
        for directory in gone:
            del self._digests[directory]
        return gone

    def clear(self) -> None:
        """Every directory is looked up again."""
        self._digests.clear()


class Walk:
    """Goes through a tree piece by piece. `enter(relative)` says whether a directory's contents matter, by its name;
    `is_target` by its device and inode.

    `seen` holds the directories that were visited, `inodes` the readable ones by device and inode.
    """

    def __init__(
        self,
        real_root: bytes,
        place: Place,
        start: Iterable[bytes],
        enter: Callable[[bytes], bool],
        is_target: Callable[[tuple[int, int]], bool],
        digests: Digests,
    ) -> None:
        self._is_target = is_target
        self._real_root = real_root
        self._place = place
        self._todo = list(start)
        self._enter = enter
        self._digests = digests
        self.seen: set[bytes] = set()
        self.inodes: dict[tuple[int, int], bytes] = {}
        self.files = 0
        self.errors = 0

    @property
    def finished(self) -> bool:
        """Whether every directory was read."""
        return not self._todo

    def piece(self) -> list[Listing]:
        """The next listings with something to look up in them; perhaps none. Blocks."""
        listings, files, directories = [], 0, 0
        while self._todo and files < PIECE_FILES and directories < PIECE_DIRECTORIES:
            listing = list_directory(self._real_root, self._todo.pop(), self._place)
            made_progress()
            if listing.directory and self._is_target((listing.device, listing.inode)):
                self.seen.add(listing.directory)
                continue  # files are moved to it, by another name
            directories += 1
            files += len(listing.entries)
            self._note(listing)
            if listing.error is not None or not self._digests.is_settled(listing):
                listings.append(listing)
        self.files += files
        return listings

    def _note(self, listing: Listing) -> None:
        self.seen.add(listing.directory)
        if listing.error is None:
            self.inodes[listing.device, listing.inode] = listing.directory
        else:
            self.errors += 1
        self._todo += filter(self._enter, listing.subdirectories)


def list_directory(real_root: bytes, directory: bytes, place: Place) -> Listing:
    """Read one directory. What vanishes between the reading of its name and its stat is left out.

    Raises OSError where this process has nothing left to read it with.
    """
    listing = Listing(directory)
    path = real_root + b"/" + directory if directory else real_root
    try:
        with os.scandir(path) as entries:
            _list_entries(listing, entries)
        status = os.stat(path)
        listing.inode, listing.device = status.st_ino, status.st_dev
    except OSError as error:
        if error.errno in CANNOT_TELL:
            raise
        return Listing(directory, error=error)
    if not place.lasting:
        listing.entries = {name: place.stamp(stamp) for name, stamp in listing.entries.items()}
        listing.targets = {name: place.stamp(stamp) for name, stamp in listing.targets.items()}
    listing.digest = hash((frozenset(listing.entries.items()), frozenset(listing.targets.items())))
    return listing


def _list_entries(listing: Listing, entries: Iterable[os.DirEntry[bytes]]) -> None:
    """The loop that every file of a scan goes through: nothing in it that can be outside."""
    prefix = listing.directory + b"/" if listing.directory else b""
    stamps = listing.entries
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            listing.subdirectories.append(prefix + entry.name)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
            if -FARTHEST_NS < status.st_mtime_ns < FARTHEST_NS:
                stamps[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & INODE_BITS)
            else:
                stamps[entry.name] = Observation.of(status).stamp
            if entry.is_symlink():
                listing.targets[entry.name] = Observation.of(entry.stat()).stamp
        except OSError:
            continue  # gone meanwhile, or a link that leads nowhere: that one has its own stamp


def news(listing: Listing, known: KnownDirectory) -> list[bytes]:
    """The names that the journal does not know in this version."""
    if listing.entries == known.stamps:
        return []
    found = []
    for name, now in listing.entries.items():
        before = known.stamps.get(name)
        if before is None or before not in (now, listing.targets.get(name)):
            found.append(name)
    return found


def unreadable(listing: Listing, known: KnownDirectory) -> list[bytes]:
    """The names that the journal knows in this version as unreadable: that may change without a trace."""
    names = [name for name, reason in known.ignored.items() if reason == IgnoredReason.UNREADABLE]
    return [name for name in names if known.stamps[name] in (listing.entries.get(name), listing.targets.get(name))]


def gone(listing: Listing, known: KnownDirectory) -> dict[bytes, Stamp]:
    """What the journal knows and the directory has not, by name; none where the directory was not read to its end.

    A root that is entirely empty is not believed: it looks like a mount point on which nothing is mounted. A name may stand here
    because it appeared after the directory was read: see `absent`.
    """
    if listing.error is not None or (not listing.directory and listing.is_empty()):
        return {}
    return {name: version for name, version in known.stamps.items() if name not in listing.entries}


def absent(real_root: bytes, versions: Mapping[bytes, Stamp]) -> dict[bytes, Stamp]:
    """Those of some known versions at whose paths nothing is, now that they are known. Blocks."""
    return {relative: version for relative, version in versions.items() if _is_absent(real_root + b"/" + relative)}


def _is_absent(path: bytes) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # what may not be looked at, or is on a disk in trouble, has not gone
    return False
