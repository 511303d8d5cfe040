"""Ends the process by SIGKILL right before or right after the n-th passing of a named point; nothing in `watcher` knows of it.

A point is a function or method that the journey of an image passes. It is wrapped from outside, in the process that is to die:

    Crash("journal.end", "after", 1).install()
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

JOURNALS = (("watcher.records.sqlite_journal", "SqliteJournal"), ("watcher.records.postgres.journal", "PostgresJournal"))
ENGINES = (("watcher.records.sqlite_engine", "SqliteEngine"), ("watcher.records.postgres.host_engine", "HostEngine"))
"""On either of them a journal is kept: a point of the journal is a method of both."""

Place = tuple[str, str]
"""A module, and a function or method in it."""


def _both(owners: tuple[Place, ...], method: str) -> tuple[Place, ...]:
    return tuple((module, f"{name}.{method}") for module, name in owners)


POINTS: dict[str, tuple[Place, ...]] = {
    "journal.take": _both(JOURNALS, "take"),
    "journal.hashed": _both(JOURNALS, "hashed"),
    "journal.requested": _both(JOURNALS, "requested"),
    "journal.enqueued": _both(JOURNALS, "enqueued"),
    "journal.postponed": _both(JOURNALS, "postponed"),
    "journal.unchanged": _both(JOURNALS, "unchanged"),
    "journal.end": _both(JOURNALS, "end"),
    "journal.finish": _both(JOURNALS, "finish"),
    "journal.mark": _both(JOURNALS, "advance_outbox"),
    # before it everything is done but the commit: on PostgreSQL the server has a transaction open
    "journal.commit": _both(ENGINES, "commit"),
    "publisher.publish": (("watcher.publish.serve", "TemporaryUrls.publish"),),
    "publisher.withdraw": (("watcher.publish.serve", "TemporaryUrls.withdraw"),),
    "api.fetch": (("watcher.compressor.client", "CompressorClient.fetch"),),
    "api.job": (("watcher.compressor.client", "CompressorClient.job"),),
    "store.head": (("watcher.compressor.stored", "HttpObjectStore.head"),),
    "originals.open": (("watcher.intake.originals", "FileOriginals.open"),),
    "originals.delete": (("watcher.intake.originals", "FileOriginals.delete"),),
    "originals.move": (("watcher.intake.originals", "FileOriginals.move"),),
    # inside a deletion: the name is taken aside; inside a move: renamed, and where that is another file system, copied
    "delete.aside": (("watcher.intake.durable", "_finish_delete"),),
    "move.place": (("watcher.intake.durable", "place"),),
    "move.original": (("watcher.intake.durable", "delete_version"),),
    "audit.append": (("watcher.records.audit_file", "AuditFile.append"),),
    "audit.torn": (("watcher.records.audit_file", "AuditFile._write"),),
}
"""Where each point is. At "audit.torn" half of what is to be written is written."""

Moment = Literal["before", "after"]


def die() -> None:
    """No goodbye."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Crash:
    """The end of a process: which point, before or after it is passed for the n-th time."""

    point: str
    moment: Moment = "before"
    passing: int = 1

    def __str__(self) -> str:
        return f"{self.moment} {self.point} #{self.passing}"

    def install(self) -> None:
        """Wrap the point. To be called in the process that is to die, before it begins its work."""
        counter = iter(range(1, 1_000_000_000))
        for module_name, path in POINTS[self.point]:
            *outer, name = path.split(".")
            owner: Any = importlib.import_module(module_name)
            for part in outer:
                owner = getattr(owner, part)
            original = getattr(owner, name)
            setattr(owner, name, _torn if self.point == "audit.torn" else self._wrapped(original, counter))

    def _wrapped(self, original: Callable[..., Any], counter: Iterator[int]) -> Callable[..., Any]:
        def is_due() -> bool:
            return next(counter) == self.passing

        @functools.wraps(original)
        async def later(*arguments: Any, **options: Any) -> Any:
            due = is_due()
            if due and self.moment == "before":
                die()
            try:
                return await original(*arguments, **options)
            finally:
                if due:
                    die()

        @functools.wraps(original)
        def now(*arguments: Any, **options: Any) -> Any:
            due = is_due()
            if due and self.moment == "before":
                die()
            try:
                return original(*arguments, **options)
            finally:
                if due:
                    die()

        return later if inspect.iscoroutinefunction(original) else now


def _torn(audit: Any, data: bytes) -> None:
    """Half of a line reaches the file."""
    with audit.path.open("ab", buffering=0) as file:
        file.write(data[: len(data) // 2])
    die()
