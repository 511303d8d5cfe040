"""Whose turn it is, among fakes: slots, rests after a turn that broke, folders that are away, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from tests.support.fakes import NOW, FakeJournal, StillClock, new_image
from tests.support.publishing import RecordedLog
from tests.support.settled import settled
from watcher.delivery.dispatcher import Dispatcher
from watcher.errors import Unavailable
from watcher.model import Event, Image, Subtree


def image(number: int, folder: str = "products") -> Image:
    """One of several images, each of its own file."""
    plain = new_image()
    file = replace(plain.file, folder=folder, relative=b"%d.jpg" % number)
    return replace(plain, id=f"{folder} {number}", file=file)


@dataclass
class Turns:
    """A pipeline whose turns end when the test says so; `broken`: what a turn raises at once."""

    journal: FakeJournal
    begun: list[str] = field(default_factory=list)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    broken: Exception | None = None
    asking: set[str] = field(default_factory=set)
    stopped_following: bool = False

    async def process(self, image: Image) -> None:
        self.begun.append(image.id)
        if self.broken is not None:
            raise self.broken
        self.ends[image.id] = asyncio.Event()
        await self.ends[image.id].wait()
        self.journal.images.remove(image)

    def stop_following(self) -> None:
        self.stopped_following = True

    def is_asking(self, image_id: str) -> bool:
        return image_id in self.asking


@dataclass
class Bench:
    """A dispatcher that runs, and the fakes around it."""

    journal: FakeJournal
    turns: Turns
    clock: StillClock
    events: RecordedLog
    away: set[Subtree]
    dispatcher: Dispatcher
    running: asyncio.Task[None]

    async def look(self) -> None:
        """Something may be due."""
        self.dispatcher.wake()
        await settled(30)

    async def end(self, *image_ids: str) -> None:
        """These turns are over."""
        for image_id in image_ids:
            self.turns.ends[image_id].set()
        await settled(30)


@asynccontextmanager
async def bench(images: list[Image], slots: int, broken: Exception | None = None) -> AsyncIterator[Bench]:
    journal, clock, events = FakeJournal(images=images), StillClock(), RecordedLog()
    turns, away = Turns(journal, broken=broken), set[Subtree]()
    dispatcher = Dispatcher(
        journal,  # type: ignore[arg-type]
        turns,  # type: ignore[arg-type]
        events,
        clock,
        slots=slots,
        random=lambda: 0.5,
        out_of_reach=lambda: frozenset(away),
    )
    running = asyncio.create_task(dispatcher.run())
    await settled(30)
    try:
        yield Bench(journal, turns, clock, events, away, dispatcher, running)
    finally:
        running.cancel()
        await dispatcher.drain(0)


async def test_the_oldest_have_their_turn_as_many_as_there_are_slots() -> None:
    """The next one begins when a turn ends, without anybody's call."""
    async with bench([image(number) for number in range(4)], slots=2) as the:
        assert the.turns.begun == ["products 0", "products 1"]
        await the.end("products 1")
        assert the.turns.begun == ["products 0", "products 1", "products 2"]
        assert the.dispatcher.in_flight == 2


async def test_no_image_has_two_turns() -> None:
    """The journal says that it is due until it has ended."""
    async with bench([image(0)], slots=3) as the:
        await the.look()
        await the.look()
        assert the.turns.begun == ["products 0"]


@pytest.mark.parametrize(
    ("error", "message", "is_ours"),
    [
        (Unavailable("the disk is broken"), "the disk is broken", False),
        (OSError(24, "Too many open files"), "Too many open files", False),
        (ZeroDivisionError("oh"), "internal error (ZeroDivisionError)", True),
    ],
    ids=["foreseen", "no descriptor", "a fault of ours"],
)
async def test_a_turn_that_breaks_is_told_and_tried_again_later(
    error: Exception, message: str, is_ours: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is put in order in the journal and rests, ever longer. A fault of ours is written down in full."""
    async with bench([image(0)], slots=1, broken=error) as the:
        (line,) = the.events.of(Event.IMAGE_RETRY)
        assert message in line["message"]
        assert (line["id"], line["wait"]) == ("products 0", 1.0)
        assert the.journal.of("interrupted") == [["products 0"]]
        the.clock.moment = NOW + 0.9
        await the.look()
        assert len(the.turns.begun) == 1
        for _ in range(3):
            the.clock.moment += 61.0
            await the.look()
        assert len(the.turns.begun) == 4
        waits = [each["wait"] for each in the.events.of(Event.IMAGE_RETRY)]
        assert waits == [1.0, 1.0, 2.0, 4.0]
    assert ("Traceback" in capsys.readouterr().err) is is_ours


async def test_a_good_turn_ends_the_memory_of_bad_ones() -> None:
    """The next rest is a short one again."""
    async with bench([image(0)], slots=1, broken=Unavailable("away")) as the:
        for _ in range(4):
            the.clock.moment += 61.0
            await the.look()
        the.turns.broken = None
        the.clock.moment += 61.0
        await the.look()
        await the.end("products 0")
        the.turns.broken = Unavailable("away")
        the.journal.images.append(image(0))
        await the.look()
        assert the.events.of(Event.IMAGE_RETRY)[-1]["wait"] == 1.0


async def test_what_is_away_has_no_turn_and_keeps_no_slot() -> None:
    """Turns that wait for it go on waiting; others have their slots meanwhile."""
    images = [*(image(number) for number in range(2)), *(image(number, "others") for number in range(2))]
    async with bench(images, slots=2) as the:
        assert the.turns.begun == ["products 0", "products 1"]
        the.away.add(Subtree("products"))
        await the.end("products 0")
        assert the.turns.begun[2:] == ["others 0", "others 1"]
        assert the.dispatcher.in_flight == 3


async def test_an_end_cuts_off_all_but_requests_on_their_way() -> None:
    """Those have the time that is given, and no job is followed any more."""
    async with bench([image(number) for number in range(3)], slots=3) as the:
        the.turns.asking = {"products 1"}
        the.running.cancel()
        draining = asyncio.create_task(the.dispatcher.drain(60.0))
        await settled()
        assert (the.turns.stopped_following, the.dispatcher.in_flight) == (True, 1)
        await the.end("products 1")
        assert await draining == 0
        assert [each.id for each in the.journal.images] == ["products 0", "products 2"]


async def test_an_end_tells_how_many_requests_were_cut_off() -> None:
    """The next start asks the store about them."""
    async with bench([image(number) for number in range(2)], slots=2) as the:
        the.turns.asking = {"products 0", "products 1"}
        the.running.cancel()
        assert await the.dispatcher.drain(0) == 2
