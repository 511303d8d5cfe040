"""Files in watched folders: where they lie, which version of them is there, what is remembered of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.model.log_fields import Record

Stamp = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns and the lower 63 bits of the inode: an Observation that is cheap to make in large numbers."""
INODE_BITS: Final = (1 << 63) - 1
FARTHEST_NS: Final = (1 << 63) - 1
"""The farthest time that the journal can keep, in the year 2262. File systems know later ones; those count as this one."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What stat says of a file: the version at a path. Equal observations need no second look; unequal ones say nothing yet."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Observation:
        """The observation in a stat result."""
        return cls(status.st_size, _bounded(status.st_mtime_ns), _bounded(status.st_ctime_ns), status.st_ino)

    @property
    def stamp(self) -> Stamp:
        """The same, as scans compare it."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode & INODE_BITS)


def _bounded(nanoseconds: int) -> int:
    return min(max(nanoseconds, -FARTHEST_NS), FARTHEST_NS)


@dataclass(frozen=True)
class FileRef:
    """A file in a watched folder. `relative` is the path inside it as the bytes that the file system keeps."""

    folder: str
    root: Path
    relative: bytes

    @property
    def path(self) -> Path:
        """The absolute path; bytes that are no UTF-8 are kept as surrogates (os.fsdecode)."""
        return self.root / os.fsdecode(self.relative)

    @property
    def name(self) -> str:
        """The file's own name, decoded like `path`."""
        return os.fsdecode(self.relative.rpartition(b"/")[2])

    @property
    def relative_text(self) -> str:
        """The path inside the folder, decoded like `path`."""
        return os.fsdecode(self.relative)

    def fields(self) -> Record:
        """`folder` and `file` for the log; with `file_base64` where the name is no UTF-8, so that the path can be restored."""
        return self._fields.copy()

    @cached_property
    def _fields(self) -> Record:
        path = os.path.join(os.fsencode(self.root), self.relative)  # noqa: PTH118 - pathlib has no bytes
        return {"folder": self.folder, **path_fields("file", path)}


@dataclass(frozen=True, slots=True)
class Subtree:
    """All that lies at or below `top`, a path inside a folder; b"" for the whole folder."""

    folder: str
    top: bytes = b""

    def holds(self, file: FileRef) -> bool:
        """Whether the file lies in it."""
        inside = not self.top or file.relative == self.top or file.relative.startswith(self.top + b"/")
        return inside and file.folder == self.folder


def path_fields(name: str, path: Path | bytes) -> Record:
    """A path as log fields: text that is always valid JSON, and the exact bytes in base64 where the text cannot say them."""
    raw = os.fsencode(path)
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        import base64  # only odd names need it

        return {name: raw.decode("utf-8", "backslashreplace"), f"{name}_base64": base64.b64encode(raw).decode()}


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file that is not whole yet: since when it is waited for (Unix seconds), and what is missing."""

    size: int
    since: float
    reason: str
    """empty, truncated or being_written"""
    message: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal remembers of a path: the observation that was judged, and why it was ignored, if it was."""

    observation: Observation
    ignored: str | None = None


@dataclass(frozen=True, slots=True)
class KnownDirectory:
    """What the journal remembers of the files directly in a directory: their stamps by name, and why some were ignored."""

    stamps: dict[bytes, Stamp]
    ignored: dict[bytes, str]
