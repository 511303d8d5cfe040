"""Fakes of the ports that a delivery needs, which say what the test tells them to say and keep what they were asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.publishing import RecordedLog
from tests.support.records import FACTS, sighting
from watcher.compressor.wire import FetchRequest, FileFacts, Pending, Result
from watcher.delivery.delivery import Delivery, Policy, Ports
from watcher.delivery.pipeline import Pipeline
from watcher.errors import CallFailed, Paused
from watcher.model import (
    Absence,
    Ending,
    Failure,
    FailureKind,
    FileRef,
    HeadAnswer,
    IgnoredReason,
    Image,
    Observation,
    Output,
    OutputRule,
    OutputState,
    Postponement,
    Rule,
    SourceFacts,
    StoredObject,
    Subtree,
    Ticket,
)
from watcher.ports import Publication

KEY = "products/a.jpg"
BUCKET = "my-bucket"
REGION = "eu-central-003"
NOW = 1_000_000.0
TICKET = Ticket("token", "secret", NOW + 3_600.0)


@dataclass
class StillClock:
    """A clock that stands still, but for sleeps, which take no time to wait for."""

    moment: float = NOW

    def now(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.moment

    def steady(self) -> float:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += seconds
        await asyncio.sleep(0)


@dataclass
class FakeSource:
    """An open original."""

    facts: SourceFacts = FACTS
    intact: bool = True
    current: bool = True
    closed: bool = False
    held: bytes | None = None
    modified: float = 0.0

    def fileno(self) -> int:
        return -1

    def is_intact(self) -> bool:
        return self.intact

    async def is_current(self, _within: float = 0.0) -> bool:
        return self.current

    def seen_within(self, _seconds: float) -> bool:
        return False

    async def run(self, work: Callable[[], Any]) -> Any:
        return work()

    def start(self, work: Callable[[], object]) -> None:
        work()

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeOriginals:
    """The folder. `broken` is raised by whatever is asked next, `opening` by the opening of an original alone."""

    source: FakeSource = field(default_factory=FakeSource)
    broken: Exception | None = None
    opening: Exception | None = None
    there: bool = True
    root_is_there: bool = True
    same_version: bool = True
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.broken is not None:
            raise self.broken

    async def open(self, file: FileRef, observation: Observation, sha1: str | None = None) -> FakeSource:
        self._called("open", file.relative, sha1)
        if self.opening is not None:
            raise self.opening
        return self.source

    async def delete(self, file: FileRef, observation: Observation) -> bool:
        self._called("delete", file.relative)
        return self.same_version

    async def is_there(self, file: FileRef) -> bool:
        self._called("is_there", file.relative)
        return self.there

    async def is_present(self, root: Path) -> bool:
        return self.root_is_there

    async def move(self, file: FileRef, observation: Observation, target: Path, sha1: str | None = None) -> Path | None:
        self._called("move", file.relative, target)
        return target / file.relative_text if self.same_version else None


@dataclass
class FakePublisher:
    """Gives an address, unless `broken`."""

    broken: Exception | None = None
    published: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    fetched: int | None = 1
    refused: int = 0

    async def publish(self, ticket: Ticket, source: Any) -> Publication:
        if self.broken is not None:
            raise self.broken
        self.published.append(ticket.token)
        return Publication(f"https://drops.example.com/t/{ticket.token}/a.jpg", {"X-Secret": ticket.secret})

    async def withdraw(self, ticket: Ticket) -> None:
        self.withdrawn.append(ticket.token)

    def times_fetched(self, ticket: Ticket) -> int | None:
        return self.fetched

    def refusals(self, ticket: Ticket) -> int:
        return self.refused

    def moved_at(self, ticket: Ticket) -> float | None:
        return None


@dataclass
class FakeGate:
    """A gate that lets everybody in. `charge`: whether a failure uses an attempt at once."""

    charge: bool = False
    charged_before: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def enter(self, name: str) -> None:
        self.calls.append(("enter", name))

    def succeeded(self, name: str, *, pending: bool = False) -> None:
        self.calls.append(("pending" if pending else "succeeded", name))

    def failed(self, name: str, failure: Failure) -> bool:
        self.calls.append(("failed", name))
        return self.charge

    def abandoned(self, name: str) -> None:
        self.calls.append(("abandoned", name))

    def attempts_charged(self, name: str) -> int:
        return self.charged_before

    def forget(self, name: str) -> None:
        self.calls.append(("forget", name))

    def names(self, call: str) -> list[str]:
        """Who was told of so."""
        return [name for each, name in self.calls if each == call]


@dataclass
class FakeApi:
    """Gives the answers of a list, one after the other; a Failure is raised."""

    answers: list[Result | Pending | Failure] = field(default_factory=list)
    requests: list[FetchRequest] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None
    """Happens while a request is under way."""

    def _answer(self) -> Result | Pending:
        self.meanwhile()
        answer = self.answers.pop(0)
        if isinstance(answer, Failure):
            raise CallFailed(answer)
        return answer

    async def fetch(self, request: FetchRequest) -> Result | Pending:
        self.requests.append(request)
        return self._answer()

    async def job(self, job_id: str) -> Result | Pending:
        self.polls.append(job_id)
        return self._answer()

    async def account(self) -> None:
        """The key works."""


@dataclass
class FakeStore:
    """Says the same of every key."""

    answer: HeadAnswer = field(default_factory=lambda: HeadAnswer(Absence.ABSENT))
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def head(self, bucket: str, region: str, key: str, *, connector: str) -> HeadAnswer:
        self.asked.append((bucket, region, key, connector))
        return self.answer


@dataclass
class FakeJournal:
    """Keeps what it is told, in order. `ours` False: a newer version of the file took the output over; `paused`: its folder."""

    ours: bool = True
    paused: bool = False
    own_output: bool = False
    objects: dict[tuple[str, str], StoredObject] = field(default_factory=dict)
    changes: list[tuple[Any, ...]] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    broken: Exception | None = None

    def _change(self, *change: Any) -> bool:
        if self.broken is not None:
            raise self.broken
        self.changes.append(change)
        return self.ours

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The changes of one kind, without its name."""
        return [rest for each, *rest in self.changes if each == name]  # type: ignore[misc]

    async def due(self, now: float, limit: int, excluding: Collection[str], away: Collection[Subtree] = ()) -> list[Image]:
        if self.broken is not None:
            raise self.broken
        found = (image for image in self.images if image.id not in excluding)
        return [image for image in found if not any(subtree.holds(image.file) for subtree in away)][:limit]

    async def next_due(self, now: float) -> float | None:
        return None

    async def stored_at(self, places: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], StoredObject]:
        return {place: self.objects[place] for place in places if place in self.objects}

    def is_unsure(self) -> bool:
        return False

    async def is_own_output(self, folder: str, sha1: str) -> bool:
        return self.own_output

    async def hashed(self, image_id: str, facts: SourceFacts, ticket: Ticket) -> None:
        self._change("hashed", ticket)

    async def requested(self, image_id: str, rendition: str | None, place: tuple[str, str], now: float) -> bool:
        if self.paused:
            raise Paused("its folder is paused")
        return self._change("requested", rendition, place[1])

    async def enqueued(self, image_id: str, rendition: str | None, job_id: str, now: float) -> bool:
        return self._change("enqueued", rendition, job_id)

    async def postponed(self, image_id: str, rendition: str | None, wait: Postponement, now: float) -> bool:
        return self._change("postponed", rendition, wait)

    async def interrupted(self, image_id: str, now: float) -> None:
        self._change("interrupted", image_id)

    async def unchanged(self, image_id: str, rendition: str | None, key: str, stored: StoredObject, now: float) -> bool:
        return self._change("unchanged", rendition, stored)

    async def dismiss(self, image_id: str, reason: IgnoredReason, now: float) -> None:
        self._change("dismiss", reason)

    async def end(self, image_id: str, rendition: str | None, ending: Ending, now: float) -> bool:
        return self._change("end", rendition, ending)

    async def finish(self, image_id: str, note: str, now: float, *, gone: bool = False) -> None:
        self._change("finish", note, gone)

    async def finish_later(self, image_id: str, due_at: float, reason: str, now: float) -> None:
        self._change("finish_later", due_at - now, reason)


@dataclass
class FakeWorld:
    """All ports of a delivery, each a fake."""

    journal: FakeJournal = field(default_factory=FakeJournal)
    originals: FakeOriginals = field(default_factory=FakeOriginals)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    api: FakeApi = field(default_factory=FakeApi)
    gate: FakeGate = field(default_factory=FakeGate)
    store: FakeStore = field(default_factory=FakeStore)
    events: RecordedLog = field(default_factory=RecordedLog)
    clock: StillClock = field(default_factory=StillClock)
    jitter: float = 0.5
    looked_again: list[FileRef] = field(default_factory=list)

    @property
    def ports(self) -> Ports:
        """As the delivery takes them."""
        return Ports(
            self.journal,  # type: ignore[arg-type]
            self.originals,
            self.publisher,
            self.api,
            self.gate,
            self.store,
            self.events,
            self.clock,
            random=lambda: self.jitter,
            look_again=self.looked_again.append,
        )

    def pipeline(self, **policy: Any) -> Pipeline:
        """A pipeline in this world."""
        return Pipeline(self.ports, Policy(**policy), concurrency=4, new_ticket=lambda _: TICKET)


def new_image(*outputs: Output, on_success: str = "keep", on_failure: str = "keep", **changes: Any) -> Image:
    """An image with these outputs, by default its own one, which waits."""
    outputs = outputs or (Output(None, OutputState.WAITING),)
    store = {"id": "connector", "bucket": BUCKET, "region": REGION, "path": "{folder}/{name}"}
    rules = tuple(OutputRule(output.rendition, {"compression": "high"}, store) for output in outputs)
    seen = sighting(under=Rule("products", Path("/srv/drop/products"), rules, on_success, on_failure))
    return Image("image-1", seen.file, seen.observation, seen.rule, NOW, outputs=outputs, **changes)


def new_delivery(image: Image | None = None, **output: Any) -> Delivery:
    """The delivery of an image's own output, which stands as `output` says."""
    attempts = output.get("attempts", 0)
    image = image or new_image(Output(None, **{"state": OutputState.WAITING, **output}))
    return Delivery(image, FACTS, image.outputs[0], KEY, attempts)


def new_result(**stated: Any) -> Result:
    """The API's result for the delivery; `stated` of its input."""
    url = f"https://{BUCKET}.s3.{REGION}.backblazeb2.com/{KEY}"
    return Result("request-1", url, FileFacts(**{"sha1": FACTS.sha1, **stated}), FileFacts("a.jpg", size=400, sha1="0" * 40))


def transient(message: str = "the API answered 500", **more: Any) -> Failure:
    """A failure that may pass."""
    return Failure(FailureKind.TRANSIENT, message, **more)
