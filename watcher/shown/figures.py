"""The figures that `status`, the page and the metrics show: one composition, so that all of them say the same. Pure.

Counts are of images; an image with renditions counts once. What is counted by output is named so.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from watcher.model import optional_timestamp
from watcher.shown.report import ApiFigures, DaemonReport, FolderState, ReceiverState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from watcher.model import Record


OUTCOMES: Final = ("stored", "failed", "superseded", "vanished", "unchanged")
"""How an image ends as a whole, in the order in which it is shown."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Images of one folder, or of all. `failed` are those that nobody has settled; `ended` has all since the journal began."""

    waiting: int = 0
    in_flight: int = 0
    failed: int = 0
    ended: Mapping[str, int] = field(default_factory=dict)

    def fields(self) -> Record:
        """As `status --json` has them."""
        ended = {name: self.ended.get(name, 0) for name in OUTCOMES}
        return {"queue": self.waiting, "in_flight": self.in_flight, "failed": self.failed, "ended": ended}

    def at_rest(self) -> Counts:
        """The same where no daemon runs: what it had sent waits, until the next start asks what became of it."""
        return replace(self, waiting=self.waiting + self.in_flight, in_flight=0)


def total(counts: Iterable[Counts]) -> Counts:
    """The sum of all."""
    every = list(counts)
    ended: Counter[str] = Counter()
    for each in every:
        ended.update(each.ended)
    waiting, in_flight = sum(each.waiting for each in every), sum(each.in_flight for each in every)
    return Counts(waiting, in_flight, sum(each.failed for each in every), ended)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Images that ended in a while."""

    stored: int = 0
    failed: int = 0

    def fields(self) -> Record:
        """As `status --json` has it."""
        return {"stored": self.stored, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class JournalFigures:
    """What the journal knows. Its defaults are the figures of a daemon that has never run. Times are Unix seconds."""

    folders: Mapping[str, Counts] = field(default_factory=dict)
    """By name; also of folders that are no longer configured."""
    outputs: Mapping[str, int] = field(default_factory=dict)
    """Outputs by their state."""
    oldest_open: float | None = None
    """When what has been waiting longest was detected."""
    not_whole: int = 0
    """Files that are waited for, since they are not whole."""
    ignored: int = 0
    """Files that lie in the folders and are not taken for what they are."""
    unreadable: int = 0
    """Those of them that the daemon may not read."""
    not_put_away: int = 0
    """Originals that could not be moved or deleted and are tried again."""
    why_not_put_away: str = ""
    last_minute: Throughput = Throughput()
    last_hour: Throughput = Throughput()
    unwritten_audit_lines: int = 0
    backlogs: Mapping[str, int] = field(default_factory=dict)
    """Endings that receivers of notifications have yet to confirm, by receiver."""
    last_errors: Sequence[Record] = ()
    """Of images that have failed and are not settled, newest first: the objects of their log lines."""
    paused: Mapping[str | None, float] = field(default_factory=dict)
    """Which folders wait until somebody resumes them, and since when; None stands for all."""
    last_delay: Record | None = None
    """Why the image that was put off last has to wait."""

    @property
    def counts(self) -> Counts:
        """Of all folders together."""
        return total(self.folders.values())

    def fields(self) -> Record:
        """As `status --json` has them, but for the counts."""
        return {
            "oldest_open": optional_timestamp(self.oldest_open),
            "outputs": dict(self.outputs),
            "not_whole": self.not_whole,
            "ignored": self.ignored,
            "unreadable": self.unreadable,
            "throughput": {"last_minute": self.last_minute.fields(), "last_hour": self.last_hour.fields()},
            "unwritten_audit_lines": self.unwritten_audit_lines,
            "not_put_away": self.not_put_away,
            "why_not_put_away": self.why_not_put_away or None,
            "last_errors": list(self.last_errors),
            "last_delay": self.last_delay,
        }


@dataclass(frozen=True, slots=True)
class DaemonFigures:
    """Whether a daemon runs on this state: its process, and since when (Unix seconds)."""

    state_dir: str
    pid: int | None = None
    since: float | None = None
    host: str | None = None
    """Another host, where the figures are of that one alone."""
    is_elsewhere: bool = False
    """Whether it runs there."""

    @property
    def is_running(self) -> bool:
        """Whether the daemon runs, here or there."""
        return self.pid is not None or self.is_elsewhere

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {
            **({} if self.host is None else {"host": self.host}),
            "running": self.is_running,
            "pid": self.pid,
            "since": optional_timestamp(self.since),
            "state_dir": self.state_dir,
        }


@dataclass(frozen=True, slots=True)
class FolderFigures:
    """A watched folder, how it does, and its images."""

    folder: FolderState
    counts: Counts
    paused: float | None = None
    """Since when nothing of it is sent, by itself or with all others (Unix seconds)."""

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {**asdict(self.folder), "paused": optional_timestamp(self.paused), **self.counts.fields()}


@dataclass(frozen=True, slots=True)
class ReceiverFigures:
    """A receiver of notifications, how it does, and how many endings it has yet to confirm."""

    receiver: ReceiverState
    backlog: int

    def fields(self) -> Record:
        """As `status --json` has them."""
        one = self.receiver
        how = {"state": one.state, "since": optional_timestamp(one.since), "message": one.message}
        return {"name": one.name, "kind": one.kind, "target": one.target, **how, "backlog": self.backlog}


@dataclass(frozen=True, slots=True)
class HostFigures:
    """How a host does that shares the journal. `since`: when one that is gone was heard of last (Unix seconds)."""

    name: str
    alive: bool
    since: float | None
    in_hand: int
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Images that nobody but hosts that are gone can deliver, by folder."""

    @property
    def state(self) -> str:
        """alive, gone (its lease has ended) or stopped."""
        return "alive" if self.alive else "stopped" if self.since is None else "gone"

    def fields(self) -> Record:
        """As `status --json` has them."""
        since = None if self.alive else optional_timestamp(self.since)
        return {"name": self.name, "state": self.state, "since": since, "in_hand": self.in_hand, "waiting": dict(self.waiting)}


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """How an engine does that shares its jobs. `since`: until when its lease lasts or lasted (Unix seconds)."""

    name: str
    alive: bool
    since: float
    in_hand: int

    def fields(self) -> Record:
        """As `status --json` has them."""
        since = None if self.alive else optional_timestamp(self.since)
        return {"name": self.name, "state": "alive" if self.alive else "gone", "since": since, "in_hand": self.in_hand}


@dataclass(frozen=True, slots=True)
class JobsFigures:
    """The jobs that engines share: how many wait, are at work, and have a webhook that is to be told."""

    engines: Sequence[EngineFigures]
    waiting: int
    at_work: int
    webhooks: int

    def fields(self) -> Record:
        """As `status --json` has them."""
        engines = [engine.fields() for engine in self.engines]
        return {"engines": engines, "waiting": self.waiting, "at_work": self.at_work, "webhooks": self.webhooks}


@dataclass(frozen=True, slots=True)
class Status:
    """All that there is to know of a daemon in one value."""

    daemon: DaemonFigures
    api: ApiFigures
    counts: Counts
    journal: JournalFigures
    folders: Sequence[FolderFigures]
    receivers: Sequence[ReceiverFigures] = ()
    hosts: Sequence[HostFigures] = ()
    """Those that share the journal, where any do."""
    jobs: JobsFigures | None = None
    """Those of engines that share them, where any do."""

    @classmethod
    def of(cls, daemon: DaemonFigures, report: DaemonReport, journal: JournalFigures, *, at_work: bool | None = None) -> Status:
        """Put together what is known. `at_work`: whether anybody works with the journal; None where that is this daemon only."""
        running = daemon.is_running
        in_work = running if at_work is None else at_work
        by_folder = {name: each if in_work else each.at_rest() for name, each in journal.folders.items()}
        folders = [
            FolderFigures(each, by_folder.get(each.name, Counts()), paused_since(journal.paused, each.name))
            for each in report.folders
        ]
        receivers = [ReceiverFigures(each, journal.backlogs.get(each.name, 0)) for each in report.receivers]
        return cls(daemon, report.api if running else ApiFigures(), total(by_folder.values()), journal, folders, receivers)

    def fields(self) -> dict[str, Any]:
        """The object of `status --json`."""
        folders = [folder.fields() for folder in self.folders]
        receivers = [receiver.fields() for receiver in self.receivers]
        journal, api = self.journal.fields(), self.api.fields()
        paused = optional_timestamp(self.journal.paused.get(None))
        whole = {**self.daemon.fields(), "paused": paused, "api": api, **self.counts.fields(), **journal}
        hosts = {"hosts": [host.fields() for host in self.hosts]} if self.hosts else {}
        jobs = {"jobs": self.jobs.fields()} if self.jobs is not None else {}
        return {**whole, "folders": folders, "receivers": receivers, **hosts, **jobs}


def jobs_words(jobs: Record) -> str:
    """How the jobs of engines stand, for people."""
    words = {
        "waiting": ("job waits", "jobs wait"),
        "at_work": ("at work", "at work"),
        "webhooks": ("webhook due", "webhooks due"),
    }
    said = [f"{jobs[name]} {one if jobs[name] == 1 else many}" for name, (one, many) in words.items() if jobs[name]]
    alive = sum(engine["state"] == "alive" for engine in jobs["engines"])
    return ", ".join((f"{alive} engine{'s' * (alive != 1)} up", *(said or ["no job waits"])))


def paused_since(paused: Mapping[str | None, float], folder: str) -> float | None:
    """Since when nothing of a folder is sent, whether it was paused by its name or with all others; None where it is not."""
    return min((paused[name] for name in (folder, None) if name in paused), default=None)
