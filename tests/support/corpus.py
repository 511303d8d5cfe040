"""Several hundred odd and broken images: those that Pillow tests itself with, from its source distribution.

Fetched once, with pip from the index that it is set up with, into `.cache/pillow-corpus` (ignored by git); tests are skipped,
and say why, where there is no index.
"""

from __future__ import annotations

import fcntl
import functools
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "12.0.0"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "pillow-corpus"


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
