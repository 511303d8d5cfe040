"""The words of this room: an image whose original is open, and the delivery of one of its outputs. Pure values."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from watcher.compressor.wire import FetchRequest
from watcher.config.keys import KeyFields
from watcher.formats.targets import converted_extension
from watcher.model import OutputState, StoredObject

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from watcher.model import FileRef, Image, Output, OutputRule, Record, SourceFacts, Subtree, Ticket
    from watcher.ports import (
        Api,
        Clock,
        EventLog,
        Gate,
        Journal,
        ObjectStore,
        Originals,
        Publication,
        Publisher,
        Source,
    )

T = TypeVar("T")
FRESH_SECONDS: Final = 0.25
"""A look at the original that is no older will do before a request: what it misses could as well happen just after a new one."""
ABSENT_FOLDER: Final = "the folder is not there"

Progress = OutputState | None
"""How an output stands after a turn. None: it has not ended and will have another turn."""


async def _at_once() -> None:
    """Nobody writes endings down."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as far as a delivery touches it."""

    journal: Journal
    originals: Originals
    publisher: Publisher
    api: Api
    gate: Gate
    store: ObjectStore
    events: EventLog
    clock: Clock
    random: Callable[[], float]
    """Gives values in [0, 1)."""
    look_again: Callable[[FileRef], None]
    """Is told of files that are there in another version than was taken."""
    endings_told: Callable[[], Awaitable[None]] = _at_once
    """Returns when the endings that are committed stand in the log, or when that takes too long to be waited for."""
    out_of_reach: Callable[[], Collection[Subtree]] = tuple
    """What is not available at this moment, since its root or a mount below it is away or hangs."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about deliveries. Times in seconds."""

    max_attempts: int = 8
    verify: Literal["recovery", "always", "never"] = "recovery"
    timeout: float = 120.0
    job_patience: float = 3600.0
    """How long a job is followed: as long as its temporary URL can live, since without that it cannot end well."""
    expects_b2: bool = True
    """Whether objects lie at Backblaze B2, so that an unlike `url` is worth a word."""
    renders_svg: bool = False
    """Whether an SVG is stored as a PNG, as the embedded engine does."""


class OwnOutput(Exception):
    """The file is what came out of this folder's own images: sending it would compress it again and again."""


@dataclass(slots=True)
class OpenImage:
    """An image whose original is open, and its temporary URL once somebody asked for it."""

    image: Image
    source: Source
    ticket: Ticket
    publication: Publication | None = None
    asked: int = 0
    """So many requests under way in this turn, or answered, need the original."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    own_output: asyncio.Future[bool] | None = None
    """Whether the file came out of this folder's own images. Asked when it was opened, awaited with what lies at the key: two
    questions for one hand-over. None where nobody has to know."""

    async def refuse_own_output(self) -> None:
        """Raises OwnOutput."""
        if self.own_output is not None and await self.own_output:
            raise OwnOutput

    async def is_current(self, within: float = 0.0) -> bool:
        """Whether the path still leads to the bytes that were hashed. Raises NotAnswering. See `Source.is_current`."""
        return await self.source.is_current(within)

    async def has_changed(self) -> bool:
        """Whether the original is not what was hashed any more, or not where it was. Raises Unavailable."""
        return not await self.source.run(self.source.is_intact) or not await self.source.is_current()


class LostOriginal:
    """Implements `Source` for an original that is not there any more: what was once hashed, and nothing to serve."""

    held = None
    modified = 0.0

    def __init__(self, facts: SourceFacts) -> None:
        self.facts = facts

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def is_intact(self) -> bool:
        """Its bytes are gone."""
        return False

    async def is_current(self, _within: float = 0.0) -> bool:
        """The path leads elsewhere."""
        return False

    def seen_within(self, _seconds: float) -> bool:
        """The path leads nowhere."""
        return False

    async def run(self, work: Callable[[], T]) -> T:
        """No disk is asked: the work is done at once."""
        return work()

    def start(self, work: Callable[[], object]) -> None:
        """The same."""
        work()

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Delivery:
    """One output on its way: of which image, made of which bytes, to which key. What follows from that is worked out once."""

    image: Image
    facts: SourceFacts
    output: Output
    key: str
    attempts: int

    @cached_property
    def rule(self) -> OutputRule:
        """What is asked for."""
        return self.image.output_rule(self.output.rendition)

    @cached_property
    def id(self) -> str:
        """Names this output among all that wait at the gate."""
        return f"{self.image.id}/{self.output.rendition or ''}"

    @property
    def poll_id(self) -> str:
        """Names its looks at a job: one that fails is no attempt at the image."""
        return f"{self.id}?"

    def fields(self) -> Record:
        """What a log line says of it."""
        image = self.image
        return {"id": image.id, **image.file.fields(), "rendition": self.output.rendition, "key": self.key}

    @property
    def bucket(self) -> str:
        """The bucket that the output goes to."""
        return str(self.rule.store["bucket"])

    @property
    def region(self) -> str:
        """The region of that bucket."""
        return str(self.rule.store["region"])

    @cached_property
    def stored(self) -> StoredObject:
        """What will lie at the key when all went well."""
        file = self.image.file
        return StoredObject(
            self.bucket,
            self.key,
            file.folder,
            file.relative,
            self.facts.sha1,
            self.rule.fingerprint,
            rendition=self.output.rendition,
            kept=self.image.rule.on_success == "keep",
        )

    def charged(self, attempts: int) -> Delivery:
        """The same delivery after so many attempts more."""
        return replace(self, attempts=self.attempts + attempts) if attempts else self

    def request(self, publication: Publication, *, marked: bool) -> FetchRequest:
        """The request. `marked` adds the two metadata keys by which the store can be asked whether it is already done."""
        store = {**self.rule.store, "path": self.key}
        if marked:
            ours = {"source-sha1": self.facts.sha1, "rule": self.rule.fingerprint}
            store["metadata"] = {**store.get("metadata", {}), **ours}
        return FetchRequest(publication.url, self.rule.image, store, publication.headers)


def key_fields(delivery: Delivery, *, renders_svg: bool = False) -> KeyFields:
    """What the key template may speak of."""
    image = delivery.image
    detected = datetime.fromtimestamp(image.detected_at, UTC)
    converted = converted_extension(delivery.facts.format, delivery.rule.image, renders_svg=renders_svg)
    file, rendition = image.file, delivery.output.rendition
    return KeyFields(file.relative_text, file.folder, rendition, delivery.facts.sha1, detected, converted)


def with_states(image: Image, states: Mapping[str | None, Progress]) -> Image:
    """The image with the outputs' new states, by rendition."""
    outputs = tuple(replace(output, state=states.get(output.rendition) or output.state) for output in image.outputs)
    return replace(image, outputs=outputs)


def is_unsettled(output: Output) -> bool:
    """Whether a request was sent whose answer is not known."""
    return output.doubt or output.state is not OutputState.WAITING
