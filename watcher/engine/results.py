"""Outputs that were not asked to be stored: they can be had for a while at `/{epoch}/{id}/{name}`, the vendor's form.

`epoch` is when the address ends (Unix time, seconds). The id's 122 random bits are the right to read; no key is asked for.
The folder is the whole truth, so that the addresses outlive a restart.
"""

from __future__ import annotations

import re
import shutil
import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIFETIME: Final = 3600.0
"""Seconds for which a temporary address works."""
_EPOCH: Final = re.compile(r"\d{10}")


class TemporaryResults:
    """The folder of temporary results, `<root>/<epoch>/<id>/<name>`."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock

    def keep(self, output: Path, identity: str, name: str) -> str:
        """Take the file `output` over; the path part of its address."""
        epoch = str(int(self._clock() + LIFETIME))
        folder = self._root / epoch / identity
        folder.mkdir(parents=True, mode=0o700)
        output.rename(folder / name)
        return f"/{epoch}/{identity}/{quote(name)}"

    def find(self, epoch: str, identity: str, name: str) -> Path | None:
        """The file of an address, or None where it is unknown or has ended."""
        if not _EPOCH.fullmatch(epoch) or int(epoch) <= self._clock() or not _is_uuid(identity):
            return None
        folder = self._root / epoch / identity
        return next((path for path in folder.glob("*") if path.name == name), None)

    def sweep(self) -> None:
        """Delete what has ended."""
        for folder in self._root.glob("*"):
            if not _EPOCH.fullmatch(folder.name) or int(folder.name) <= self._clock():
                shutil.rmtree(folder, ignore_errors=True)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
