"""The ports: Protocols of every edge, with their promises. To rewrite an edge, read this page and its contract tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from watcher.compressor.wire import FetchRequest, Pending, Result
    from watcher.model import (
        AuditLine,
        Ending,
        Event,
        FailedReason,
        Failure,
        FileRef,
        HeadAnswer,
        IgnoredReason,
        Image,
        Known,
        KnownDirectory,
        Observation,
        Postponement,
        Sighting,
        SourceFacts,
        Stamp,
        StoredObject,
        Subtree,
        Taken,
        Ticket,
        Unfinished,
    )

T = TypeVar("T")


class Clock(Protocol):
    """Time, as an argument."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def steady(self) -> float:
        """Unix seconds that never go back, nor behind `now`: for what is due, which a clock set back must not put off."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class EventLog(Protocol):
    """Where log lines go."""

    def event(self, event: Event, **fields: Any) -> None:
        """Write one line; the level follows from the event."""


class Source(Protocol):
    """An original, opened once: everything said of it comes from this descriptor."""

    @property
    def facts(self) -> SourceFacts:
        """Name, SHA-1, size and format of the bytes behind the descriptor."""

    @property
    def held(self) -> bytes | None:
        """All the bytes that were hashed, where they are few enough to be held in memory; else they are behind the descriptor."""

    @property
    def modified(self) -> float:
        """When the bytes were last changed, in Unix seconds."""

    def fileno(self) -> int:
        """The descriptor, which pins the inode, whatever happens to the path. There is none (-1) where the bytes are held."""

    async def is_current(self, within: float = 0.0) -> bool:
        """Whether the path still leads to these bytes: same inode, same version. Raises NotAnswering.

        A good answer, or the opening itself, that is at most `within` seconds old will do.
        """

    def seen_within(self, seconds: float) -> bool:
        """Whether the path was seen to lead to these bytes no longer ago than so. Asks no disk."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run what may wait for the file's disk or share, in a thread of its folder. Raises NotAnswering where it hangs."""

    def start(self, work: Callable[[], object]) -> None:
        """The same, with nobody waiting for it: to close a duplicate of the descriptor, which may hang like anything else."""

    def is_intact(self) -> bool:
        """Whether the file is still the version that was hashed, by its size and times; where it lies now does not matter.

        A file whose bytes are held is looked for at its path: one that was moved, replaced or removed counts as intact.
        May wait for the disk: to be called through `run`. Raises Unavailable where nobody can tell.
        """

    def close(self) -> None:
        """Let go of the bytes. Does not wait. May be called twice."""


class Originals(Protocol):
    """The files themselves."""

    async def open(self, file: FileRef, observation: Observation, sha1: str | None = None) -> Source:
        """Open, check and hash the version that was observed; `sha1` is what it was hashed as before, if it was.

        Raises SourceGone where no regular file is there; SourceChanged where it is another version or no whole image
        any more; Unavailable where it is not available now (rights, I/O error, open for writing): try again later.
        """

    async def delete(self, file: FileRef, observation: Observation) -> bool:
        """Delete the observed version, durably. False where another version is at the path: that one stays.

        True where nothing is in its place any more: a crash may have kept the deletion from being written down.
        """

    async def is_there(self, file: FileRef) -> bool:
        """Whether any file is at the path now, readable or not. Raises NotAnswering."""

    async def is_present(self, root: Path) -> bool:
        """Whether a folder's root is there now, the same as when it was armed. One that does not answer is not."""

    async def move(self, file: FileRef, observation: Observation, target: Path, sha1: str | None = None) -> Path | None:
        """Move the observed version below `target`, keeping the folder structure, never overwriting, durably.

        After a crash a version that was moved before it is found again, by the `sha1` of its bytes.

        Gives the new path, or None where another version (or none) is at the path. Raises Unavailable where the target
        cannot take it now (full, read-only, missing rights): nothing is lost, try again later.
        """


@dataclass(frozen=True, slots=True)
class Publication:
    """Where an original can be fetched for now: the URL and the headers that the fetch needs."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Publisher(Protocol):
    """Gives originals an address for a while."""

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """Make the source available under the ticket until it is withdrawn or expires. Again with the same ticket: the same URL.

        Raises Unavailable where it cannot be done now (the staging store is down): try again later.
        """

    async def withdraw(self, ticket: Ticket) -> None:
        """End it. Never raises; a ticket that is not known here, or was published by an earlier process, is fine."""

    def times_fetched(self, ticket: Ticket) -> int | None:
        """How often all bytes have left this machine under the ticket since it was published; None where that cannot be told.

        Where an answer says that the original could not be fetched, and it was not: nobody came for it, or the way to us broke.
        """

    def refusals(self, ticket: Ticket) -> int:
        """How many requests under the ticket were turned away for a reason of ours: no descriptor, a share that hangs."""

    def moved_at(self, ticket: Ticket) -> float | None:
        """When (monotonic seconds) bytes last moved to who fetches; None before that, or where it cannot be told."""


class Gate(Protocol):
    """Decides for everybody whether requests may be sent now, and whose attempt a failure was.

    `name` is one output of one image; with a question mark behind it, a look at its job.
    """

    async def enter(self, name: str) -> None:
        """Returns when a request may be sent. To be followed by exactly one of `succeeded`, `failed` and `abandoned`."""

    def succeeded(self, name: str, *, pending: bool = False) -> None:
        """The API gave a result, or took it as a job (`pending`), which does not show yet whether it can fetch originals."""

    def failed(self, name: str, failure: Failure) -> bool:
        """The request failed. True where this uses up an attempt, as far as is known now.

        May also come without `enter`, for a job that ended so.
        """

    def abandoned(self, name: str) -> None:
        """Nothing was sent after all, or nothing can be learnt from what came of it."""

    def attempts_charged(self, name: str) -> int:
        """How many attempts earlier failures turned out to have used since this was last asked."""

    def forget(self, name: str) -> None:
        """It has ended; nothing of it needs to be kept."""


class Api(Protocol):
    """The Compressor API."""

    async def fetch(self, request: FetchRequest) -> Result | Pending:
        """`POST /1.0/fetch`. Raises CallFailed."""

    async def job(self, job_id: str) -> Result | Pending:
        """`GET /1.0/jobs/{id}`. Raises CallFailed; a job that is not known any more is TRANSIENT with `unknown` set."""

    async def account(self) -> None:
        """`GET /1.0/account`: returns where the key works. Raises CallFailed."""


class ObjectStore(Protocol):
    """Asks for stored objects."""

    async def head(self, bucket: str, region: str, key: str, *, connector: str) -> HeadAnswer:
        """What lies at the key. Never raises: what cannot be learnt is said by `absence`."""


class Followers(Protocol):
    """How far each receiver of notifications has come among the lines of the audit file. Every change is durable."""

    async def begin(self, name: str) -> int:
        """The number of the last line that the receiver has dealt with. A new one begins behind the last line there is."""

    async def advance(self, name: str, seq: int, before: int) -> bool:
        """From line `before` on to `seq`. False where it does not stand at `before` any more: nothing was changed."""

    async def keep_only(self, names: Collection[str]) -> None:
        """Forget every receiver but these: one that comes back later begins as a new one."""

    async def lines_after(self, seq: int, limit: int) -> list[AuditLine]:
        """The lines of the audit file behind `seq`, in order, as far as the journal still has them."""


class Pauses(Protocol):
    """Which folders wait until somebody resumes them. None stands for all folders. Every change is durable."""

    async def pause(self, folder: str | None, now: float) -> bool:
        """From now on nothing of the folder is sent. False where it waits already."""

    async def resume(self, folder: str | None) -> bool:
        """End the pause; where no folder is named, all pauses. False where there was none."""

    async def paused(self) -> dict[str | None, float]:
        """Which folders wait, and since when (Unix seconds)."""

    async def held(self, away: Collection[Subtree] = ()) -> int:
        """How many open images wait for nothing but the end of a pause; those in `away` are left out."""


class Journal(Protocol):
    """What is remembered. Every method that changes something returns after the change is durable.

    Where the disk is full or failing, changes wait inside (journal.unavailable is logged once, journal.recovered after) and
    are made when there is room: a caller sees only time pass. Changes of state are conditional: False says that the output was
    no longer in a state that allows it, and nothing was changed.
    """

    def is_unsure(self) -> bool:
        """Whether it may lack what was written of late: the store is asked before anything is sent."""

    async def known(self, folder: str, directory: bytes) -> dict[bytes, Known]:
        """What is remembered of the files directly in a directory (path inside the folder, b"" for its top), by name."""

    async def known_in(self, folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
        """The same of many directories in one question, in their order."""

    async def take(self, sightings: Sequence[Sighting]) -> Taken:
        """Remember the files and queue an image with its outputs for each; ids in the same order.

        An open image of the same path whose outputs wait without a request is superseded (its endings are made here).
        A path whose newest image has the very same observation is not taken again (its id is given, as one that is not new).
        """

    async def give_up(self, sighting: Sighting, reason: FailedReason, message: str, hint: str) -> str:
        """Remember a file that never became whole, as an image whose outputs have all failed."""

    async def ignore(self, file: FileRef, observation: Observation, reason: IgnoredReason, message: str = "") -> None:
        """Remember that this version is not taken, so that it is looked at only once; `message` is for people."""

    async def wait_for(self, folder: str, files: Mapping[bytes, Unfinished], over: Collection[bytes]) -> None:
        """Remember files that are not whole yet, by path inside the folder, for people to see; `over`: these are not any more."""

    async def forget(self, folder: str, versions: Mapping[bytes, Stamp]) -> None:
        """These paths are gone from the tree, unless another version is known there by now. Their images stay."""

    async def due(self, now: float, limit: int, excluding: Collection[str], away: Collection[Subtree] = ()) -> list[Image]:
        """Images with something to do now: open ones whose outputs are due, ended ones not yet finished. Oldest first, and
        those of the backlog last. Of a paused folder only those whose job is at work already; none that lie in `away`.

        A version is not due before the older one of the same path has ended: what is asked for later must also arrive later.
        """

    async def next_due(self, now: float) -> float | None:
        """When, after `now`, the next image is due (Unix seconds); None when none waits for later."""

    async def stored_at(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredObject]:
        """What we put at these (bucket, key)."""

    def is_own_output(self, folder: str, sha1: str) -> Awaitable[bool]:
        """Whether this content came out of an image of this folder (and was not also what went in). Asked when it is called."""

    async def hashed(self, image_id: str, facts: SourceFacts, ticket: Ticket) -> None:
        """Remember what the open descriptor said, and the ticket. Need not be durable before the image's next change is."""

    async def requested(self, image_id: str, rendition: str | None, place: tuple[str, str], now: float) -> bool:
        """A request is about to be sent: its answer, and so what lies at the place (bucket, key), is unknown until told.

        Raises Paused where the folder is paused; then nothing was changed.
        """

    async def enqueued(self, image_id: str, rendition: str | None, job_id: str, now: float) -> bool:
        """The API took it as a job."""

    async def postponed(self, image_id: str, rendition: str | None, wait: Postponement, now: float) -> bool:
        """Back to waiting, and the job, if there was one, is forgotten."""

    async def interrupted(self, image_id: str, now: float) -> None:
        """A turn broke: requests of the image whose answers were awaited are in doubt, as after a restart."""

    async def unchanged(self, image_id: str, rendition: str | None, key: str, stored: StoredObject, now: float) -> bool:
        """Nothing had to be sent: this content already lies at the key. The object now belongs to this path."""

    async def dismiss(self, image_id: str, reason: IgnoredReason, now: float) -> None:
        """The image need not be sent at all (it is one of our own outputs): waiting outputs become unchanged, it is finished."""

    async def end(self, image_id: str, rendition: str | None, ending: Ending, now: float) -> bool:
        """The ending of an output, exactly once: state, line for the audit and the object at the key, in one commit.

        With its last ending (this, `unchanged`, `dismiss`) an image whose rule keeps every original is finished.
        """

    async def finish(self, image_id: str, note: str, now: float, *, gone: bool = False) -> None:
        """The image is finished: moved, deleted or left where it is (`note` says which). `gone`: not at its path any more."""

    async def finish_later(self, image_id: str, due_at: float, reason: str, now: float) -> None:
        """The original could not be moved or deleted now; again at `due_at` (Unix seconds)."""
