"""The log: one JSON object a line on standard output, made by structlog, from a closed catalogue of events."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TextIO

from watcher.model import ENDINGS, Event, IgnoredReason, timestamp

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Mapping

    from structlog.typing import EventDict

    from watcher.log.console import LineStyle, Tally

Level = Literal["debug", "info", "warning", "error"]

_ERROR: Final = "error"
_WARNING: Final = "warning"
_DEBUG: Final = "debug"
LEVELS: Final[dict[Event, Level]] = {
    Event.CONFIG_REJECTED: _ERROR,
    Event.FOLDER_LOST: _ERROR,
    Event.WATCH_OVERFLOW: _WARNING,
    Event.SCAN_FINISHED: _DEBUG,
    Event.IMAGE_DETECTED: _DEBUG,
    Event.IMAGE_IGNORED: _DEBUG,
    Event.IMAGE_PUBLISHED: _DEBUG,
    Event.IMAGE_FETCHED: _DEBUG,
    Event.IMAGE_REQUESTED: _DEBUG,
    Event.IMAGE_UNCHANGED: _DEBUG,
    Event.IMAGE_RETRY: _WARNING,
    Event.IMAGE_FAILED: _ERROR,
    Event.API_UNAVAILABLE: _ERROR,
    Event.API_UNAUTHORIZED: _ERROR,
    Event.API_QUOTA: _ERROR,
    Event.API_THROTTLED: _WARNING,
    Event.JOURNAL_UNAVAILABLE: _ERROR,
    Event.SERVE_DENIED: _WARNING,
    Event.NOTIFY_UNAVAILABLE: _WARNING,
}
"""The level of each event; what is not here is info."""

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
"""Kept: to make one takes longer than it takes for a line."""
_HEAD: Final = ("timestamp", "level", "event")
_COUNTED: Final = ENDINGS | {Event.IMAGE_UNCHANGED, Event.IMAGE_IGNORED}
"""What a Tally is made of."""
_NUMBERS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_IGNORED: Final[dict[str, Level]] = {
    IgnoredReason.NOT_AN_IMAGE: "info",
    IgnoredReason.UNSUPPORTED: "info",
    IgnoredReason.UNREADABLE: "warning",
}
"""Reasons that whoever dropped the file wants to know; the others follow from names and settings."""


def level_of(event: Event, reason: object = None) -> Level:
    """The level an event is logged at; of files that are ignored it depends on the reason."""
    if event is Event.IMAGE_IGNORED and reason is not None:
        return _IGNORED.get(str(reason), LEVELS[event])
    return LEVELS.get(event, "info")


class LevelledLog(Protocol):
    """An EventLog whose level may be changed while it runs (reload)."""

    level: Level

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line; the level follows from the event."""

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """The same for fields that are gathered already. They stay as they are."""

    def written(self) -> Future[None] | None:
        """Done when every line so far is written, or lost. None where that is so already."""


class JsonLog:
    """Writes events as lines: JSON, or with a `look` as people read them. `level` may be changed while it runs (reload)."""

    def __init__(
        self, level: Level = "info", look: LineStyle | None = None, out: TextIO | None = None, *, clock: Callable[[], float]
    ) -> None:
        import structlog  # half of the time that commands which log nothing would take to start

        from watcher.log.console import ConsoleRenderer  # as above

        self.level: Level = level
        self._clock = clock
        self._out = out if out is not None else sys.stdout
        self._torn = False
        renderer: Any = structlog.processors.JSONRenderer(_line_of) if look is None else ConsoleRenderer(look)
        logger = structlog.wrap_logger(
            structlog.WriteLogger(self._out), processors=[renderer], wrapper_class=structlog.BoundLogger
        )
        # bound once, else each line would make a logger of its own; what a person looks for first stands at the left
        self._logger = logger.bind(**dict.fromkeys(_HEAD))

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line, unless the level is below the one asked for. A given `timestamp` is kept."""
        self.write(event, fields)

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """As above."""
        level = level_of(event, fields.get("reason"))
        if _NUMBERS[level] < _NUMBERS[self.level]:
            return
        stamp = fields.get("timestamp") or timestamp(self._clock())
        rest = {key: value for key, value in fields.items() if key not in _HEAD}
        try:
            if self._torn:
                self._out.write("\n")
            self._logger.msg(str(event), timestamp=stamp, level=level, **rest)
            self._torn = False
        except OSError as error:
            self._say_lost(error)

    def written(self) -> None:
        """Each line is written when `event` returns."""

    def _say_lost(self, error: OSError) -> None:
        """Whoever reads the log is gone, or its disk is full: the work goes on, the audit file holds the endings."""
        if not self._torn:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"compressor-watcher: log lines are lost: {error.strerror}\n")
        self._torn = True


class LogInFront:
    """Stands in front of another log and has its level."""

    def __init__(self, log: LevelledLog) -> None:
        self._log = log

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line; the level follows from the event."""
        self.write(event, fields)

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Hand it on, as it is."""
        self._log.write(event, fields)

    @property
    def level(self) -> Level:
        """The other log's."""
        return self._log.level

    @level.setter
    def level(self, level: Level) -> None:
        self._log.level = level

    def written(self) -> Future[None] | None:
        """The other log's."""
        return self._log.written()


class CountingLog(LogInFront):
    """Counts in a Tally what goes to another log, whatever its level."""

    def __init__(self, log: LevelledLog, tally: Tally) -> None:
        super().__init__(log)
        self._tally = tally

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Count it, and hand it on."""
        if event in _COUNTED:
            self._tally.note({**fields, "event": str(event), "level": level_of(event, fields.get("reason"))})
        self._log.write(event, fields)


def _line_of(fields: EventDict, *, default: Callable[[Any], Any]) -> str:
    """The JSON of a line. `default` says what becomes of a value that JSON has no word for."""
    try:
        return _ENCODER.encode(fields)
    except TypeError:
        return json.dumps(fields, ensure_ascii=False, default=default)


def line_fields(event: Event, now: float, **fields: Any) -> dict[str, Any]:
    """The whole object of a line, in the order in which it is written."""
    return {"timestamp": timestamp(now), "level": level_of(event, fields.get("reason")), "event": str(event), **fields}


def quiet_libraries() -> None:
    """Keep libraries from writing where only our lines belong, and from printing URLs with tokens (httpx logs them at info)."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
    for name in ("httpx", "httpcore", "aiohttp", "asyncio", "watchdog", "pyvips"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # watchdog 7.1 formats every one of its watches into one warning line: 356 KB at 3,500 directories
    warnings.filterwarnings("ignore", module="watchdog")
