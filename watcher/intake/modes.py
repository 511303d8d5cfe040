"""Watched, polled or lost: what a folder is at a time, and who is told of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from watcher.model import Event, path_fields

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.intake.context import IntakeContext
    from watcher.intake.roots import RootInfo
    from watcher.intake.watching import WatchFailed

Mode = Literal["watching", "polling", "lost"]
Polling = Literal["auto"] | bool
"""What the configuration says of polling."""


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What an operator wants to know of a folder. `found_by_scan`: files that no event told of though the folder was watched."""

    name: str
    path: str
    mode: Mode
    directories: int
    files: int
    waiting: int
    last_scan_seconds: float | None
    found_by_scan: int
    message: str


class FolderMode:
    """The mode of one folder. It begins lost, which is not said; from then on every change is a line of the log."""

    def __init__(self, name: str, root: Path, context: IntakeContext) -> None:
        self.now: Mode = "lost"
        self.message = ""
        self._name = name
        self._root = root
        self._context = context
        self._said: tuple[Mode, str] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the root is not there."""
        return self.now == "lost"

    @property
    def was_said_lost(self) -> bool:
        """Whether people were told that it is lost: they want to hear when it is back."""
        return self.is_lost and self._said is not None

    def arm(self, info: RootInfo, polling: Polling, problem: WatchFailed | None, note: str, *, came_back: bool) -> None:
        """Be watched or polled. `problem`: why it cannot be watched; `note`: why a folder that was watched is armed again."""
        if problem is not None:
            self.enter("polling", problem.message, problem.hint)
        elif not wants_events(info, polling):
            self.enter("polling", "" if polling is True else _why_polled(info), came_back=came_back)
        else:
            self.enter("watching", note, came_back=came_back)

    def lose(self, message: str) -> None:
        """Be lost."""
        hint = "nothing is lost: it is looked for every few seconds; mount it, make it again, or give the right to it"
        confinement = self._context.confinement
        self.enter("lost", message, f"{hint}; {confinement}" if confinement else hint)

    def enter(self, mode: Mode, message: str, hint: str = "", *, came_back: bool = False) -> None:
        """Be in a mode, and say so where that is new."""
        self.now, self.message = mode, message
        if self._said == (mode, message) and not came_back:
            return
        self._said = (mode, message)
        event = Event.FOLDER_LOST if mode == "lost" else Event.FOLDER_RECOVERED if came_back else Event.FOLDER_WATCHING
        told = {key: value for key, value in (("message", message), ("hint", hint)) if value}
        self._context.events.event(event, folder=self._name, **path_fields("path", self._root), mode=mode, **told)


def wants_events(info: RootInfo, polling: Polling) -> bool:
    """Whether the folder is to be watched: shares tell nothing of what others change on them."""
    return polling is False or (polling == "auto" and not info.remote and not info.shares_below)


def can_lease(info: RootInfo, polling: Polling) -> bool:
    """Whether a lease tells that nobody writes.

    Where somebody chose polling, closes cannot be seen from here; a share answers for its own clients only.
    """
    return not info.remote and polling is not True


def _why_polled(info: RootInfo) -> str:
    if info.remote:
        return f"it lies on {info.kind}, where changes by others cannot be seen"
    top = os.fsdecode(info.shares_below[0])
    return f"a share is mounted below it, at {top}, where changes by others cannot be seen"
