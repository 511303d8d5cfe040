"""Disks that can be filled."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = "4m"


class SmallDisk:
    """A file system of a few megabytes, and a file that takes all its room."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, leave: int = 0) -> None:
        """Leave only so many bytes free. Others may write meanwhile."""
        with self._filler.open("ab", buffering=0) as file:
            while (free := self._free() - leave) > 0:
                try:
                    file.write(b"\0" * free)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Give all room back."""
        self._filler.unlink()

    @contextmanager
    def kept_full(self) -> Iterator[None]:
        """Leave nothing free, whatever others remove meanwhile; in the end give all room back."""
        ended = threading.Event()

        def keep() -> None:
            while not ended.wait(0.005):
                self.fill()

        self.fill()
        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()
            self.free()

    def _free(self) -> int:
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize


def make_disk(path: Path, size: int) -> None:
    """A file with an empty ext4 in it, to be mounted. Skips where the tool for that is missing."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (apt-get install e2fsprogs)")
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", path], check=True)


@contextmanager
def small_disk(path: Path, size: str = SIZE, *, mode: str = "700") -> Iterator[SmallDisk]:
    """A small disk at this path, unmounted in the end; `mode` is its folder's. Skips where mounting is not allowed."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode={mode}", "tmpfs", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
