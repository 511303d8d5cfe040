"""What the daemon says of itself, kept in the journal: so that `status` knows it as well as the page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from watcher.compressor.circuit_state import Phase
from watcher.model import Event
from watcher.result_records import printable
from watcher.shown.report import ApiFigures, DaemonReport, FolderState, ReceiverState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.compressor.gate import ApiState
    from watcher.intake.modes import FolderStatus
    from watcher.records.journal import ThreadedJournal

_PHASES: Final = {
    Phase.CLOSED: "reachable",
    Phase.CHECKING: "retrying",
    Phase.OPEN: "unreachable",
    Phase.HALF_OPEN: "retrying",
    Phase.THROTTLED: "throttled",
    Phase.BLOCKED: "key_refused",
}


def daemon_report(api: ApiState, folders: Sequence[FolderStatus], receivers: Sequence[ReceiverState] = ()) -> DaemonReport:
    """What there is to say now."""
    return DaemonReport(api_figures(api), tuple(folder_state(folder) for folder in folders), tuple(receivers))


def api_figures(api: ApiState) -> ApiFigures:
    """The circuit's state in the words that people are shown."""
    state = "quota_spent" if api.phase is Phase.BLOCKED and api.cause is Event.API_QUOTA else _PHASES[api.phase]
    return ApiFigures(state, api.since, "" if api.is_free else api.message)


def folder_state(status: FolderStatus) -> FolderState:
    """A folder's mode, and what is wrong with it where anything is."""
    message = status.message if status.mode == "lost" else ""
    return FolderState(status.name, printable(status.path), status.mode, message)


class Reports:
    """Keeps the journal's report up to date."""

    def __init__(self, journal: ThreadedJournal, name: str) -> None:
        """`name` is the daemon's, where several share one journal."""
        self._journal = journal
        self._name = name
        self._kept: DaemonReport | None = None

    async def keep(self, report: DaemonReport, now: float) -> None:
        """Keep what has changed. Since when a state lasts is worked out anew each time, and no change by itself."""
        plain = replace(report, api=replace(report.api, since=None))
        if plain != self._kept:
            await self._journal.keep_report(self._name, report, now)
            self._kept = plain
