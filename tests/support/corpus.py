"""Several hundred odd and broken images: those that Pillow and image libraries test themselves with, from their sources.

Fetched once, with pip and apt-get from where they are set up to fetch from, into `.cache` (ignored by git); tests are skipped,
and say why, where that cannot be.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "12.0.0"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "pillow-corpus"
DEBIAN_CACHE = CACHE.with_name("debian-corpus")


@functools.cache
def corpus() -> tuple[Path, ...]:
    """Every file of the corpus, in the order of their names."""
    folder = CACHE / VERSION
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch(folder)
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", temporary, f"pillow=={VERSION}"], capture_output=True, text=True, timeout=600, check=False
        )
        archives = list(Path(temporary).glob("*.tar.gz"))
        if not archives:
            pytest.skip(f"no corpus: Pillow's sources cannot be fetched from the package index: {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            images = [member for member in archive.getmembers() if "/Tests/images/" in member.name and member.isfile()]
            archive.extractall(Path(temporary) / "unpacked", members=images, filter="data")
        (Path(temporary) / "unpacked").rename(folder)


@functools.cache
def debian_corpus(package: str) -> tuple[Path, ...]:
    """Every file of a Debian source package, in the order of their names."""
    folder = DEBIAN_CACHE / package
    DEBIAN_CACHE.mkdir(parents=True, exist_ok=True)
    with (DEBIAN_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch_sources(package, folder)
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file()))


def _fetch_sources(package: str, folder: Path) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("no corpus: there is no apt-get here")
    with tempfile.TemporaryDirectory(dir=DEBIAN_CACHE) as temporary:
        command = ["apt-get", "source", "--download-only", "--quiet", package]
        done = subprocess.run(command, cwd=temporary, capture_output=True, text=True, timeout=600, check=False)
        archives = list(Path(temporary).glob("*.orig.tar.*[z2]"))
        if not archives:
            pytest.skip(f"no corpus: apt-get gives no sources of {package} (a deb-src list?): {done.stderr.strip()[-300:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(Path(temporary) / "unpacked", filter="data")
        (Path(temporary) / "unpacked").rename(folder)
