"""One line of `check`: what was looked at, how it stands, what was found, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.model import Record


class State(StrEnum):
    """How it stands. WARN works and will surprise somebody; SKIP could not be looked at here."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    state: State
    what: str
    found: str
    todo: str = ""

    def data(self) -> Record:
        """The line for programs."""
        return {**asdict(self), "state": str(self.state)}


def ok(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(State.OK, what, found)


def warn(what: str, found: str, todo: str) -> Finding:
    """It works, with a catch."""
    return Finding(State.WARN, what, found, todo)


def fail(what: str, found: str, todo: str) -> Finding:
    """It does not work."""
    return Finding(State.FAIL, what, found, todo)


def skip(what: str, found: str, todo: str = "") -> Finding:
    """It could not be looked at."""
    return Finding(State.SKIP, what, found, todo)
