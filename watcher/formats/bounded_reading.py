"""Reads a file in small steps, within bounds. Pure: the bytes come from a function that the caller gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, size)`: up to `size` bytes from `offset` (never negative), fewer only where the file ends."""

HEAD: Final = 4096
CHUNK: Final = 1 << 18
_MAX_STEPS: Final = 8_000_000
"""A file of a gigabyte made of the smallest sensible parts stays below; one made to keep us busy does not."""


class Cut(Exception):
    """The container goes on where the file ends. The message says what is missing."""


class NoFormalEnd(Cut):
    """Every pixel is there; what is missing or wrong is form alone, and decoders read the file all the same."""


class Bytes:
    """Reads a file through a window, so that small steps cost no system call each."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self.size = size
        self._start = 0
        self._window = b""
        self._steps = 0

    def some(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes, fewer only where `size` ends; none before the beginning. Raises Cut where bytes are gone."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise Cut("the container has too many parts to be checked")
        if not 0 <= offset < self.size:
            return b""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._window):
            self._start = offset
            self._window = self._read_at(offset, min(max(count, HEAD), self.size - offset))
            begin = 0
            if len(self._window) < min(count, self.size - offset):
                raise Cut("the file became shorter while it was read")
        return self._window[begin : begin + count]

    def exactly(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes; raises Cut where they are not all there."""
        data = self.some(offset, count)
        if len(data) < count:
            raise Cut(what)
        return data

    def reaches(self, end: int, what: str) -> None:
        """Raises Cut where the file ends before `end`."""
        if end > self.size:
            raise Cut(what)

    def number(self, offset: int, count: int, what: str, order: str) -> int:
        """An unsigned number of `count` bytes; `order` "<" or ">"."""
        return int.from_bytes(self.exactly(offset, count, what), "little" if order == "<" else "big")
