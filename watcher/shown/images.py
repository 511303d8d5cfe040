"""What people are shown of images and files: what the journal knows of them, in one piece each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.model import OPEN_STATES, PublishedObject
from watcher.shown.links import PublishedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from watcher.model import Image, Output, Record
    from watcher.shown.figures import JournalFigures

OPEN = "open"
"""The outcome of an image that has none yet."""


@dataclass(frozen=True, slots=True)
class ShownOutput:
    """One output of an image. What is not known, or not so yet, is None."""

    rendition: str | None
    state: str
    key: str | None = None
    url: str | None = None
    link: str | None = None
    input_size: int | None = None
    output_size: int | None = None
    saved_percent: float | None = None
    seconds: float | None = None
    attempts: int = 0
    format: str | None = None
    """Of what is stored: the API's word."""
    width: int | None = None
    height: int | None = None
    reason: str | None = None
    message: str | None = None
    hint: str | None = None
    warnings: tuple[str, ...] = ()
    due_at: float | None = None
    """When something is to be done about it again; None where it has ended."""

    @property
    def address(self) -> str | None:
        """Where people find it: behind the CDN where there is one."""
        return self.link or self.url


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of an image as a whole. Times are Unix seconds."""

    outcome: str = OPEN
    ended_at: float | None = None
    dismissed_at: float | None = None
    is_newest: bool = True
    delay: str = ""
    """Why it was put off last, where it is open."""


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One image with its outputs, the folder's own first."""

    id: str
    folder: str
    file: str
    """The path inside the folder."""
    path: str
    detected_at: float
    size: int
    fate: Fate
    outputs: tuple[ShownOutput, ...]
    links: PublishedFile | None = None
    """What there is to link to; None where nothing of it lies in the store."""

    @property
    def is_unsettled(self) -> bool:
        """Whether it counts as failed: nobody has retried, replaced or dismissed it."""
        return self.fate.outcome == "failed" and self.fate.is_newest and self.fate.dismissed_at is None

    @property
    def failure(self) -> ShownOutput | None:
        """The first output that failed."""
        return next((each for each in self.outputs if each.state == "failed"), None)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """The failed images that nobody has settled, of one reason: how many, and the newest of them."""

    reason: str
    count: int
    images: tuple[ShownImage, ...]


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file that no image was made of: waited for since `since` (Unix seconds), or, where that is None, ignored."""

    folder: str
    file: str
    size: int
    reason: str
    message: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class JournalPicture:
    """What the journal shows at one moment: its figures, and the first of each kind."""

    figures: JournalFigures
    under_way: Sequence[ShownImage] = ()
    latest: Sequence[ShownImage] = ()
    failures: Sequence[FailureGroup] = ()
    waiting: Sequence[ShownFile] = ()
    ignored: Sequence[ShownFile] = ()


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One step of an image's history."""

    at: float
    event: str
    rendition: str | None
    detail: Record


@dataclass(frozen=True, slots=True)
class ShownStory:
    """One image's whole history, and the images that its path had before or has now; newest first."""

    image: ShownImage
    sha1: str | None
    format: str | None
    steps: tuple[HistoryStep, ...]
    others: tuple[ShownImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a search brought, newest first. `is_all`: there is nothing more; `looked_back`: so many of the newest images were
    looked at for a part of their name.
    """

    images: tuple[ShownImage, ...]
    is_all: bool
    looked_back: int


def shown_image(image: Image, fate: Fate, told: Mapping[str | None, Record]) -> ShownImage:
    """An image; `told` is what is known of its outputs: the lines of their endings, or what lies at their keys."""
    outputs = tuple(_output(image, each, told.get(each.rendition, {})) for each in image.outputs)
    size = image.facts.size if image.facts is not None else image.observation.size
    path = str(image.file.fields()["file"])
    name = path[len(str(image.file.root).rstrip("/")) + 1 :]
    links = PublishedFile.of(image.file.root, _published(image, told))
    return ShownImage(image.id, image.file.folder, name, path, image.detected_at, size, fate, outputs, links)


def _published(image: Image, told: Mapping[str | None, Record]) -> Iterator[PublishedObject]:
    """The outputs that lie in the store, in the order of the rule."""
    for output in image.outputs:
        record = told.get(output.rendition, {})
        if isinstance(record.get("url"), str) and output.key is not None:
            bucket = str(image.output_rule(output.rendition).store.get("bucket"))
            yield PublishedObject(image.file.folder, image.file.relative, output.rendition, bucket, output.key, record)


def _output(image: Image, output: Output, record: Record) -> ShownOutput:
    stored, source = record.get("output") or {}, record.get("input") or {}
    return ShownOutput(
        rendition=output.rendition,
        state=str(output.state),
        key=output.key,
        url=record.get("url"),
        link=record.get("link"),
        input_size=source.get("size", image.facts.size if image.facts is not None else image.observation.size),
        output_size=stored.get("size"),
        saved_percent=record.get("saved_percent"),
        seconds=record.get("seconds"),
        attempts=record.get("attempts") or output.attempts,
        format=stored.get("format"),
        width=stored.get("width"),
        height=stored.get("height"),
        reason=record.get("reason"),
        message=record.get("message"),
        hint=record.get("hint"),
        warnings=tuple(record.get("warnings") or ()),
        due_at=output.due_at if output.state in OPEN_STATES else None,
    )
