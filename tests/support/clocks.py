"""A clock of a daemon that can be set while it runs."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

SETTABLE = """
import mmap, os, struct, time

_file = os.open(os.environ["CLOCK_FILE"], os.O_RDONLY)
_offset = mmap.mmap(_file, 8, prot=mmap.PROT_READ)
_true = time.time
time.time = lambda: _true() + struct.unpack("<d", _offset[:8])[0]
"""


class SettableClock:
    """What a daemon begun with `environment` takes for the time."""

    def __init__(self, path: Path) -> None:
        site = path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SETTABLE)
        self._file = path / "offset"
        self._file.write_bytes(struct.pack("<d", 0.0))
        self.environment = {"PYTHONPATH": str(site), "CLOCK_FILE": str(self._file)}

    def set(self, seconds: float) -> None:
        """From now on the clock is off by so much."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as offset:
            offset[:8] = struct.pack("<d", seconds)
