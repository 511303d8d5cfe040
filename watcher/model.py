"""The words everybody speaks: files, rules, images, outputs, endings, failures; and the Protocols of the edges. Pure.

One image's life, as the journal keeps it:

    image    open ......................... all outputs ended: ended ......... moved or deleted, or nothing to do: finished
    output   waiting -> requested -> (enqueued ->) stored | failed      any time before an answer: superseded | vanished
                ^-----------'  an answer that allows another try, or an unknown one (then `doubt` is set)
             waiting -> unchanged    nothing had to be sent; this is no ending and has no audit line
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from watcher.compressor.wire import FetchRequest, Pending, Result

Json = Mapping[str, Any]
Record = dict[str, Any]
"""The fields of one log line."""


class Event(StrEnum):
    """The closed catalogue of log events."""

    SERVICE_STARTED = "service.started"
    SERVICE_READY = "service.ready"
    SERVICE_STOPPING = "service.stopping"
    SERVICE_STOPPED = "service.stopped"
    CONFIG_RELOADED = "config.reloaded"
    CONFIG_REJECTED = "config.rejected"
    FOLDER_WATCHING = "folder.watching"
    FOLDER_LOST = "folder.lost"
    FOLDER_RECOVERED = "folder.recovered"
    WATCH_OVERFLOW = "watch.overflow"
    SCAN_FINISHED = "scan.finished"
    IMAGE_DETECTED = "image.detected"
    IMAGE_IGNORED = "image.ignored"
    IMAGE_PUBLISHED = "image.published"
    IMAGE_FETCHED = "image.fetched"
    IMAGE_REQUESTED = "image.requested"
    IMAGE_ENQUEUED = "image.enqueued"
    IMAGE_RETRY = "image.retry"
    IMAGE_UNCHANGED = "image.unchanged"
    IMAGE_STORED = "image.stored"
    IMAGE_FAILED = "image.failed"
    IMAGE_SUPERSEDED = "image.superseded"
    IMAGE_VANISHED = "image.vanished"
    IMAGE_MOVED = "image.moved"
    IMAGE_DELETED = "image.deleted"
    API_UNAVAILABLE = "api.unavailable"
    API_UNAUTHORIZED = "api.unauthorized"
    API_QUOTA = "api.quota"
    API_THROTTLED = "api.throttled"
    API_RECOVERED = "api.recovered"
    JOURNAL_UNAVAILABLE = "journal.unavailable"
    JOURNAL_RECOVERED = "journal.recovered"
    SERVE_DENIED = "serve.denied"


ENDINGS: Final = frozenset({Event.IMAGE_STORED, Event.IMAGE_FAILED, Event.IMAGE_SUPERSEDED, Event.IMAGE_VANISHED})


class IgnoredReason(StrEnum):
    """Why a file is not taken (`reason` of image.ignored, and of `explain`)."""

    NOT_AN_IMAGE = "not_an_image"
    HIDDEN = "hidden"
    TEMPORARY_NAME = "temporary_name"
    NOT_INCLUDED = "not_included"
    EXCLUDED = "excluded"
    SUBFOLDER = "subfolder"
    MOVE_TARGET = "move_target"
    NOT_REGULAR = "not_regular"
    SYMLINK_OUTSIDE = "symlink_outside"
    SYMLINK_BROKEN = "symlink_broken"
    UNREADABLE = "unreadable"
    OWN_OUTPUT = "own_output"


class FailedReason(StrEnum):
    """Why an image ended as failed (`reason` of image.failed)."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    INVALID_KEY = "invalid_key"
    KEY_CONFLICT = "key_conflict"
    REJECTED = "rejected"
    JOB_FAILED = "job_failed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    INPUT_MISMATCH = "input_mismatch"
    STORE_MISMATCH = "store_mismatch"


class Format(StrEnum):
    """Image formats, recognised by content. The value is the API's `format` word."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    HEIC = "heic"
    GIF = "gif"
    TIFF = "tiff"
    BMP = "bmp"
    SVG = "svg"
    ICO = "ico"

    @property
    def mime(self) -> str:
        """The media type to serve it with."""
        return _MIME.get(self, f"image/{self.value}")


_MIME: Final = {Format.SVG: "image/svg+xml", Format.ICO: "image/vnd.microsoft.icon"}


@dataclass(frozen=True, slots=True)
class Observation:
    """What stat says of a file: the version at a path. Equal observations need no second look; unequal ones say nothing yet."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Observation:
        """The observation in a stat result."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file in a watched folder. `relative` is the path inside it as the bytes that the file system keeps."""

    folder: str
    root: Path
    relative: bytes

    @property
    def path(self) -> Path:
        """The absolute path; bytes that are no UTF-8 are kept as surrogates (os.fsdecode)."""
        return self.root / os.fsdecode(self.relative)

    @property
    def relative_text(self) -> str:
        """The path inside the folder, decoded like `path`."""
        return os.fsdecode(self.relative)

    def fields(self) -> Record:
        """`folder` and `file` for the log; with `file_base64` where the name is no UTF-8, so that the path can be had back."""
        return {"folder": self.folder, **path_fields("file", self.path)}


def path_fields(name: str, path: Path) -> Record:
    """A path as log fields: text that is always valid JSON, and the exact bytes in base64 where the text cannot say them."""
    import base64  # only odd names need it

    raw = os.fsencode(path)
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: raw.decode("utf-8", "backslashreplace"), f"{name}_base64": base64.b64encode(raw).decode()}


@dataclass(frozen=True, slots=True)
class OutputRule:
    """One output of a folder: the API's own objects, `store["path"]` still a template. `rendition` None is the folder's own."""

    rendition: str | None
    image: Json
    store: Json
    link: str | None = None

    @property
    def fingerprint(self) -> str:
        """Names what is asked for but for the source and the key: 16 hex digits, stored as metadata `rule`."""
        asked = {"image": self.image, "store": {key: value for key, value in self.store.items() if key != "path"}}
        return hashlib.sha1(canonical(asked).encode(), usedforsecurity=False).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to the images of a folder. A snapshot of the configuration: an image keeps the rule it was detected under."""

    folder: str
    root: Path
    outputs: tuple[OutputRule, ...]
    on_success: str = "keep"
    on_failure: str = "keep"
    """ "keep", "delete" or "move:/absolute/folder" """

    def to_json(self) -> str:
        """Canonical JSON; `from_json` gives the same rule back."""
        return canonical(
            {
                "folder": self.folder,
                "root": str(self.root),
                "on_success": self.on_success,
                "on_failure": self.on_failure,
                "outputs": [
                    {"rendition": each.rendition, "image": each.image, "store": each.store, "link": each.link}
                    for each in self.outputs
                ],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Rule:
        """The rule that `to_json` wrote."""
        data = json.loads(text)
        outputs = tuple(OutputRule(**each) for each in data["outputs"])
        return cls(data["folder"], Path(data["root"]), outputs, data["on_success"], data["on_failure"])


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A complete file that should be taken, and under which rule."""

    file: FileRef
    observation: Observation
    rule: Rule
    detected_at: float


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the one open descriptor of an original says."""

    name: str
    sha1: str
    size: int
    format: Format


@dataclass(frozen=True, slots=True)
class Ticket:
    """The secrets of a temporary URL: `token` stands in the URL, `secret` travels as a header. Unix seconds for the expiry."""

    token: str = field(repr=False)
    secret: str = field(repr=False)
    expires_at: float


class OutputState(StrEnum):
    """Where an output stands; the module's docstring shows the ways between."""

    WAITING = "waiting"
    REQUESTED = "requested"
    ENQUEUED = "enqueued"
    STORED = "stored"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    VANISHED = "vanished"
    UNCHANGED = "unchanged"


OPEN_STATES: Final = (OutputState.WAITING, OutputState.REQUESTED, OutputState.ENQUEUED)


class ImageState(StrEnum):
    """Where an image stands as a whole."""

    OPEN = "open"
    ENDED = "ended"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Output:
    """One output of one image, as the journal has it."""

    rendition: str | None
    state: OutputState
    key: str | None = None
    attempts: int = 0
    tries: int = 0
    """Consecutive tries that brought no answer to count; paces the backoff, never ends an image."""
    doubt: bool = False
    """A request was sent and its answer is not known: the store is asked before anything is sent again."""
    job_id: str | None = None
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Image:
    """One taken version of a file, with its outputs."""

    id: str
    file: FileRef
    observation: Observation
    rule: Rule
    detected_at: float
    state: ImageState = ImageState.OPEN
    facts: SourceFacts | None = None
    ticket: Ticket | None = None
    outputs: tuple[Output, ...] = ()

    @property
    def open_outputs(self) -> tuple[Output, ...]:
        """The outputs that have not ended."""
        return tuple(output for output in self.outputs if output.state in OPEN_STATES)

    def output_rule(self, rendition: str | None) -> OutputRule:
        """The rule of one of its outputs."""
        return next(rule for rule in self.rule.outputs if rule.rendition == rendition)

    def with_facts(self, facts: SourceFacts, ticket: Ticket | None) -> Image:
        """The same image, now hashed and with a ticket."""
        return replace(self, facts=facts, ticket=ticket)


@dataclass(frozen=True, slots=True)
class Postponement:
    """An output goes back to waiting until `due_at` (Unix seconds); the other values are its new ones, `reason` is for people."""

    due_at: float
    attempts: int
    tries: int
    doubt: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What we know lies at a key: put there by us, from which file and content, under which rule (None: not known any more)."""

    bucket: str
    key: str
    folder: str
    relative: bytes
    sha1: str
    rule: str | None
    output_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How an output ended: one of the four events, the whole record of its line, and what lies in the store now."""

    event: Event
    record: Record
    stored: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal remembers of a path: the observation that was judged, and why it was ignored, if it was."""

    observation: Observation
    ignored: str | None = None


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


def timestamp(seconds: float) -> str:
    """RFC 3339 UTC with microseconds: "2026-11-22T10:42:00.000000Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --- the edges, as their users see them -----------------------------------------------------------------------------------


class Clock(Protocol):
    """Time, as an argument."""

    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

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

    def fileno(self) -> int:
        """The descriptor; it pins the inode, whatever happens to the path."""

    def is_intact(self) -> bool:
        """Whether the bytes behind the descriptor are still those that were hashed (size and times unmoved)."""

    def is_current(self) -> bool:
        """Whether the path still leads to these bytes: same inode, same version."""

    def close(self) -> None:
        """Give the descriptor back. May be called twice."""


class Originals(Protocol):
    """The files themselves."""

    async def open(self, file: FileRef, observation: Observation) -> Source:
        """Open, check and hash the version that was observed.

        Raises SourceGone where no regular file is there; SourceChanged where it is another version or no whole image
        any more; Unavailable where it cannot be had now (rights, I/O error, open for writing): try again later.
        """

    async def delete(self, file: FileRef, observation: Observation) -> bool:
        """Delete the observed version, durably. False where another version (or none) is at the path: that one stays."""

    async def is_there(self, file: FileRef) -> bool:
        """Whether any file is at the path now, readable or not."""

    async def move(self, file: FileRef, observation: Observation, target: Path) -> Path | None:
        """Move the observed version below `target`, keeping the folder structure, never overwriting, durably.

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
        """End it. Never raises; an unknown ticket is fine."""


class Gate(Protocol):
    """Decides for everybody whether requests may be sent now, and whose attempt a failure was.

    `name` is one output of one image.
    """

    async def enter(self, name: str) -> None:
        """Returns when a request may be sent. To be followed by exactly one of `succeeded`, `failed` and `abandoned`."""

    def succeeded(self, name: str) -> None:
        """The API gave a result, or took it as a job."""

    def failed(self, name: str, failure: Failure) -> bool:
        """The request failed. True where this uses up an attempt, as far as is known now."""

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


class Journal(Protocol):
    """What is remembered. Every method that changes something returns after the change is durable.

    Where the disk is full or failing, changes wait inside (journal.unavailable is logged once, journal.recovered after) and
    are made when there is room: a caller sees only time pass. Changes of state are conditional: False says that the output was
    no longer in a state that allows it, and nothing was changed.
    """

    async def known(self, folder: str, directory: bytes) -> dict[bytes, Known]:
        """What is remembered of the files directly in a directory (path inside the folder, b"" for its top), by name."""

    async def take(self, sightings: Sequence[Sighting]) -> list[str]:
        """Remember the files and queue an image with its outputs for each; ids in the same order.

        An open image of the same path whose outputs wait without a request is superseded (its endings are made here).
        A path whose newest image has the very same observation is not taken again (its id is given).
        """

    async def give_up(self, sighting: Sighting, reason: FailedReason, message: str, hint: str) -> str:
        """Remember a file that never became whole, as an image whose outputs have all failed."""

    async def ignore(self, file: FileRef, observation: Observation, reason: IgnoredReason) -> None:
        """Remember that this version is not taken, so that it is looked at only once."""

    async def forget(self, folder: str, relatives: Collection[bytes]) -> None:
        """These paths are gone from the tree. Their images stay."""

    async def due(self, now: float, limit: int, excluding: Collection[str]) -> list[Image]:
        """Images with something to do now, oldest first: open ones whose outputs are due, ended ones not yet finished.

        A version is not due before the older one of the same path has ended: what is asked for later must also arrive later.
        """

    async def next_due(self, now: float) -> float | None:
        """When, after `now`, the next image is due (Unix seconds); None when none waits for later."""

    async def stored_at(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredObject]:
        """What we put at these (bucket, key)."""

    async def is_own_output(self, folder: str, sha1: str) -> bool:
        """Whether this content came out of an image of this folder (and was not also what went in)."""

    async def hashed(self, image_id: str, facts: SourceFacts, ticket: Ticket) -> None:
        """Remember what the open descriptor said, and the ticket."""

    async def requested(self, image_id: str, rendition: str | None, key: str, now: float) -> bool:
        """A request is about to be sent: from here on its answer is unknown until told."""

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
        """The ending of an output, exactly once: state, line for the audit and the object at the key, in one commit."""

    async def finish(self, image_id: str, note: str, now: float) -> None:
        """The image is finished: moved, deleted or left where it is (`note` says which)."""

    async def finish_later(self, image_id: str, due_at: float, reason: str, now: float) -> None:
        """The original could not be moved or deleted now; again at `due_at` (Unix seconds)."""
