"""File systems in user space, as people have them: a share over SSH, a cloud mount, a union of disks, a bind mount.

They are mounted in a mount namespace of the test process alone, so that one that hangs is nobody else's trouble.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18
CONNECTIONS = Path("/sys/fs/fuse/connections")
"""Where the kernel tells of each file system in user space how many calls wait for it."""
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
UNCACHED = "attr_timeout=0,entry_timeout=0"
"""An option of bindfs: the kernel remembers nothing, each call is for the file system to answer."""
KINDS = ("sshfs", "rclone", "mergerfs", "bindfs")
STOP_SECONDS = 15.0
PAUSES = [0.001 * number for number in range(1, 100)]
"""Between tries to stop a file system while no call is under way."""


def needs(*tools: str) -> None:
    """Skip where file systems in user space cannot be mounted."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    for tool in (*tools, "fusermount3"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} (a Debian package)")
    if (reason := _own_namespace()) is not None:
        pytest.skip(reason)


@cache
def _own_namespace() -> str | None:
    """Give this thread, and those that it starts, mounts of their own. The reason where that is not possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    if threading.current_thread() is not threading.main_thread():
        return "tests do not run in the main thread, whose mounts new threads get"
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        return f"no mount namespace of one's own: {os.strerror(ctypes.get_errno())}"
    if not CONNECTIONS.is_mount() and libc.mount(b"fusectl", os.fsencode(CONNECTIONS), b"fusectl", 0, None):
        return f"{CONNECTIONS} cannot be mounted: {os.strerror(ctypes.get_errno())}"
    return None


@dataclass
class Mounted:
    """A directory `below` that is seen at `point` through a file system in user space."""

    kind: str
    below: Path
    point: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    connection: int = 0
    """Its number in CONNECTIONS."""

    def mount(self) -> None:
        """Begin; returns when the directory is there."""
        self.process = _START[self.kind](self)
        deadline = time.monotonic() + 15
        while not os.path.ismount(self.point):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"{self.kind} does not mount here")
            time.sleep(0.01)
        self.connection = os.minor(self.point.stat().st_dev)

    def hang(self) -> None:
        """From now on nothing on it is answered.

        It stops between two calls: one that it had read already would hold even a killed process until it is woken.
        """
        assert self.process is not None
        for pause in PAUSES:
            self.process.send_signal(signal.SIGSTOP)
            self._await_stop()
            if not self._calls_that_wait():
                return
            self.process.send_signal(signal.SIGCONT)
            time.sleep(pause)
        raise AssertionError(f"{self.point} is asked without a pause")

    def _await_stop(self) -> None:
        """Until each of its threads has stopped."""
        assert self.process is not None
        deadline = time.monotonic() + STOP_SECONDS
        threads = Path(f"/proc/{self.process.pid}/task")
        while any((each / "stat").read_text().rpartition(")")[2].split()[0] != "T" for each in threads.iterdir()):
            assert time.monotonic() < deadline, f"{self.kind} does not stop"
            time.sleep(0.001)

    def _calls_that_wait(self) -> int:
        return int((CONNECTIONS / str(self.connection) / "waiting").read_text())

    def wake(self) -> None:
        """Answer again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def unmount(self) -> None:
        """End, whatever state it is in."""
        if self.process is None:
            return
        self.wake()
        subprocess.run(["umount", "-l", self.point], capture_output=True)
        for each in (self.process, *self.helpers):
            each.kill()
            each.wait()
        self.process, self.helpers = None, []

    def start(self, *command: str | Path, **more: object) -> subprocess.Popen[bytes]:
        """A process of it."""
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)  # type: ignore[call-overload,no-any-return]


def _sshfs(share: Mounted) -> subprocess.Popen[bytes]:
    """With an SFTP server at the other end of a socket pair: no network, no login."""
    ours, theirs = socket.socketpair()
    share.helpers.append(subprocess.Popen([SFTP_SERVER], stdin=ours, stdout=ours, stderr=subprocess.DEVNULL))
    command = ["sshfs", "-f", "-o", "passive,dcache_timeout=1", *share.options, f":{share.below}", str(share.point)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    ours.close()
    theirs.close()
    return process


def _rclone(share: Mounted) -> subprocess.Popen[bytes]:
    options = ("--vfs-cache-mode", "writes", "--dir-cache-time", "1s", "--poll-interval", "0", *share.options)
    home = {**os.environ, "HOME": str(share.below.parent)}
    return share.start("rclone", "mount", share.below, share.point, *options, env=home)


def _mergerfs(share: Mounted) -> subprocess.Popen[bytes]:
    return share.start("mergerfs", "-f", *share.options, share.below, share.point)


def _bindfs(share: Mounted) -> subprocess.Popen[bytes]:
    return share.start("bindfs", "-f", *share.options, share.below, share.point)


_START: dict[str, Callable[[Mounted], subprocess.Popen[bytes]]] = {
    "sshfs": _sshfs,
    "rclone": _rclone,
    "mergerfs": _mergerfs,
    "bindfs": _bindfs,
}


@contextmanager
def mounted(kind: str, below: Path, point: Path, *options: str) -> Iterator[Mounted]:
    """`below` seen at `point`; both are made. Skips where it cannot be."""
    needs(kind)
    if kind == "sshfs" and not Path(SFTP_SERVER).exists():
        pytest.skip("needs openssh-sftp-server (a Debian package)")
    below.mkdir(parents=True, exist_ok=True)
    point.mkdir(parents=True, exist_ok=True)
    share = Mounted(kind, below, point, options)
    try:
        share.mount()
        yield share
    finally:
        share.unmount()
