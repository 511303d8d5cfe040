"""What a folder lies on: which file system, which mount, and whether inotify and leases can be believed there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.errors import CANNOT_TELL

if TYPE_CHECKING:
    from collections.abc import Iterable

REMOTE: Final = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "afs",
            "ceph",
            "coda",
            "lustre",
            "gfs2",
            "ocfs2",
            "beegfs",
            "gpfs",
            "pvfs2",
        ),
        *("vboxsf", "virtiofs", "vmhgfs", "prl_fs", "ncpfs", "orangefs", "fuse", "fuseblk"),
    }
)
"""File systems on which others can write without inotify or a lease telling. Anything that begins with `fuse.` is one too."""


PASSING_INODES: Final = frozenset(
    {
        *("cifs", "smb3", "smbfs", "9p", "vboxsf", "virtiofs", "vmhgfs", "prl_fs", "ncpfs", "fuse", "fuseblk"),
        *("vfat", "msdos", "exfat"),
    }
)
"""File systems that give a file another inode number after a remount, or when it was forgotten for a while; `fuse.` too."""
NO_CHANGE_TIME: Final = frozenset({"vfat", "msdos", "exfat"})
"""File systems that keep no time of the last change of a file's name or mode."""


@dataclass(frozen=True, slots=True)
class RootIdentity:
    """Which directory, on which mount, a path leads to. A remount or a directory made anew gives another one."""

    device: int
    inode: int
    mount: int


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: its number, where it is mounted, the type of its file system, and its device."""

    number: int
    point: bytes
    kind: str
    device: int = 0

    @property
    def remote(self) -> bool:
        """Whether writers elsewhere go unseen here."""
        return self.kind in REMOTE or self.kind.startswith("fuse.")

    @property
    def lasting_inodes(self) -> bool:
        """Whether a file keeps its inode number."""
        return self.kind not in PASSING_INODES and not self.kind.startswith("fuse.")


def root_identity(path: bytes) -> RootIdentity:
    """The directory behind a path. Raises OSError where there is none, or where it may not be listed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        return RootIdentity(status.st_dev, status.st_ino, mount_number(descriptor))
    finally:
        os.close(descriptor)


def mount_number(descriptor: int) -> int:
    """The number of the mount that an open file lies on; 0 where the kernel does not say."""
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines():
        if line.startswith(b"mnt_id:"):
            return int(line.split()[1])
    return 0


def mounts(mountinfo: bytes) -> dict[int, Mount]:
    """The mounts in the text of /proc/self/mountinfo, by number (proc_pid_mountinfo(5)). Pure."""
    found = {}
    for line in mountinfo.splitlines():
        fields = line.split(b" ")
        separator = fields.index(b"-", 6)
        major, minor = fields[2].split(b":")
        device = os.makedev(int(major), int(minor))
        mount = Mount(int(fields[0]), _unescaped(fields[4]), fields[separator + 1].decode(), device)
        found[mount.number] = mount
    return found


def current_mounts() -> dict[int, Mount]:
    """The mounts of this process."""
    return mounts(Path("/proc/self/mountinfo").read_bytes())


def mounts_below(mounts: Iterable[Mount], root: bytes) -> tuple[Mount, ...]:
    """Those mounted inside a directory, by path; of several on one point the last, which hides the others. Pure."""
    inside = {mount.point: mount for mount in mounts if mount.point.startswith(root.rstrip(b"/") + b"/")}
    return tuple(inside[point] for point in sorted(inside))


def unmounted_point(path: bytes, fstab: bytes, mounted: frozenset[bytes]) -> bytes | None:
    """The mount point of fstab(5) that `path` lies on although nothing is mounted there now; None where all is well. Pure."""
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith(b"#"):
            continue
        point = _unescaped(fields[1]).rstrip(b"/")
        inside = point.startswith(b"/") and (path == point or path.startswith(point + b"/"))
        if inside and point not in mounted:
            return point
    return None


def missing_mount(path: bytes) -> bytes | None:
    """The mount point named in /etc/fstab that should hold `path` and is not mounted; None where there is none."""
    try:
        fstab = Path("/etc/fstab").read_bytes()
    except OSError as error:
        if error.errno in CANNOT_TELL:
            raise
        return None  # no fstab says nothing about mounts
    return unmounted_point(path, fstab, frozenset(mount.point for mount in current_mounts().values()))


def _unescaped(field: bytes) -> bytes:
    """Spaces, tabs, newlines and backslashes are written as three octal digits in both files."""
    for octal, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(octal, plain)
    return field
