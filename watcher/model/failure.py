"""What comes of calls of the API and of the store: failures and absences."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.model.event import Event


class FailureKind(StrEnum):
    """Who must wait, and for what."""

    PERMANENT = "permanent"
    """The same request will fail again: the image fails."""
    TRANSIENT = "transient"
    """It may pass: backoff, and an attempt if the API works for others."""
    THROTTLED = "throttled"
    """Everybody waits; no attempt is used."""
    BLOCKED = "blocked"
    """Key or quota: all sending stops until the account answers again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call gave no result."""

    kind: FailureKind
    message: str
    hint: str = ""
    status: int | None = None
    unknown: bool = False
    """The request may have been carried out all the same."""
    maybe_done: bool = False
    """Something on the way answered in the API's place (502, 504): the store may be asked, but is not insisted on."""
    unreachable: bool = False
    """Nobody can get through: the address does not resolve, nobody listens, no TLS."""
    not_fetched: bool = False
    """By its words, the API did not get the original. Together with TRANSIENT: the way from the API to us is out."""
    retry_after: float | None = None
    """Seconds that the answer asked for."""
    event: Event | None = None
    """For BLOCKED: api.unauthorized or api.quota."""


class Absence(StrEnum):
    """Why asking the store for an object brought none."""

    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class HeadAnswer:
    """The store's answer to a HEAD: `absence` says why there are no facts, else size (bytes) and metadata are the object's."""

    absence: Absence | None = None
    size: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    url: str | None = None
    """Where the object lies, if the store says so itself (the embedded engine's connectors do)."""
