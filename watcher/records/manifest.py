"""A folder's manifest: which files it has and what lies in the store of each, as a JSON or CSV file kept up to date.

It is written beside its place and then renamed: whoever reads it sees a whole one, the old or the new. The journal is read page
by page and every call on the disk is made in a thread of its own, so that neither many files nor a share that hangs keeps
anything else waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from watcher.backoff import exponential
from watcher.errors import NotAnswering, Unavailable
from watcher.in_time import in_thread
from watcher.model import Event
from watcher.shown.links import MANIFEST_COLUMNS, PublishedFile, csv_line, manifest_entry, manifest_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from watcher.model import PublishedObject, Rule
    from watcher.ports import Clock, EventLog
    from watcher.records.bell import FolderBells

T = TypeVar("T")

PAGE: Final = 500
"""Objects that are read, and written down, at a time."""
SHORTEST_PAUSE_SECONDS: Final = 1.0
REST: Final = 5.0
"""A large manifest rests so many times as long as its writing took: it must not keep a core busy."""
PATIENCE_SECONDS: Final = 30.0
"""A disk or share that has not answered for so long is said."""
LAST_CALL_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 60.0
MODE: Final = 0o644
_OURS: Final = secrets.token_hex(4)
"""Marks what this process has in the making."""


class PublishedPages(Protocol):
    """What a manifest asks of the journal."""

    objects_changed: FolderBells

    async def published_page(self, folder: str, after: bytes | None, limit: int) -> tuple[list[PublishedObject], bytes | None]:
        """The objects of a folder's files by their paths, and where the page ends; None behind the last."""


class Manifest:
    """Keeps one manifest. `run` it as a task; `finish` once that has ended."""

    def __init__(self, path: Path, rule: Rule, journal: PublishedPages, events: EventLog, clock: Clock) -> None:
        """`rule` is the folder's of today: which outputs there are, and their links."""
        self.path = path
        self.rule = rule
        self._journal = journal
        self._events = events
        self._clock = clock
        self._changed = journal.objects_changed.listen(rule.folder)
        self._changed.set()
        self._tries = 0
        self._call: asyncio.Future[Any] | None = None
        """The last call on the disk."""
        self._hanging: asyncio.Future[object] | None = None
        self._last = ""
        """The digest of what lies there by our hand."""

    async def run(self) -> None:
        """Write it now, and again whenever something changed, until cancelled."""
        while True:
            await self._changed.wait()
            began = self._clock.monotonic()
            if await self._try():
                await self._clock.sleep(max(SHORTEST_PAUSE_SECONDS, REST * (self._clock.monotonic() - began)))
            else:
                await self._clock.sleep(exponential(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, self._tries))

    async def finish(self, seconds: float) -> None:
        """Write what has changed since it was last written, where that can be done in so many seconds; then listen no more.

        A call on the disk that is under way is waited for a moment in any case: it must not come after those of a successor.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, LAST_CALL_SECONDS)):
                if self._call is not None:
                    await asyncio.wait({self._call})
                if seconds and self._changed.is_set():
                    await self._try()
        self._changed.clear()
        self._journal.objects_changed.leave(self.rule.folder, self._changed)

    async def _try(self) -> bool:
        self._changed.clear()
        try:
            await self.write()
        except (OSError, Unavailable) as error:
            self._changed.set()
            self._tries += 1
            self._tell_trouble(error)
            return False
        except asyncio.CancelledError:
            self._changed.set()
            raise
        if self._tries:
            self._tries = 0
            message = f"the manifest {self.path} can be written again"
            self._events.event(Event.JOURNAL_RECOVERED, what="manifest", folder=self.rule.folder, message=message)
        return True

    def _tell_trouble(self, error: Exception) -> None:
        if self._tries > 1:
            return
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        hint = f"the folder {self.path.parent} must be there, and writable for the daemon's user; it goes on by itself"
        message = f"the manifest {self.path} cannot be written: {reason}"
        self._events.event(Event.JOURNAL_UNAVAILABLE, what="manifest", folder=self.rule.folder, message=message, hint=hint)

    async def write(self) -> None:
        """Write it anew. Raises OSError, and NotAnswering where the disk hangs."""
        making = Making(self.path, csv=self.path.suffix == ".csv")
        if not self._last:
            await self._apart(making.tidy)
        try:
            await self._apart(making.begin)
            after: bytes | None = None
            while True:
                objects, after = await self._journal.published_page(self.rule.folder, after, PAGE)
                await self._apart(partial(making.add, self.rule, objects))
                if after is None:
                    break
            self._last = await self._apart(partial(making.put_in_place, self._last))
        except BaseException:  # called off or broken: no half file is left lying about
            in_thread(making.give_up)
            raise

    async def _apart(self, work: Callable[[], T]) -> T:
        """Make a call on the disk, and wait for it in good time. One that hangs is waited for before another one is made."""
        if self._hanging is not None:
            await self._answer(self._hanging)
            self._hanging = None
        self._call = call = in_thread(work)
        return await self._answer(call)

    async def _answer(self, call: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.shield(call)
        except TimeoutError:
            self._hanging = call  # type: ignore[assignment]
            raise NotAnswering.of(self.path.parent) from None


class Making:
    """A manifest in the making, beside its place. Every method may wait for the disk, and for one that another thread is in."""

    def __init__(self, path: Path, *, csv: bool) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.{_OURS}-{secrets.token_hex(4)}.tmp")
        self._csv = csv
        self._descriptor = -1
        self._digest = hashlib.sha256()
        self._is_first = True
        self._is_over = False
        self._turn = threading.Lock()

    def begin(self) -> None:
        """Make the file, and write how it begins."""
        with self._turn:
            if self._is_over:  # called off before this thread came to it
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._beside, flags, MODE)
            os.fchmod(self._descriptor, MODE)
            self._write(csv_line(MANIFEST_COLUMNS) + "\n" if self._csv else "{")

    def add(self, rule: Rule, objects: Sequence[PublishedObject]) -> None:
        """Write down the files of these objects."""
        files = list(files_of(rule, objects))
        with self._turn:
            if self._csv:
                self._write("".join(f"{row}\n" for file in files for row in manifest_rows(file)))
                return
            for file in files:
                self._write(("\n" if self._is_first else ",\n") + manifest_entry(file))
                self._is_first = False

    def tidy(self) -> None:
        """Remove what an earlier process left when it was killed in the middle."""
        for each in os.scandir(self._path.parent):
            ours = each.name.startswith(f".{self._path.name}.{_OURS}-")  # another one of this process is at work on it
            if not ours and each.name.startswith(f".{self._path.name}.") and each.name.endswith(".tmp"):
                with suppress(FileNotFoundError):
                    os.unlink(each.path)  # noqa: PTH108 - of scandir

    def put_in_place(self, last: str) -> str:
        """Let it take its place, unless what lies there is the same (`last` is the digest of that). Gives its digest."""
        with self._turn:
            if not self._csv:
                self._write("\n}\n")
            digest = self._digest.hexdigest()
            if digest == last and self._path.exists():
                self._leave()
                return digest
            os.fsync(self._descriptor)
            self._close()
            self._beside.replace(self._path)
            return digest

    def give_up(self) -> None:
        """Leave nothing behind."""
        with self._turn:
            self._leave()

    def _leave(self) -> None:
        self._is_over = True
        self._close()
        with suppress(OSError):
            self._beside.unlink()

    def _write(self, text: str) -> None:
        data = text.encode()
        self._digest.update(data)
        while data and not self._is_over:
            data = data[os.write(self._descriptor, data) :]

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def files_of(rule: Rule, objects: Iterable[PublishedObject]) -> Iterator[PublishedFile]:
    """The files of these objects, in their order, with the outputs that the rule has. Pure."""
    by_file: dict[bytes, list[PublishedObject]] = {}
    for each in objects:
        by_file.setdefault(each.relative, []).append(each)
    for outputs in by_file.values():
        file = PublishedFile.of(rule.root, outputs, rule)
        if file is not None:
            yield file
