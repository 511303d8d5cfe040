"""What an image carries on its journey: its open original, the delivery of one output, and the decisions about them.

Values and pure decisions, but for `KeyLocks`, which makes those who write to one key wait for each other, and
`acquire_permit`, the way through the gate.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.compressor.wire import FetchRequest
from watcher.config.keys import KeyFields
from watcher.model import OutputState, StoredObject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from watcher.model import Failure, Image, Output, OutputRule, Record, SourceFacts, Ticket
    from watcher.ports import Gate, Publication, Source

T = TypeVar("T")
ABSENT_FOLDER: Final = "the folder is not there"

Progress = OutputState | None
"""How an output stands after a turn; None: not ended, it will have another one."""


class LostOriginal:
    """Implements `Source` for an original that is not there any more: what was once hashed, and nothing to serve."""

    def __init__(self, facts: SourceFacts) -> None:
        self.facts = facts

    def fileno(self) -> int:
        """There is no descriptor."""
        return -1

    def is_intact(self) -> bool:
        """Its bytes are gone."""
        return False

    async def is_current(self) -> bool:
        """The path leads elsewhere."""
        return False

    async def run(self, work: Callable[[], T]) -> T:
        """No disk is asked: the work is done at once."""
        return work()

    def start(self, work: Callable[[], object]) -> None:
        """The same."""
        work()

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class OpenImage:
    """An image whose original is open, and its temporary URL once somebody asked for it."""

    image: Image
    source: Source
    ticket: Ticket
    publication: Publication | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def facts(self) -> SourceFacts:
        """What the open descriptor says."""
        return self.source.facts


@dataclass(frozen=True, slots=True)
class Delivery:
    """One output on its way: to which key, under which rule, out of which open original."""

    opened: OpenImage
    output: Output
    rule: OutputRule
    key: str
    attempts: int

    @property
    def image(self) -> Image:
        """The image this output belongs to."""
        return self.opened.image

    @property
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
        """Where the output goes."""
        return str(self.rule.store["bucket"])

    @property
    def stored(self) -> StoredObject:
        """What will lie at the key when all went well."""
        file = self.image.file
        return StoredObject(
            self.bucket,
            self.key,
            file.folder,
            file.relative,
            self.opened.facts.sha1,
            self.rule.fingerprint,
            rendition=self.output.rendition,
            kept=self.image.rule.on_success == "keep",
        )

    def request(self, publication: Publication, *, marked: bool) -> FetchRequest:
        """The request. `marked` adds the two metadata keys by which the store can be asked whether it is already done."""
        store = {**self.rule.store, "path": self.key}
        if marked:
            ours = {"source-sha1": self.opened.facts.sha1, "rule": self.rule.fingerprint}
            store["metadata"] = {**store.get("metadata", {}), **ours}
        return FetchRequest(publication.url, self.rule.image, store, publication.headers)


class KeyLocks:
    """One writer a key: whoever comes later waits, in the order of coming."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, bucket: str, key: str) -> AsyncIterator[None]:
        """Hold the key."""
        place = (bucket, key)
        lock, users = self._locks.get(place, (asyncio.Lock(), 0))
        self._locks[place] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[place]
            if users == 1:
                del self._locks[place]
            else:
                self._locks[place] = (lock, users - 1)


class Permit:
    """One way through the gate. What came of it is reported once; unreported, nothing could be learnt from it."""

    def __init__(self, gate: Gate, name: str) -> None:
        self._gate = gate
        self._name = name
        self.reported = False

    def succeeded(self) -> None:
        """The API answered as it should."""
        self.reported = True
        self._gate.succeeded(self._name)

    def failed(self, failure: Failure) -> bool:
        """It did not. True where this uses up an attempt, as far as is known now."""
        self.reported = True
        return self._gate.failed(self._name, failure)


@asynccontextmanager
async def acquire_permit(gate: Gate, name: str) -> AsyncIterator[Permit]:
    """Wait until `name` may send; whatever happens then, the gate hears of it, so that nobody waits for a lost word."""
    await gate.enter(name)
    permit = Permit(gate, name)
    try:
        yield permit
    finally:
        if not permit.reported:
            gate.abandoned(name)


def is_same_work(there: StoredObject, asked: StoredObject) -> bool:
    """Whether what lies at the key came from this content under this rule (or under one that is not known any more)."""
    return there.sha1 == asked.sha1 and there.rule in (None, asked.rule)


def key_fields(opened: OpenImage, output: Output) -> KeyFields:
    """What the key template may speak of."""
    image = opened.image
    detected = datetime.fromtimestamp(image.detected_at, UTC)
    return KeyFields(image.file.relative_text, image.file.folder, output.rendition, opened.facts.sha1, detected)


def renditions(image: Image) -> list[str | None]:
    """The names of the outputs that have not ended."""
    return [output.rendition for output in image.open_outputs]


def with_states(image: Image, states: dict[str | None, Progress]) -> Image:
    """The image with the outputs' new states."""
    outputs = tuple(replace(output, state=states.get(output.rendition) or output.state) for output in image.outputs)
    return replace(image, outputs=outputs)


def is_unsettled(output: Output) -> bool:
    """Whether a request was sent whose answer is not known."""
    return output.doubt or output.state is not OutputState.WAITING


def after_action(image: Image) -> str:
    """What becomes of the original: by `on_failure` if any output failed, nothing where it is not there or is another version."""
    states = {output.state for output in image.outputs}
    if states & {OutputState.SUPERSEDED, OutputState.VANISHED}:
        return "keep"
    return image.rule.on_failure if OutputState.FAILED in states else image.rule.on_success
