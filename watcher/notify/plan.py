"""What one receiver wants, and how it is told: a value that goes through a pipe. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from watcher.config.receiver_settings import ReceiverSettings
    from watcher.model import AuditLine, Record

OUTAGES: Final = frozenset(
    {
        Event.API_UNAVAILABLE,
        Event.API_UNAUTHORIZED,
        Event.API_QUOTA,
        Event.API_THROTTLED,
        Event.API_RECOVERED,
        Event.FOLDER_LOST,
        Event.FOLDER_RECOVERED,
        Event.JOURNAL_UNAVAILABLE,
        Event.JOURNAL_RECOVERED,
    }
)
"""What "outage" stands for among the events of a receiver."""


@dataclass(frozen=True, slots=True)
class ReceiverPlan:
    """A receiver. `target` says where it is without any secret; `gathers` (seconds) is None where each ending is told alone."""

    name: str
    kind: str
    target: str
    endings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    """Empty: all."""
    outage: bool = False
    gathers: float | None = None
    heartbeat: float | None = None
    url: str = field(default="", repr=False)
    command: tuple[str, ...] = ()
    apprise: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, name: str, settings: ReceiverSettings) -> ReceiverPlan:
        """The receiver that the configuration describes."""
        from watcher.config.receiver_settings import OUTAGE  # late: the process that tells receivers reads no configuration

        return cls(
            name,
            settings.kind,
            settings.target,
            endings=settings.endings,
            folders=settings.folders or (),
            outage=settings.heartbeat is None and OUTAGE in settings.events,
            gathers=settings.gathers,
            heartbeat=settings.heartbeat,
            url=_plain(settings.url),
            command=settings.command or (),
            apprise=_plain(settings.apprise),
            secret=_plain(settings.secret),
        )

    def to_json(self) -> Record:
        """For the pipe; `from_json` gives the same back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReceiverPlan:
        """What `to_json` gave."""
        tuples = {key: tuple(data[key]) for key in ("endings", "folders", "command")}
        return cls(**{**data, **tuples})

    @property
    def is_for_people(self) -> bool:
        """Whether it gets words instead of objects."""
        return self.kind == "apprise"

    @property
    def follows(self) -> bool:
        """Whether it is told of endings at all."""
        return bool(self.endings)

    def wants(self, line: AuditLine) -> bool:
        """Whether it is told of this ending."""
        return line.event in self.endings and self._minds(line.folder)

    def wants_outage(self, record: Record) -> bool:
        """Whether it is told of this line of the log."""
        folder = record.get("folder")
        return self.outage and record.get("event") in OUTAGES and (folder is None or self._minds(str(folder)))

    def _minds(self, folder: str) -> bool:
        return not self.folders or folder in self.folders


def _plain(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
