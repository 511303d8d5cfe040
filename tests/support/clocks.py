"""A clock of a daemon that can be set while it runs."""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

VARIABLE = "TESTS_CLOCK"
"""Names the file that says by how many seconds the clock of a forked process is off."""


class SettableClock:
    """What a daemon that is forked with `environment` takes for the time."""

    def __init__(self, path: Path) -> None:
        self._file = path / "offset"
        self._file.write_bytes(struct.pack("<d", 0.0))
        self.environment = {VARIABLE: str(self._file)}

    def set(self, seconds: float) -> None:
        """From now on the clock is off by so much."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as offset:
            offset[:8] = struct.pack("<d", seconds)


def follow() -> None:
    """Have this process take what the variable names for the time, if it is set."""
    if VARIABLE not in os.environ:
        return
    with Path(os.environ[VARIABLE]).open("rb") as file:
        offset = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    true = time.time
    time.time = lambda: float(true() + struct.unpack("<d", offset[:8])[0])
