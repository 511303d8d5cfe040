"""The watched folders' own directories: which one each path led to when it was armed, and whether it still does."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from watcher.errors import CANNOT_TELL
from watcher.intake.mounts import NO_CHANGE_TIME, current_mounts, missing_mount, mounts_below, root_identity
from watcher.intake.move_targets import MoveTargets
from watcher.model import Observation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.intake.mounts import Mount, RootIdentity
    from watcher.intake.move_targets import FileId
    from watcher.model import Stamp


@dataclass(frozen=True, slots=True)
class Place:
    """What a path of a folder lies on: the folder's own mount, or one below it. `threads` names the threads that may ask it.

    `remote`: others can write there unseen, so neither events nor leases can be believed. `lasting`: files keep their inodes.
    """

    threads: Path
    mount: int
    device: int
    kind: str
    remote: bool = False
    lasting: bool = True

    def observe(self, status: os.stat_result) -> Observation:
        """The version that a stat result shows, as it is compared here: inode 0 where numbers do not last."""
        seen = Observation.of(status)
        if self.lasting:
            return seen
        return replace(seen, inode=0, ctime_ns=seen.mtime_ns if self.kind in NO_CHANGE_TIME else seen.ctime_ns)

    def stamp(self, stamp: Stamp) -> Stamp:
        """The same for a stamp."""
        if self.lasting:
            return stamp
        size, mtime_ns, ctime_ns, _ = stamp
        return (size, mtime_ns, mtime_ns if self.kind in NO_CHANGE_TIME else ctime_ns, 0)


@dataclass(frozen=True, slots=True)
class RootInfo:
    """What a root is made of: its path without symbolic links, which directory it is, and what it lies on.

    `below`: other mounts inside it, by path inside the folder. `point`: where that is mounted. `empty`: it holds nothing.
    """

    real: bytes
    identity: RootIdentity
    place: Place
    below: tuple[tuple[bytes, Place], ...] = ()
    point: bytes = b""
    empty: bool = False

    @property
    def kind(self) -> str:
        """The type of the root's file system."""
        return self.place.kind

    @property
    def remote(self) -> bool:
        """Whether others can write there unseen."""
        return self.place.remote

    @property
    def shares_below(self) -> tuple[bytes, ...]:
        """The mounts inside it that others can write to unseen."""
        return tuple(relative for relative, place in self.below if place.remote)

    def place_of(self, relative: bytes) -> Place:
        """What a path inside the folder lies on."""
        for top, place in reversed(self.below):
            if relative == top or relative.startswith(top + b"/"):
                return place
        return self.place


class RootMissing(Exception):
    """The folder is not available; the text says why, for people."""


def survey(root: Path, *, to_change: bool = False) -> RootInfo:
    """Look at a root, whose files are `to_change` (moved, deleted) or not. Blocks.

    Raises RootMissing where it is not there, cannot be listed, lacks its mount, or is mounted read-only and is to be changed.
    """
    real = os.path.realpath(os.fsencode(root))
    try:
        identity = root_identity(real)
        with os.scandir(real) as entries:
            empty = next(entries, None) is None  # listing is a right of its own
        read_only = bool(os.statvfs(real).f_flag & os.ST_RDONLY)
    except OSError as error:
        if error.errno in CANNOT_TELL:
            raise
        raise RootMissing(f"{root}: {error.strerror}") from None
    if read_only and to_change:
        raise RootMissing(f"{root}: read-only here, and on_success or on_failure moves or deletes its files")
    if (point := missing_mount(real)) is not None:
        raise RootMissing(f"{root}: {os.fsdecode(point)} is in /etc/fstab but not mounted")
    mounted = current_mounts()
    mount = mounted.get(identity.mount)
    point = mount.point if mount is not None else b""
    return RootInfo(real, identity, _place(root, identity, mount), _below(real, mounted), point, empty)


def _place(root: Path, identity: RootIdentity, mount: Mount | None) -> Place:
    if mount is None:
        return Place(root, identity.mount, identity.device, "unknown")
    return Place(root, mount.number, identity.device, mount.kind, mount.remote, mount.lasting_inodes)


def _below(real: bytes, mounted: Mapping[int, Mount]) -> tuple[tuple[bytes, Place], ...]:
    """The mounts inside a root. They are not asked anything: one of them may hang, and the others shall not notice."""
    found = []
    for mount in mounts_below(mounted.values(), real):
        threads = Path(os.fsdecode(mount.point))
        place = Place(threads, mount.number, mount.device, mount.kind, mount.remote, mount.lasting_inodes)
        found.append((mount.point[len(real.rstrip(b"/")) + 1 :], place))
    return tuple(found)


def _is_available(root: Path) -> bool:
    try:
        survey(root)
    except RootMissing:
        return False
    except OSError:  # not to be told for want of descriptors
        return True
    return True


class Roots:
    """What is known of the roots; asked from threads as well as from the loop.

    It is what keeps an unmounted share from looking like a folder whose files were all deleted.
    """

    def __init__(self) -> None:
        self.targets = MoveTargets()
        self._lock = threading.Lock()
        self._armed: dict[Path, tuple[RootInfo, bool] | None] = {}
        self._real: dict[Path, bytes] = {}
        """Where each root led to when it was last there."""
        self._points: dict[Path, bytes] = {}
        """Where what it lay on was mounted then."""
        self._away: dict[Path, set[bytes]] = {}

    def arm(self, root: Path, info: RootInfo, *, leases: bool) -> None:
        """From now on this directory is the folder; `leases` says whether a lease tells there who writes."""
        tops = {top for top, _ in info.below}
        with self._lock:
            before = self._armed.get(root)
            was = {top for top, _ in before[0].below} if before else set()
            self._away[root] = (self._away.get(root, set()) | was) - tops
            self._armed[root] = info, leases
            self._real[root] = info.real
            self._points[root] = info.point

    def require_mount(self, root: Path, info: RootInfo) -> None:
        """Raises RootMissing where the root is an empty directory, and something was mounted on it when it was last there."""
        with self._lock:
            point = self._points.get(root, b"")
        if info.empty and point == info.real != info.point:
            raise RootMissing(f"{root}: what was mounted there is not any more")

    def lose(self, root: Path) -> None:
        """The folder is configured, and is not available."""
        with self._lock:
            before = self._armed.get(root)
            if before is not None:
                self._away[root] = self._away.get(root, set()) | {top for top, _ in before[0].below}
            self._armed[root] = None

    def drop(self, root: Path) -> None:
        """The folder is not configured any more."""
        with self._lock:
            self._armed.pop(root, None)
            self._real.pop(root, None)
            self._points.pop(root, None)
            self._away.pop(root, None)

    def real(self, root: Path) -> bytes:
        """The root's path with no symbolic link in it, as it was last there. Blocks where it never was."""
        with self._lock:
            known = self._real.get(root)
        return os.path.realpath(os.fsencode(root)) if known is None else known

    def ids(self) -> frozenset[FileId]:
        """Which directories the folders are."""
        with self._lock:
            armed = [each[0].identity for each in self._armed.values() if each is not None]
        return frozenset((identity.device, identity.inode) for identity in armed)

    def leases(self, root: Path, place: Place) -> bool:
        """Whether a lease tells there who writes."""
        armed = self._get(root)
        return armed is not None and armed[1] and not place.remote

    def place_of(self, root: Path, relative: bytes) -> Place:
        """What a path of a folder lies on. Before the folder was found, something of which nothing is known."""
        armed = self._get(root)
        return armed[0].place_of(relative) if armed else Place(root, 0, 0, "unknown")

    def is_away(self, root: Path, relative: bytes) -> bool:
        """Whether a path of the folder lay on something that was mounted below it and is not any more."""
        with self._lock:
            return any(relative == top or relative.startswith(top + b"/") for top in self._away.get(root, ()))

    def away(self, root: Path) -> frozenset[bytes]:
        """Where in the folder something was mounted that is not any more."""
        with self._lock:
            return frozenset(self._away.get(root, ()))

    def below(self, root: Path) -> tuple[tuple[bytes, Place], ...]:
        """The mounts inside a folder, by path inside it."""
        armed = self._get(root)
        return armed[0].below if armed else ()

    def is_near(self, root: Path) -> bool:
        """Whether the root lies on a file system of this machine."""
        armed = self._get(root)
        return armed is not None and not armed[0].remote

    def is_armed(self, root: Path) -> bool:
        """Whether the folder was not found to be lost."""
        return self._get(root) is not None

    def is_healthy(self, root: Path) -> bool:
        """Whether the path leads to the directory that was armed; before it was, whether it could be."""
        with self._lock:
            configured, armed = root in self._armed, self._armed.get(root)
        if armed is None:
            return not configured and _is_available(root)
        try:
            path = os.fsencode(root)
            same = root_identity(path) == armed[0].identity and os.path.realpath(path) == armed[0].real
            return same and _below(armed[0].real, current_mounts()) == armed[0].below
        except OSError as error:
            return error.errno in CANNOT_TELL

    def _get(self, root: Path) -> tuple[RootInfo, bool] | None:
        with self._lock:
            return self._armed.get(root)
