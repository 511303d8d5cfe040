"""Outputs that were not asked to be stored: they are available for a while at `/{epoch}/{id}/{name}`, the vendor's form.

`epoch` is when the address ends (Unix time, seconds). The id's 122 random bits are the right to read; no key is asked for.
The folder is the whole truth, so that the addresses outlive a restart.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcher.job_store import ResultFiles

LIFETIME: Final = 3600.0
"""Seconds for which a temporary address works."""
_EPOCH: Final = re.compile(r"\d{10}")


class TemporaryResults:
    """The folder of temporary results, `<root>/<epoch>/<id>/<name>`. Implements `watcher.job_store.Results`."""

    def __init__(self, root: Path, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock

    async def keep(self, output: Path, identity: str, name: str) -> str:
        """See Results."""
        epoch = str(int(self._clock() + LIFETIME))
        await asyncio.to_thread(self.put, output, epoch, identity, name)
        return _address(epoch, identity, name)

    async def find(self, epoch: str, identity: str, name: str) -> Path | None:
        """See Results."""
        return await asyncio.to_thread(self._find, epoch, identity, name) if self.may_be(epoch, identity) else None

    async def sweep(self) -> None:
        """See Results."""
        await asyncio.to_thread(self._sweep)

    def may_be(self, epoch: str, identity: str) -> bool:
        """Whether an address has the form, and has not ended."""
        return _EPOCH.fullmatch(epoch) is not None and int(epoch) > self._clock() and _is_uuid(identity)

    def put(self, output: Path, epoch: str, identity: str, name: str) -> Path:
        """Take the file `output` over; where it is then."""
        folder = self._root / epoch / identity
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        return output.rename(folder / name)

    def _find(self, epoch: str, identity: str, name: str) -> Path | None:
        folder = self._root / epoch / identity
        return next((path for path in folder.glob("*") if path.name == name), None)

    def _sweep(self) -> None:
        for folder in self._root.glob("*"):
            if not _EPOCH.fullmatch(folder.name) or int(folder.name) <= self._clock():
                shutil.rmtree(folder, ignore_errors=True)


class SharedResults:
    """The same for engines that share their jobs: whichever of them made an output, each of them has it at its address.

    What is asked for is fetched into the own folder once, and served from there. Implements `watcher.job_store.Results`.
    """

    def __init__(self, own: TemporaryResults, files: ResultFiles, clock: Callable[[], float], folder: Path) -> None:
        """`folder` is for files that are on their way."""
        self._own = own
        self._files = files
        self._clock = clock
        self._folder = folder

    async def keep(self, output: Path, identity: str, name: str) -> str:
        """See Results: the others have it when this returns."""
        epoch = str(int(self._clock() + LIFETIME))
        await self._files.put_file(epoch, _named(identity, name), output)
        await asyncio.to_thread(self._own.put, output, epoch, identity, name)
        return _address(epoch, identity, name)

    async def find(self, epoch: str, identity: str, name: str) -> Path | None:
        """See Results."""
        if (path := await self._own.find(epoch, identity, name)) is not None or not self._own.may_be(epoch, identity):
            return path
        fetched = self._folder / f"{secrets.token_hex(16)}.result"
        try:
            if not await self._files.get_file(epoch, _named(identity, name), fetched):
                return None
            return await asyncio.to_thread(self._own.put, fetched, epoch, identity, name)
        finally:
            fetched.unlink(missing_ok=True)

    async def sweep(self) -> None:
        """See Results; what is shared goes with the jobs."""
        await self._own.sweep()


def _address(epoch: str, identity: str, name: str) -> str:
    return f"/{epoch}/{identity}/{quote(name)}"


def _named(identity: str, name: str) -> str:
    return f"{identity}/{name}"


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
