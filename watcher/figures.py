"""The figures that `status`, the page and the metrics show: one composition, so that all of them say the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from watcher.model import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watcher.model import Record

ENDED: Final = ("stored", "failed", "superseded", "vanished", "unchanged")
"""The ways in which something ends, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What ended in a while."""

    stored: int = 0
    failed: int = 0

    def fields(self) -> Record:
        """As `status --json` has it."""
        return {"stored": self.stored, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class JournalFigures:
    """What the journal knows. Its defaults are the figures of a daemon that has never run. Times are Unix seconds."""

    waiting: int = 0
    in_flight: int = 0
    failed: int = 0
    """Failed, and neither retried nor replaced by a newer version of the file."""
    oldest_open: float | None = None
    """When what has been waiting longest was detected."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """Since the journal began, by the words of ENDED."""
    last_minute: Throughput = Throughput()
    last_hour: Throughput = Throughput()
    unwritten_audit_lines: int = 0
    last_errors: Sequence[Record] = ()
    """The newest failed endings, newest first: the objects of their log lines."""
    last_delay: Record | None = None
    """Why the image that was put off last has to wait."""

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {
            "queue": self.waiting,
            "in_flight": self.in_flight,
            "failed": self.failed,
            "oldest_open": _stamp(self.oldest_open),
            "ended": {name: self.ended.get(name, 0) for name in ENDED},
            "throughput": {"last_minute": self.last_minute.fields(), "last_hour": self.last_hour.fields()},
            "unwritten_audit_lines": self.unwritten_audit_lines,
            "last_errors": list(self.last_errors),
            "last_delay": self.last_delay,
        }


@dataclass(frozen=True, slots=True)
class DaemonFigures:
    """Whether a daemon runs on this state: its process, and since when (Unix seconds)."""

    state_dir: str
    pid: int | None = None
    since: float | None = None

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {"running": self.pid is not None, "pid": self.pid, "since": _stamp(self.since), "state_dir": self.state_dir}


@dataclass(frozen=True, slots=True)
class FolderFigures:
    """A watched folder and how it does."""

    name: str
    path: str
    state: str

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {"name": self.name, "path": self.path, "state": self.state}


@dataclass(frozen=True, slots=True)
class Status:
    """All that there is to know of a daemon in one value."""

    daemon: DaemonFigures
    journal: JournalFigures
    folders: Sequence[FolderFigures]

    def fields(self) -> dict[str, Any]:
        """The object of `status --json`."""
        return {**self.daemon.fields(), **self.journal.fields(), "folders": [folder.fields() for folder in self.folders]}


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else timestamp(seconds)
