"""What the kernel's tables of mounts say."""

import os

import pytest

from watcher.intake.mounts import Mount, mounts, unmounted_point

MOUNTINFO = rb"""22 28 0:20 / /proc rw,nosuid shared:12 - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
90 28 0:44 / /srv/a\040share rw,relatime shared:50 master:3 propagate_from:2 - nfs4 nas:/export rw,vers=4.2
91 28 0:45 / /srv/phone rw - fuse.sshfs me@phone:/ rw
92 28 0:46 /sub /srv/scans rw - cifs //nas/scans rw
93 28 0:47 / /mnt/win rw - fuseblk /dev/sdb1 rw
"""
FSTAB = b"""# <file system> <mount point> <type> <options>
/dev/vda1  /  ext4  defaults 0 1
nas:/export  /srv/a\\040share  nfs4  defaults,_netdev 0 0
//nas/scans  /srv/scans/  cifs  credentials=/root/x 0 0
UUID=1234  none  swap  sw 0 0
short line
"""


def test_mounts_are_read_with_their_file_systems() -> None:
    """By number, with odd characters in paths, and whatever optional fields there are."""
    found = mounts(MOUNTINFO)

    assert found[90] == Mount(90, b"/srv/a share", "nfs4", os.makedev(0, 44))
    assert {number for number, mount in found.items() if mount.remote} == {90, 91, 92, 93}


@pytest.mark.parametrize(
    ("path", "point"),
    [
        (b"/srv/a share", b"/srv/a share"),
        (b"/srv/a share/deep/er", b"/srv/a share"),
        (b"/srv/scans/in", b"/srv/scans"),
        (b"/srv/a shared", None),
        (b"/srv", None),
        (b"/home/drop", None),
    ],
)
def test_a_mount_point_without_its_mount_is_told(path: bytes, point: bytes | None) -> None:
    """A folder that lies on an entry of fstab that is not mounted is not there, though the directory is."""
    assert unmounted_point(path, FSTAB, frozenset({b"/", b"/proc"})) == point


def test_a_mounted_one_is_well() -> None:
    """All points in use."""
    used = frozenset(mount.point for mount in mounts(MOUNTINFO).values())

    assert unmounted_point(b"/srv/a share/deep", FSTAB, used) is None
    assert unmounted_point(b"/srv/scans", FSTAB, used) is None
