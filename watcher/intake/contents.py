"""The bytes of an open original: behind its descriptor, or held in memory where they are few.

A small file is read once: judged, hashed and served from the same bytes, with no descriptor kept open and no further call that
may wait for its disk. How much is held at once is bounded; what does not fit any more is served from its descriptor, as large
files are. Blocks.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Final

from watcher.intake.pools import made_progress
from watcher.one_processor import THREADS

LARGEST_BYTES: Final = 256 * 1024
"""A larger file is better sent by the kernel."""
MOST_BYTES: Final = 16 * 1024 * 1024
_HASH_BLOCK: Final = 1 << 20


class Memory:
    """How much may be held at once. For any thread."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._left = most
        self._lock = threading.Lock()

    def reserve(self, size: int) -> bool:
        """Whether so many bytes may be held from now on."""
        with self._lock:
            if size > min(LARGEST_BYTES, self._left):
                return False
            self._left -= size
            return True

    def release(self, size: int) -> None:
        """They are held no longer."""
        with self._lock:
            self._left += size


class Contents:
    """The first `size` bytes behind a descriptor, which belongs to this object from now on."""

    def __init__(self, descriptor: int, size: int, memory: Memory) -> None:
        self.descriptor = descriptor
        """-1 where the bytes are held and nothing more is to be asked of the file, and after `close`."""
        self.held: bytes | None = None
        """All of them, where they are held."""
        self._size = size
        self._memory = memory

    def hold(self) -> None:
        """Read them, if there is room to hold them."""
        if self._memory.reserve(self._size):
            self.held = b""  # what was reserved is released by `let_go`, whatever the disk says
            while (left := self._size - len(self.held)) and (block := os.pread(self.descriptor, left, len(self.held))):
                self.held += block

    def read_at(self, offset: int, size: int) -> bytes:
        """So many of them."""
        return os.pread(self.descriptor, size, offset) if self.held is None else self.held[offset : offset + size]

    def sha1(self) -> str:
        """Their hash."""
        if self.held is not None:
            return hashlib.sha1(self.held, usedforsecurity=False).hexdigest()
        digest, offset = hashlib.sha1(usedforsecurity=False), 0
        with THREADS.apart():
            while block := os.pread(self.descriptor, _HASH_BLOCK, offset):
                digest.update(block)
                offset += len(block)
                made_progress()
        return digest.hexdigest()

    def leave_file(self) -> None:
        """Nothing more is asked of the file: what is held needs no descriptor."""
        if self.held is not None:
            os.close(self.descriptor)
            self.descriptor = -1

    def let_go(self) -> int:
        """Forget the bytes. Gives the descriptor, which is the caller's to close, or -1 where there is none."""
        if self.held is not None:
            self.held = None
            self._memory.release(self._size)
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor
