"""Images and their outputs, as the journal keeps them. One image's life:

image    open ......................... all outputs ended: ended ......... moved or deleted, or nothing to do: finished
output   waiting -> requested -> (enqueued ->) stored | failed      any time before an answer: superseded | vanished
            ^-----------'  an answer that allows another try, or an unknown one (then `doubt` is set)
         waiting -> unchanged    nothing had to be sent; this is no ending and has no audit line
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from watcher.model.file import FileRef, Observation
    from watcher.model.rule import OutputRule, Rule


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


class Taken(list[str]):
    """The ids of the images of what was sighted, in its order; those in `new` are images that were not there before."""

    def __init__(self, identities: Iterable[str], new: Iterable[str]) -> None:
        super().__init__(identities)
        self.new = frozenset(new)

    @classmethod
    def all_of(cls, parts: Sequence[Taken]) -> Taken:
        """One after the other."""
        return cls(chain.from_iterable(parts), chain.from_iterable(part.new for part in parts))


@dataclass(frozen=True, slots=True)
class Postponement:
    """An output goes back to waiting until `due_at` (Unix seconds); the other values are its new ones, `reason` is for people."""

    due_at: float
    attempts: int
    tries: int
    doubt: bool
    reason: str
