"""Reading audit files: the one that is written and those that rotation made of it, plain or compressed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import zlib
from typing import TYPE_CHECKING, Final

from watcher.records.chain import ChainedLine, Tail, reaches_back, read_line, read_tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedIOBase
    from pathlib import Path

READ_ERRORS: Final = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a file may raise, a cut or foreign compressed one included."""

_KNOWN: Final = (r"\.gz", r"\.bz2", r"\.xz")
_ZSTD: Final = (r"\.zst",)
_UNKNOWN: Final = (r"\.lz4", r"\.lzo", r"\.br", r"\.Z", r"\.zip", r"\.7z")
_FIRST_LOOK: Final = 1 << 16
_ANY: Final = 1 << 62


def rotated_files(path: Path) -> list[Path]:
    """What rotation made of the file at `path`, in no order.

    Names as logrotate makes them, for `x.jsonl`: `x.jsonl.1`, `x.jsonl.2.gz`, `x.jsonl-20261122`, `x-20261122.jsonl.xz`.
    """
    return _rotated(path, "|".join(["", *_KNOWN, *(_ZSTD if _zstd() else ())]))


def unreadable_files(path: Path) -> list[Path]:
    """Rotated files that were compressed in a way that cannot be read here, by name."""
    return sorted(_rotated(path, "|".join([*_UNKNOWN, *(() if _zstd() else _ZSTD)])))


def how_to_read(path: Path) -> str:
    """What to do about a file that cannot be read here."""
    if path.suffix == ".zst":
        return "the program zstd is not here; install it (apt install zstd), or decompress the file"
    return "its compression is not known here; decompress it, or rotate with gzip, bzip2, xz or zstd"


def newest_is_unreadable(path: Path) -> bool:
    """Whether the newest of the rotated files is one that cannot be read: what is missed elsewhere may be in it."""
    hidden, open_ones = unreadable_files(path), rotated_files(path)
    return bool(hidden) and max(map(_changed_at, hidden)) >= max(map(_changed_at, open_ones), default=0)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _zstd() -> str | None:
    """The program that reads Zstandard; Python does from 3.14 on."""
    return shutil.which("zstd")


def _rotated(path: Path, compressed: str) -> list[Path]:
    number = r"[.-]\d[\dT:_.-]*"
    forms = [rf"{re.escape(path.name)}{number}", rf"{re.escape(path.stem)}{number}{re.escape(path.suffix)}"]
    pattern = re.compile(rf"(?:{'|'.join(forms)})(?:{compressed})")
    try:
        return [each for each in path.parent.iterdir() if pattern.fullmatch(each.name) and each.is_file()]
    except FileNotFoundError:
        return []


def audit_files(path: Path) -> list[Path]:
    """The audit file and its rotated ones, by the number of their first line; those without any line are left out."""
    present = [*rotated_files(path), *([path] if path.is_file() else [])]
    first = {each: seq for each in present if (seq := _first_seq(each)) is not None}
    return sorted(first, key=lambda each: (first[each], each == path))


def open_lines(path: Path) -> BufferedIOBase:
    """A plain or compressed file of lines, for reading."""
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".bz2":
        return bz2.open(path, "rb")
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return _open_zst(path) if path.suffix == ".zst" else path.open("rb")


def _open_zst(path: Path) -> BufferedIOBase:
    """The content in a temporary file. Raises OSError where it is not whole, or not Zstandard."""
    command = [_zstd() or "zstd", "-dcq", "--", str(path)]
    content = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who reads it
    try:
        subprocess.run(command, stdout=content, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)  # noqa: S603 - ours
        content.seek(0)
    except subprocess.CalledProcessError as error:
        content.close()
        raise OSError(error.stderr.decode(errors="replace").strip().rpartition(" : ")[2] or "zstd failed") from None
    except BaseException:  # nobody else knows of it
        content.close()
        raise
    return content


def our_lines(path: Path) -> Iterator[ChainedLine]:
    """The lines of ours in a file, as far as it can be read."""
    for data in _whole_lines(path):
        if (line := read_line(data)) is not None:
            yield line


def last_rotated_line(path: Path) -> ChainedLine | None:
    """The last line of ours in the rotated file that holds the newest."""
    for each in reversed(audit_files(path)):
        if each != path and (line := _last_line(each)) is not None:
            return line
    return None


def newest_line(path: Path) -> ChainedLine | None:
    """The last line of ours that there is, in the file at `path` or in one that rotation made of it."""
    line = _last_line(path) if path.is_file() else None
    return line if line is not None else last_rotated_line(path)


def read_end(descriptor: int, size: int, marked: int) -> Tail:
    """The verdict of `read_tail` on an open plain file, read only as far back as there may be trouble."""
    length = _FIRST_LOOK
    while True:
        start = max(0, size - length)
        data = _read_at(descriptor, size - start, start)
        if start == 0:
            return read_tail(data, marked)
        if reaches_back(data, marked):
            first = data.find(b"\n") + 1
            tail = read_tail(data[first:], marked)
            return Tail(start + first + tail.keep, tail.last)
        length *= 4


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        with open_lines(path) as lines:
            yield from (data[:-1] for data in lines if data.endswith(b"\n"))
    except READ_ERRORS:
        # what cannot be read holds nothing for us; `audit verify` says so
        return


def _first_seq(path: Path) -> int | None:
    """The number of the first line of ours; 0 where there is something, but none of ours; None where there is nothing."""
    line = next(our_lines(path), None)
    if line is not None:
        return line.seq
    return 0 if path.stat().st_size else None


def _last_line(path: Path) -> ChainedLine | None:
    if path.suffix in (".gz", ".bz2", ".xz", ".zst"):
        newest = None
        for data in _whole_lines(path):
            newest = data
        return read_line(newest) if newest is not None else None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_end(descriptor, os.fstat(descriptor).st_size, _ANY).last
    finally:
        os.close(descriptor)


def _read_at(descriptor: int, length: int, offset: int) -> bytes:
    data = b""
    while len(data) < length and (part := os.pread(descriptor, length - len(data), offset + len(data))):
        data += part
    return data
