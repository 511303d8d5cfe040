"""Where the engine's jobs and their webhooks stand: what any such store promises. Pure words, for the engine and for the stores.

A job is `enqueued`, `processing`, `completed` or `failed`. Several engines may share a store. What one of them took (a job to
work on, a webhook to call) is in its hands alone, until it ends it, gives it back, or is lost; then others take it. Word that
comes too late, of an engine that was taken for lost, changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from watcher.errors import WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Ended = Literal["completed", "failed"]

KEPT_SECONDS: Final = 86_400.0
"""For so long after its end a job can be read, and its webhook is tried."""


class QueueFull(WatcherError):
    """As many jobs are open as are taken on."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a caller asked for: `request` is the body that was posted, `base_url` how the caller reaches the engine."""

    id: str
    request: Any
    base_url: str
    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job in an engine's hands. `starts` is how often it was begun before, `holder` the number under which it is held."""

    id: str
    request: Any
    base_url: str
    starts: int = 0
    holder: int = 0


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A webhook call in an engine's hands: where to, the JSON text to post, how often it was tried before, when the job ended."""

    id: str
    url: str
    body: str
    tries: int
    ended: float
    holder: int = 0


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands, and its result or its failure."""

    status: str
    answer: Mapping[str, Any]


def read_request(text: str) -> Any:
    """A request as it was kept. One that is no JSON any more is None, which fails that job and holds up no other."""
    try:
        return json.loads(text)
    except ValueError:
        return None


class JobStore(Protocol):
    """The jobs. Times are Unix seconds.

    `add`, `find` and `holds` raise Unavailable where the store is not available now. What tells of work that was done (`end`,
    `requeue`, `delivered`, `try_again`), and what asks for work, waits for the store instead, however long it is away.
    """

    woken: Callable[[], None]
    """Called in the event loop when there may be something to take that was not there before."""

    async def open(self) -> None:
        """Begin. Jobs that this engine had in hand when it was killed are enqueued again. Raises Unavailable."""

    async def close(self) -> None:
        """End: what this engine has in hand is anybody's, as if it had not been begun. Nothing may be asked afterwards."""

    async def add(self, new: NewJob, most: int, *, at_work: bool = False) -> Job:
        """A new job, durable when this returns; `at_work`: in this engine's hands, else for anybody to take.

        Raises QueueFull where `most` jobs for each engine are open.
        """

    async def claim(self, limit: int) -> list[Job]:
        """At most so many of the jobs that wait, oldest first, which are in this engine's hands from now on."""

    async def holds(self, job: Job) -> bool:
        """Whether the job is in this engine's hands still."""

    async def requeue(self, job: Job) -> None:
        """Give a job back that could not be ended; that was not the job's fault."""

    async def end(self, job: Job, status: Ended, answer: Mapping[str, Any]) -> bool:
        """The job has its result, or has failed; its webhook is due. False where it is not in this engine's hands any more."""

    async def find(self, identity: str) -> JobState | None:
        """How a job stands; None for an unknown or long finished one."""

    async def claim_calls(self, limit: int) -> tuple[list[WebhookCall], float | None]:
        """At most so many calls that are due, in this engine's hands from now on, and when the next after them is due."""

    async def delivered(self, call: WebhookCall) -> None:
        """The webhook was confirmed, or is given up."""

    async def try_again(self, call: WebhookCall, due: float) -> None:
        """The webhook was not confirmed; its next try is due then."""

    async def release_calls(self) -> None:
        """Whatever webhook calls this engine has in hand are due again."""

    async def forget_old(self) -> None:
        """Delete what ended more than a day ago."""


class Results(Protocol):
    """Outputs that were not asked to be stored: for a while they are available at an address of the engine."""

    async def keep(self, output: Path, identity: str, name: str) -> str:
        """Take the file `output` over; the path part of its address. Raises OSError, or Unavailable."""

    async def find(self, epoch: str, identity: str, name: str) -> Path | None:
        """The file of an address, or None where it is unknown or has ended. Raises Unavailable."""

    async def sweep(self) -> None:
        """Delete what has ended."""


class ResultFiles(Protocol):
    """Where engines that share their jobs also share outputs that were not asked to be stored. All raise Unavailable."""

    async def put_file(self, epoch: str, name: str, content: Path) -> None:
        """Keep what is in the file until `epoch` (Unix seconds); in place of what had the name and the epoch before."""

    async def get_file(self, epoch: str, name: str, into: Path) -> bool:
        """Write what was kept into a file. False where there is nothing."""


class SharedStore(JobStore, ResultFiles, Protocol):
    """What several engines share."""
