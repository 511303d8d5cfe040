"""The watched folders' own directories: which one each path led to when it was armed, and whether it still does."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.intake.mounts import current_mounts, missing_mount, root_identity

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.intake.mounts import RootIdentity


@dataclass(frozen=True, slots=True)
class RootInfo:
    """What a root is made of: its path without symbolic links, which directory it is, and what it lies on.

    `remote`: others can write there unseen, so neither events nor leases can be believed.
    """

    real: bytes
    identity: RootIdentity
    kind: str
    remote: bool


class RootMissing(Exception):
    """The folder is not available; the text says why, for people."""


def survey(root: Path, *, to_change: bool = False) -> RootInfo:
    """Look at a root, whose files are `to_change` (moved, deleted) or not. Blocks.

    Raises RootMissing where it is not there, cannot be listed, lacks its mount, or is mounted read-only and is to be changed.
    """
    real = os.path.realpath(os.fsencode(root))
    try:
        identity = root_identity(real)
        with os.scandir(real):
            pass  # listing is a right of its own
        read_only = bool(os.statvfs(real).f_flag & os.ST_RDONLY)
    except OSError as error:
        raise RootMissing(f"{root}: {error.strerror}") from None
    if read_only and to_change:
        raise RootMissing(f"{root}: read-only here, and on_success or on_failure moves or deletes its files")
    if (point := missing_mount(real)) is not None:
        raise RootMissing(f"{root}: {os.fsdecode(point)} is in /etc/fstab but not mounted")
    mount = current_mounts().get(identity.mount)
    return RootInfo(real, identity, mount.kind if mount else "unknown", mount.remote if mount else False)


def _is_available(root: Path) -> bool:
    try:
        survey(root)
    except RootMissing:
        return False
    return True


class Roots:
    """What is known of the roots; asked from threads as well as from the loop.

    It is what keeps an unmounted share from looking like a folder whose files were all deleted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: dict[Path, tuple[RootInfo, bool] | None] = {}

    def arm(self, root: Path, info: RootInfo, *, leases: bool) -> None:
        """From now on this directory is the folder; `leases` says whether a lease tells there who writes."""
        with self._lock:
            self._armed[root] = info, leases

    def lose(self, root: Path) -> None:
        """The folder is configured, and is not available."""
        with self._lock:
            self._armed[root] = None

    def drop(self, root: Path) -> None:
        """The folder is not configured any more."""
        with self._lock:
            self._armed.pop(root, None)

    def real(self, root: Path) -> bytes:
        """The root's path with no symbolic link in it."""
        armed = self._get(root)
        return armed[0].real if armed else os.path.realpath(os.fsencode(root))

    def leases(self, root: Path) -> bool:
        """Whether a lease tells there who writes."""
        armed = self._get(root)
        return armed is not None and armed[1]

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
            return root_identity(path) == armed[0].identity and os.path.realpath(path) == armed[0].real
        except OSError:
            return False

    def _get(self, root: Path) -> tuple[RootInfo, bool] | None:
        with self._lock:
            return self._armed.get(root)
