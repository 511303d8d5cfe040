"""An intake over real folders, with a real journal: what was taken, what was left, and when it has come to rest."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.journals import open_journal_at
from tests.support.publishing import MovedClock, RecordedLog, growing_pauses, wait_until
from watcher.config.loading import load_settings
from watcher.config.rules import folder_rules
from watcher.intake.contents import Memory
from watcher.intake.intake import Intake, IntakeSettings
from watcher.intake.originals import FileOriginals
from watcher.model import Event, FileRef, Image, Observation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from watcher.config.rules import FolderRules
    from watcher.records.journal import ThreadedJournal

STORE = {"id": "connector", "bucket": "bucket", "region": "eu-central-003"}
QUICK = {"guard": 0.1, "canary": 1e9, "poll": 0.05, "settle": 0.2, "pause": 0.05, "rearm": 0.3}
_numbers = itertools.count(1)


def rules_for(folders: Sequence[dict[str, Any]], **settings: Any) -> dict[str, FolderRules]:
    """The rules of a configuration with these [[folders]] tables."""
    data = {"state_dir": "/nowhere", "compressor": {"url": "embedded"}, "store": STORE, "folders": list(folders), **settings}
    return folder_rules(load_settings(data, {}))


@dataclass
class Drops:
    """One watched folder (or several) and what became of the files in it."""

    root: Path
    journal: ThreadedJournal
    events: RecordedLog
    clock: MovedClock
    folders: list[dict[str, Any]]
    times: dict[str, float] = field(default_factory=dict)
    woken: int = 0

    def __post_init__(self) -> None:
        self.intake = self.new_intake()

    def new_intake(self) -> Intake:
        """An intake as a new process would make it: nothing but the journal is remembered."""
        settings = IntakeSettings(**{**QUICK, **self.times})
        rules = rules_for(self.folders)
        return Intake(
            rules, settings, self.journal, self.events, self.clock, on_taken=self._woken, random=random.Random(7).random
        )

    def _woken(self) -> None:
        self.woken += 1

    async def start(self) -> None:
        await self.intake.start()

    async def restart(self) -> None:
        await self.intake.stop()
        self.intake = self.new_intake()
        await self.intake.start()

    @property
    def originals(self) -> FileOriginals:
        return FileOriginals(self.intake.roots, self.intake.pools, self.intake.emptied)

    @property
    def unheld_originals(self) -> FileOriginals:
        """The same without room to hold any bytes: as it is for large files."""
        return FileOriginals(self.intake.roots, self.intake.pools, self.intake.emptied, Memory(0))

    def file(self, relative: str | bytes, folder: str = "drop") -> FileRef:
        root = next(Path(each["path"]) for each in self.folders if each["name"] == folder)
        return FileRef(folder, root, os.fsencode(relative))

    def observation(self, relative: str | bytes, folder: str = "drop") -> Observation:
        return Observation.of(os.stat(self.file(relative, folder).path))

    async def images(self) -> list[Image]:
        """Everything that was taken and has not ended, oldest first."""
        return await self.journal.due(self.clock.now() + 1e9, 1_000_000, ())

    def taken(self, folder: str = "drop") -> list[str]:
        """The paths inside the folder of all that was taken, in order; a file taken twice stands there twice."""
        return self._paths(Event.IMAGE_DETECTED, folder)

    def ignored(self, folder: str = "drop") -> dict[str, str]:
        """Path inside the folder to the reason why it was left."""
        reasons = [str(fields["reason"]) for fields in self.events.of(Event.IMAGE_IGNORED) if fields["folder"] == folder]
        return dict(zip(self._paths(Event.IMAGE_IGNORED, folder), reasons, strict=True))

    def _paths(self, event: Event, folder: str) -> list[str]:
        top = os.fsencode(self.file(b"", folder).root) + b"/"
        lines = [fields for fields in self.events.of(event) if fields["folder"] == folder]
        return [os.fsdecode(logged_path(fields).removeprefix(top)) for fields in lines]

    def said(self, event: Event) -> list[dict[str, Any]]:
        return self.events.of(event)

    async def is_known(self, relative: str, folder: str = "drop") -> bool:
        """Whether the version that lies there now is the one that was taken last."""
        directory, _, name = os.fsencode(relative).rpartition(b"/")
        known = (await self.journal.known(folder, directory)).get(name)
        return known is not None and known.ignored is None and known.observation == self.observation(relative, folder)

    async def until_taken(self, *relatives: str, seconds: float = 60.0) -> None:
        """Until all of these were taken, in the version that lies there."""
        await wait_until(lambda: set(relatives) <= set(self.taken()), seconds)
        for relative in relatives:
            await until(partial(self.is_known, relative), seconds)

    async def until_scanned(self, count: int = 1, seconds: float = 60.0) -> None:
        """Until so many scans have ended, and nothing is under way."""
        await wait_until(lambda: len(self.said(Event.SCAN_FINISHED)) >= count and self.intake.is_quiet(), seconds)

    async def until_heard(self, folder: str = "drop", seconds: float = 60.0) -> None:
        """Until the watcher has delivered everything up to now, with no scan: proved by a file that is dropped last."""
        name = f"heard-{next(_numbers)}.txt"
        (self.file(name, folder).path).write_text("not an image")
        await wait_until(lambda: name in self.ignored(folder), seconds)


def logged_path(fields: dict[str, Any]) -> bytes:
    """The exact bytes of a path from its log line."""
    return base64.b64decode(fields["file_base64"]) if "file_base64" in fields else fields["file"].encode()


async def until(question: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Poll an asynchronous question until it is answered with yes."""
    deadline, pauses = time.monotonic() + seconds, growing_pauses()
    while not await question():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(next(pauses))


@asynccontextmanager
async def drops(
    tmp_path: Path,
    *,
    started: bool = True,
    times: dict[str, float] | None = None,
    folders: Sequence[dict[str, Any]] = (),
    **folder: Any,
) -> AsyncIterator[Drops]:
    """An intake over `tmp_path/drop`; `folder` are further keys of its [[folders]] table, `times` those of IntakeSettings.

    `folders` takes the place of that one folder.
    """
    root = tmp_path / "drop"
    root.mkdir(exist_ok=True)
    events, clock = RecordedLog(), MovedClock()
    new_id = lambda: f"image-{next(_numbers):06d}"  # noqa: E731 - one word for the call below
    journal = await open_journal_at(tmp_path / "journal.db", events=events, clock=clock, keep=1e9, new_id=new_id)
    tables = list(folders) or [{"name": "drop", "path": str(root), **folder}]
    bench = Drops(root, journal, events, clock, tables, times or {})
    try:
        if started:
            await bench.start()
        yield bench
    finally:
        await bench.intake.stop()
        await journal.close()


async def in_thread(work: Any, *arguments: Any) -> Any:
    """Run blocking work of a test, so that the intake under test goes on meanwhile."""
    return await asyncio.to_thread(work, *arguments)
