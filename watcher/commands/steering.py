"""How the steering commands reach the journal, and how a running daemon hears of it at once."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watcher.clock import SystemClock
from watcher.commands.checks.identity import acting_as, service_user
from watcher.config.spelling import did_you_mean
from watcher.errors import WatcherError
from watcher.log import JsonLog
from watcher.log.console import LineStyle, plain
from watcher.records.place import JournalPlace
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.instance import LOCK_NAME, InstanceLock, running_pid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from watcher.config.schema import Settings
    from watcher.records.journal import ThreadedJournal

PROC: Final = Path("/proc")


class UnknownFolder(WatcherError):
    """No watched folder has this name."""


def check_folder(settings: Settings, name: str | None, also: Collection[str | None] = ()) -> None:
    """Raises UnknownFolder where no folder of the configuration has the name (None is no name), and none of `also`."""
    known = [folder.name for folder in settings.folders]
    if name is not None and name not in known and name not in also:
        there = f"there are {', '.join(map(plain, known))}" if known else "there is none"
        hint = did_you_mean(name, known).removeprefix("; ")
        raise UnknownFolder(f"no folder {name!r} in the configuration; {there}", hint)


@asynccontextmanager
async def steered(settings: Settings, *, begin: bool = False) -> AsyncIterator[ThreadedJournal]:
    """The journal beside a daemon, or without one. `begin`: one that is not there yet is made. Raises Unavailable."""
    place = JournalPlace.of(settings)
    if place.is_shared:
        from watcher.records.postgres.journal import PostgresJournal  # an extra: only who shares a journal needs its parts

        journal: ThreadedJournal = await PostgresJournal.attach(place.server, **_means(settings), begin=begin)
    else:
        if begin and not place.is_there():
            await _begin(settings)
        journal = SqliteJournal.attach(place.path, **_means(settings))
    try:
        yield journal
    finally:
        await journal.close()


async def _begin(settings: Settings) -> None:
    """Make the journal as the daemon would at its first start, as the user who owns the state folder."""
    with acting_as(service_user(settings.state_dir)):
        lock = InstanceLock.take(settings.state_dir)
        try:
            roots = {folder.name: folder.path for folder in settings.folders}
            journal = SqliteJournal.open(settings.journal_path, **_means(settings), audit=settings.audit_path, roots=roots)
            await journal.close()
        finally:
            lock.release()


def _means(settings: Settings) -> dict[str, Any]:
    events = JsonLog("warning", LineStyle(), sys.stderr, clock=time.time)
    return {"events": events, "clock": SystemClock(), "keep": settings.keep, "new_id": lambda: str(uuid.uuid4())}


def wake(state_dir: Path, proc: Path = PROC) -> bool:
    """Tell the running daemon at once; it would notice by itself within a second. True where it was told.

    The lock file may tell a process id of another container: only the process that has this very file open is signalled.
    """
    pid = running_pid(state_dir)
    if pid is None or not _holds(proc / str(pid), state_dir / LOCK_NAME):
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGUSR1)
        return True
    return False


def _holds(process: Path, file: Path) -> bool:
    try:
        wanted = file.stat()
        found = [descriptor.stat() for descriptor in (process / "fd").iterdir() if descriptor.exists()]
    except OSError:
        return False
    return any((each.st_dev, each.st_ino) == (wanted.st_dev, wanted.st_ino) for each in found)
