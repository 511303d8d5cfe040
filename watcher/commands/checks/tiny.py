"""The smallest real image, as an original that can be published."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import tempfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from watcher.model import Format, SourceFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


def tiny_png(seed: bytes, side: int = 16) -> bytes:
    """A whole PNG of `side` by `side` pixels in one colour that the seed chooses: other seeds give other bytes."""
    colour = hashlib.sha256(seed).digest()[:3]
    rows = (b"\0" + colour * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    note = b"compressor-watcher\0" + hashlib.sha256(seed).hexdigest().encode()
    chunks = ((b"IHDR", header), (b"tEXt", note), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*chunks, strict=True)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class TinySource:
    """Implements `watcher.ports.Source` over an open file that nobody else knows."""

    held = None
    modified = 0.0

    def __init__(self, descriptor: int, content: bytes) -> None:
        self._descriptor = descriptor
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.facts = SourceFacts("compressor-watcher-check.png", sha1, len(content), Format.PNG)

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def is_intact(self) -> bool:
        """Nobody else has the file."""
        return True

    async def is_current(self, _within: float = 0.0) -> bool:
        """It has no path that could lead elsewhere."""
        return True

    def seen_within(self, _seconds: float) -> bool:
        """It is looked at each time."""
        return False

    async def run(self, work: Callable[[], T]) -> T:
        """Run what may wait for the disk."""
        return await asyncio.to_thread(work)

    def start(self, work: Callable[[], object]) -> None:
        """Run it at once: it is a temporary file of our own."""
        work()

    def close(self) -> None:
        """Whoever made the file closes it."""


@contextmanager
def tiny_source(content: bytes) -> Iterator[TinySource]:
    """The content as a Source while the context lasts."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield TinySource(file.fileno(), content)
