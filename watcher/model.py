"""The words everybody speaks: files, rules, images, outputs, endings, failures. Pure. (What the edges promise: `ports`.)

One image's life, as the journal keeps it:

    image    open ......................... all outputs ended: ended ......... moved or deleted, or nothing to do: finished
    output   waiting -> requested -> (enqueued ->) stored | failed      any time before an answer: superseded | vanished
                ^-----------'  an answer that allows another try, or an unknown one (then `doubt` is set)
             waiting -> unchanged    nothing had to be sent; this is no ending and has no audit line
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

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
    IMAGE_WAITING = "image.waiting"
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
    CLUSTER_JOINED = "cluster.joined"
    CLUSTER_FENCED = "cluster.fenced"
    CLUSTER_LEFT = "cluster.left"
    SERVE_DENIED = "serve.denied"
    NOTIFY_UNAVAILABLE = "notify.unavailable"
    NOTIFY_RECOVERED = "notify.recovered"


ENDINGS: Final = frozenset({Event.IMAGE_STORED, Event.IMAGE_FAILED, Event.IMAGE_SUPERSEDED, Event.IMAGE_VANISHED})


class IgnoredReason(StrEnum):
    """Why a file is not taken (`reason` of image.ignored, and of `explain`)."""

    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
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


OutputFormat = Literal["auto", "jpeg", "png", "webp", "avif", "web"]
"""What `image.output.format` may say."""


class Notice(StrEnum):
    """What an ending warns of (`warnings` of its line)."""

    NOT_WEB_SAFE = "not_web_safe"
    """Browsers do not show what is stored."""
    CACHED_FOREVER = "cached_forever"
    """The picture at the key was replaced, and caches may keep the old one for long."""
    NO_FORMAL_END = "no_formal_end"
    """The original lacked the formal end of its container; all its pixels were there."""


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


Stamp = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns and the lower 63 bits of the inode: an Observation that is cheap to make by the hundred thousand."""
INODE_BITS: Final = (1 << 63) - 1
FARTHEST_NS: Final = (1 << 63) - 1
"""The farthest time that the journal can keep, in the year 2262. File systems know later ones; those count as this one."""


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
        return cls(status.st_size, _bounded(status.st_mtime_ns), _bounded(status.st_ctime_ns), status.st_ino)

    @property
    def stamp(self) -> Stamp:
        """The same, as scans compare it."""
        return (self.size, self.mtime_ns, self.ctime_ns, self.inode & INODE_BITS)


def _bounded(nanoseconds: int) -> int:
    return min(max(nanoseconds, -FARTHEST_NS), FARTHEST_NS)


@dataclass(frozen=True)
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
        return self._fields.copy()

    @cached_property
    def _fields(self) -> Record:
        path = os.path.join(os.fsencode(self.root), self.relative)  # noqa: PTH118 - pathlib has no bytes
        return {"folder": self.folder, **path_fields("file", path)}


@dataclass(frozen=True, slots=True)
class Subtree:
    """All that lies at or below `top`, a path inside a folder; b"" for the whole folder."""

    folder: str
    top: bytes = b""

    def holds(self, file: FileRef) -> bool:
        """Whether the file lies in it."""
        inside = not self.top or file.relative == self.top or file.relative.startswith(self.top + b"/")
        return inside and file.folder == self.folder


def path_fields(name: str, path: Path | bytes) -> Record:
    """A path as log fields: text that is always valid JSON, and the exact bytes in base64 where the text cannot say them."""
    raw = os.fsencode(path)
    try:
        return {name: raw.decode("utf-8")}
    except UnicodeDecodeError:
        import base64  # only odd names need it

        return {name: raw.decode("utf-8", "backslashreplace"), f"{name}_base64": base64.b64encode(raw).decode()}


@dataclass(frozen=True)
class OutputRule:
    """One output of a folder: the API's own objects, `store["path"]` still a template. `rendition` None is the folder's own."""

    rendition: str | None
    image: Json
    store: Json
    link: str | None = None

    @cached_property
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

    @property
    def keeps_originals(self) -> bool:
        """Whether nothing is ever to be done with an original."""
        return self.on_success == self.on_failure == "keep"

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
    backlog: bool = False
    """It lay there when the daemon started, or was stored before: what is dropped now goes first."""
    keys: tuple[str | None, ...] = ()
    """The keys of its outputs, in the order of the rule, where they are known; empty: none is."""


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the one open descriptor of an original says."""

    name: str
    sha1: str
    size: int
    format: Format
    width: int | None = None
    """In pixels, as the picture is shown (orientation applied); None where the header does not say it."""
    height: int | None = None
    no_formal_end: bool = False
    """Only the container's formal end is missing; every pixel is there."""


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
    """What we know lies at a key: put there by us, from which file and content, under which rule (None: not known any more).

    `sha1` is empty after a request that may have put something else there: whose key it is stays known.
    """

    bucket: str
    key: str
    folder: str
    relative: bytes
    sha1: str
    rule: str | None
    output_sha1: str | None = None
    rendition: str | None = None
    published: Record | None = None
    """What is told of it: `url`, `link`, sizes, when. None: what is known of it stays."""
    kept: bool = True
    """Whether its original was to stay in the folder, so that it belongs to the folder for as long as that is there."""


@dataclass(frozen=True, slots=True)
class PublishedObject:
    """An object in the store, as manifests and links tell of it: which file's, which output, and what was said of it."""

    folder: str
    relative: bytes
    rendition: str | None
    bucket: str
    key: str
    facts: Record


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of the audit file: the whole object (`seq` and `prev` in it), its number, and what it is about."""

    seq: int
    image_id: str
    rendition: str | None
    at: float
    event: str
    folder: str
    record: Record


@dataclass(frozen=True, slots=True)
class Ending:
    """How an output ended: one of the four events, the whole record of its line, and what lies in the store now."""

    event: Event
    record: Record
    stored: StoredObject | None = None
    hides_replaced: bool = False
    """Whether caches may keep for long what lay at the key before."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file that is not whole yet: since when it is waited for (Unix seconds), and what is missing."""

    size: int
    since: float
    reason: str
    """empty, truncated or being_written"""
    message: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal remembers of a path: the observation that was judged, and why it was ignored, if it was."""

    observation: Observation
    ignored: str | None = None


@dataclass(frozen=True, slots=True)
class KnownDirectory:
    """What the journal remembers of the files directly in a directory: their stamps by name, and why some were ignored."""

    stamps: dict[bytes, Stamp]
    ignored: dict[bytes, str]


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
    """By its words, the API did not come by the original. Together with TRANSIENT: the way from the API to us is out."""
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
    fraction, whole = math.modf(seconds)
    microseconds = round(fraction * 1_000_000)
    if not 0 <= microseconds < 1_000_000:
        whole, microseconds = whole + microseconds // 1_000_000, microseconds % 1_000_000
    return f"{_to_the_second(whole)}.{microseconds:06d}Z"


@lru_cache(maxsize=256)
def _to_the_second(seconds: float) -> str:
    """The same without its fraction: it is what takes long, and lines come many to a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
