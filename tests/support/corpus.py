"""Thousands of odd and broken pictures: those that image libraries test themselves with, from their sources.

Fetched once, with pip and apt-get from where they are set up to fetch from, into `.cache` (ignored by git). pip compares with the
hash that stands here, apt-get with Debian's signed lists. Tests are skipped, and say why, where that cannot be.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CACHE: Final = Path(os.environ.get("WATCHER_CORPUS_CACHE") or Path(__file__).resolve().parents[2] / ".cache")
PYTHON: Final = {
    "pillow": ("12.0.0", "87d4f8125c9988bfbed67af47dd7a953e2fc7b0cc1e7800ec6d2080d490bb353"),
    "pillow-heif": ("1.8.1", "521ebffb8a181d56c3904e5a61f20903edee0d9d3275967b8fb345f866215c06"),
    "imageio": ("2.38.1", "6769f1f01c4dd46448307863a787c9a22fa4dbe11c0c88f525c6e410fdfd7983"),
    "imagesize": ("2.0.1", "b2ba6a4dea487a7ebcd53248d3476aca449d30db12a2dde5e0c5ca9624fd77e5"),
    "svglib": ("2.3.2", "625b62cf440ab57f5def42d5be47a0d6b73c02711ef86ab1545650a98ac1ad5f"),
    "thumbor": ("7.8.0", "3211d7b3210864fae09a67a822e69851aa54ac6137d8a35c1a4047881e3c6dfc"),
    "wand": ("0.7.2", "0387fd08848d00cadd1d885fcb19a17dd4250df2029e5338b6b668b7fed64b5b"),
}
"""Source distributions: their version and their SHA-256."""
DEBIAN: Final = (
    *("vips", "tiff", "libpng1.6", "giflib", "libjpeg-turbo", "libwebp", "libheif", "libexif", "exiv2", "gdk-pixbuf", "libgd2"),
    *("imagemagick", "graphicsmagick", "kimageformats", "qtsvg-opensource-src", "qtbase-opensource-src", "gegl", "libgdiplus"),
    *("golang-golang-x-image", "libimage-exiftool-perl"),
)
"""Source packages."""
DEBIAN_BINARY: Final = ("librsvg2-tests",)
"""Packages that hold pictures themselves."""


def corpus() -> tuple[Path, ...]:
    """Every picture that Pillow tests itself with, in the order of their names."""
    return python_corpus("pillow", "/Tests/images/")


@functools.cache
def python_corpus(name: str, below: str = "") -> tuple[Path, ...]:
    """Every file of a source distribution (those with `below` in their path), in the order of their names."""
    version, sha256 = PYTHON[name]
    return _fetched(f"{name}-{version}", functools.partial(_from_index, name, version, sha256, below))


@functools.cache
def debian_corpus(package: str) -> tuple[Path, ...]:
    """Every file of a Debian package, or of the sources of one, in the order of their names."""
    fetch = _package if package in DEBIAN_BINARY else _sources
    return _fetched(package, functools.partial(fetch, package))


def _fetched(name: str, fetch: Callable[[Path], Path]) -> tuple[Path, ...]:
    """The files in the cache; `fetch` is given an empty folder and says which one below it to keep."""
    folder = CACHE / "corpora" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                fetch(Path(temporary)).rename(folder)
    return tuple(sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()))


def _run(command: Sequence[str | Path], folder: Path, absent: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no corpus: there is no {command[0]} here")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"no corpus: {absent}: {(done.stderr or done.stdout).strip()[-300:]}")


# --- Python's package index -------------------------------------------------------------------------------------------------


def _from_index(name: str, version: str, sha256: str, below: str, folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, "--require-hashes")
    _run((*command, "--dest", folder, "-r", wanted), folder, f"the sources of {name} cannot be had from the package index")
    return _unpacked(next(folder.glob("*.tar.gz")), folder, below)


def _unpacked(archive: Path, folder: Path, below: str = "") -> Path:
    unpacked = folder / "unpacked"
    with tarfile.open(archive) as opened:
        members = [member for member in opened.getmembers() if below in member.name and member.isfile()]
        opened.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python knows none
        opened.extractall(unpacked, members=members)
    return unpacked


# --- Debian -----------------------------------------------------------------------------------------------------------------


def _sources(package: str, folder: Path) -> Path:
    """Of the newest version that can be had: mirrors may lack the latest."""
    lists = _source_lists()
    told = subprocess.run(("apt-cache", *lists, "showsrc", package), capture_output=True, text=True, timeout=60, check=False)
    versions = [line.removeprefix("Version: ") for line in told.stdout.splitlines() if line.startswith("Version: ")]
    for version in reversed(versions):
        command = ("apt-get", *lists, "source", "--download-only", "--quiet", f"{package}={version}")
        if subprocess.run(command, cwd=folder, capture_output=True, timeout=600, check=False).returncode == 0:
            break
    else:
        pytest.skip(f"no corpus: apt-get gives no sources of {package} (versions: {', '.join(versions) or 'none'})")
    archives = [path for path in folder.glob("*.orig.tar.*") if path.suffix != ".asc"]
    return _unpacked(archives[0], folder)


def _package(package: str, folder: Path) -> Path:
    _run(("apt-get", "download", "--quiet", package), folder, f"apt-get gives no package {package}")
    unpacked = folder / "unpacked"
    _run(("dpkg-deb", "-x", next(folder.glob("*.deb")), unpacked), folder, f"the package {package} cannot be unpacked")
    return unpacked


@functools.cache
def _source_lists() -> tuple[str, ...]:
    """Options with which apt-get also knows sources, from the places it has packages from; the machine's own set-up stays."""
    state = CACHE / "apt"
    parts = state / "parts"
    for folder in (state / "lists" / "partial", parts):
        folder.mkdir(parents=True, exist_ok=True)
    own = Path("/etc/apt")
    for number, path in enumerate([own / "sources.list", *sorted((own / "sources.list.d").glob("*"))]):
        if path.is_file() and path.suffix in (".list", ".sources"):
            text = path.read_text(encoding="utf-8")
            of_sources = "\n".join(_of_sources(line) for line in text.splitlines())
            (parts / f"{number}{path.suffix}").write_text(f"{of_sources}\n", encoding="utf-8")
    options = (
        "-o",
        "Dir::Etc::sourcelist=/dev/null",
        "-o",
        f"Dir::Etc::sourceparts={parts}",
        "-o",
        f"Dir::State::lists={state}/lists",
    )
    _run(("apt-get", *options, "--quiet", "update"), state, "apt-get gives no lists of sources")
    return options


def _of_sources(line: str) -> str:
    if line.startswith("Types:"):
        return "Types: deb-src"
    return f"deb-src{line[3:]}" if line.startswith(("deb ", "deb\t")) else line
