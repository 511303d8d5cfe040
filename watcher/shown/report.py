"""What a daemon says of itself: how the API, its folders and its receivers do. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.model import optional_timestamp

if TYPE_CHECKING:
    from watcher.model import Record


@dataclass(frozen=True, slots=True)
class ApiFigures:
    """How the way to the API stands, as a word of API_WORDS; `since` (Unix seconds) and `message` say more of a trouble."""

    state: str = "unknown"
    since: float | None = None
    message: str = ""

    @property
    def words(self) -> str:
        """The state in plain words."""
        return API_WORDS[self.state]

    def fields(self) -> Record:
        """As `status --json` has them."""
        return {"state": self.state, "words": self.words, "since": optional_timestamp(self.since), "message": self.message}


API_WORDS: Final = {
    "reachable": "reachable",
    "unreachable": "not reachable",
    "key_refused": "key refused",
    "quota_spent": "quota spent",
    "throttled": "asks for a pause",
    "retrying": "being tried again",
    "unknown": "not known while no daemon runs",
}
FINE_STATES: Final = ("watching", "polling", "ok")


@dataclass(frozen=True, slots=True)
class FolderState:
    """How a watched folder does: "watching", "polling" or "lost" by the daemon's word, else what a command sees of it."""

    name: str
    path: str
    state: str
    message: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether files that are dropped there are found."""
        return self.state in FINE_STATES


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """How a receiver of notifications does: "ok", or "unavailable" since when and why; "unknown" where no daemon says it."""

    name: str
    kind: str
    """url, command, apprise or heartbeat"""
    target: str
    """Its host, program or service; nothing secret."""
    events: tuple[str, ...] = ()
    """The endings that it is told of."""
    folders: tuple[str, ...] = ()
    """Empty: all."""
    state: str = "ok"
    since: float | None = None
    message: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.state != "unavailable"

    @classmethod
    def from_json(cls, data: Record) -> ReceiverState:
        """What a report has of it."""
        return cls(**{**data, "events": tuple(data["events"]), "folders": tuple(data["folders"])})

    def changed(self, state: str, since: float | None, message: str) -> ReceiverState:
        """The same receiver in another state."""
        return replace(self, state=state, since=since, message=message)


@dataclass(frozen=True, slots=True)
class DaemonReport:
    """What a daemon says of itself, whenever it changes."""

    api: ApiFigures = ApiFigures()
    folders: tuple[FolderState, ...] = ()
    receivers: tuple[ReceiverState, ...] = ()

    def to_json(self) -> Record:
        """For the journal; `from_json` gives the same back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Record) -> DaemonReport:
        """What `to_json` gave."""
        receivers = tuple(ReceiverState.from_json(each) for each in data.get("receivers", ()))
        return cls(ApiFigures(**data["api"]), tuple(FolderState(**each) for each in data["folders"]), receivers)
