"""Turns: as many at once as there are slots, never two of one image, and none forgotten."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.support.journals import open_journal_at
from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.records import rule, sighting, store_all
from watcher.delivery.dispatcher import Dispatcher
from watcher.errors import Unavailable
from watcher.model import Event, Image, Subtree
from watcher.records.journal import ThreadedJournal


@dataclass
class Turns:
    """A pipeline whose turns end when the test says so."""

    journal: ThreadedJournal
    running: dict[str, asyncio.Event] = field(default_factory=dict)
    broken: set[bytes] = field(default_factory=set)
    count: Counter[str] = field(default_factory=Counter)
    asking: set[str] = field(default_factory=set)
    stopping: bool = False

    async def process(self, image: Image) -> None:
        assert image.id not in self.running
        self.count[image.id] += 1
        if image.file.relative in self.broken:
            raise Unavailable("the disk is broken")
        self.running[image.id] = asyncio.Event()
        try:
            await self.running[image.id].wait()
            await store_all(self.journal, image)
        finally:
            del self.running[image.id]

    def stop_following(self) -> None:
        self.stopping = True

    def is_asking(self, image_id: str) -> bool:
        return image_id in self.asking

    def end(self, *image_ids: str) -> None:
        for image_id in image_ids:
            self.running[image_id].set()


@dataclass
class Bench:
    """A dispatcher that runs, and what it needs."""

    journal: ThreadedJournal
    turns: Turns
    dispatcher: Dispatcher
    running: asyncio.Task[None]
    log: RecordedLog
    clock: MovedClock

    async def take(self, count: int) -> None:
        names = [b"%d.jpg" % number for number in range(count)]
        await self.journal.take([sighting(name) for name in names])
        self.dispatcher.wake()


@asynccontextmanager
async def bench(slots: int, away: Collection[Subtree] = ()) -> AsyncIterator[Bench]:
    log, clock = RecordedLog(), MovedClock()
    journal = await open_journal_at(":memory:", clock=clock, events=log)
    turns = Turns(journal)
    dispatcher = Dispatcher(
        journal, turns, log, clock, slots=slots, random=random.Random(1).random, out_of_reach=lambda: frozenset(away)
    )  # type: ignore[arg-type]
    running = asyncio.create_task(dispatcher.run())
    yield Bench(journal, turns, dispatcher, running, log, clock)
    running.cancel()
    await dispatcher.drain(0)
    await journal.close()


async def test_slots_are_used_and_no_more() -> None:
    """However many wait, so many have their turn; each image has one turn, and all come to it."""
    async with bench(3) as the:
        await the.take(20)
        chance, ended = random.Random(5), set[str]()
        while len(ended) < 20:
            await wait_until(lambda: len(the.turns.running.keys() - ended) == min(3, 20 - len(ended)))
            going_on = sorted(the.turns.running.keys() - ended)
            ending = chance.sample(going_on, chance.randint(1, len(going_on)))
            assert the.dispatcher.in_flight <= 3
            the.turns.end(*ending)
            ended.update(ending)
        await wait_until(lambda: the.dispatcher.in_flight == 0)

        assert set(the.turns.count.values()) == {1}
        assert len(the.turns.count) == 20


@pytest.mark.parametrize("before", [1, 2, 3])
async def test_more_slots_are_used_at_once(before: int) -> None:
    """A reload may raise their number while images are at hand that had no slot: the others are not forgotten for that."""
    async with bench(before) as the:
        await the.take(before)
        await wait_until(lambda: len(the.turns.running) == before)
        await the.take(before + 6)
        the.turns.end(next(iter(the.turns.running)))
        await wait_until(lambda: len(the.turns.count) == before + 1)
        the.dispatcher.slots = 20
        the.dispatcher.wake()

        await wait_until(lambda: len(the.turns.running) == before + 5)


async def test_fewer_slots_let_what_runs_go_on() -> None:
    """Nobody's turn is cut off; the next ones begin when there is room again."""
    async with bench(4) as the:
        await the.take(8)
        await wait_until(lambda: len(the.turns.running) == 4)
        the.dispatcher.slots = 1
        the.dispatcher.wake()
        first = sorted(the.turns.running)
        the.turns.end(*first[:3])
        await wait_until(lambda: sorted(the.turns.running) == first[3:])
        the.turns.end(first[3])

        await wait_until(lambda: len(the.turns.count) == 5)
        assert len(the.turns.running) == 1


async def test_a_turn_that_breaks_rests_and_stops_nobody() -> None:
    """It is told why, and comes again by itself."""
    async with bench(2) as the:
        the.turns.broken = {b"1.jpg"}
        await the.take(4)
        await wait_until(lambda: len(the.turns.running) == 2)
        (line,) = the.log.of(Event.IMAGE_RETRY)
        the.turns.end(*the.turns.running)
        await wait_until(lambda: len(the.turns.count) == 4)
        the.turns.broken.clear()
        the.clock.move(line["wait"] + 0.1)

        await wait_until(lambda: the.turns.count[line["id"]] == 2)
        assert (line["message"], line["wait"] >= 1) == ("the disk is broken", True)


async def test_what_hangs_uses_no_slots_and_gets_no_turn() -> None:
    """A folder begins to hang while all slots are used by its images: others get their turn, none of it does until it is back."""
    away: set[Subtree] = set()
    async with bench(2, away) as the:
        await the.take(4)
        await wait_until(lambda: len(the.turns.running) == 2)
        others = [sighting(name, under=rule(folder="others")) for name in (b"a.jpg", b"b.jpg", b"c.jpg")]
        healthy = await the.journal.take(others)
        away.add(Subtree("products"))
        await wait_until(lambda: set(healthy[:2]) <= the.turns.running.keys())
        assert len(the.turns.running) == 4
        the.turns.end(*healthy[:2])
        await wait_until(lambda: healthy[2] in the.turns.running)
        the.turns.end(*list(the.turns.running))
        await wait_until(lambda: the.dispatcher.in_flight == 0)
        assert len(the.turns.count) == 5
        away.clear()

        await wait_until(lambda: len(the.turns.count) == 7)


async def test_a_stop_waits_for_those_who_ask_and_for_nobody_else() -> None:
    """Images without a request on its way stop at once; an answer that comes in time is still written down."""
    async with bench(2) as the:
        await the.take(5)
        await wait_until(lambda: len(the.turns.running) == 2)
        asking, waiting = the.turns.running
        the.turns.asking = {asking}
        the.running.cancel()
        draining = asyncio.create_task(the.dispatcher.drain(20))
        await wait_until(lambda: waiting not in the.turns.running)
        the.turns.end(asking)

        assert await draining == 0
        assert the.turns.stopping
        assert (await the.journal.totals()).stored == 1


@pytest.mark.parametrize("hours", [-2, -24 * 365, 2])
async def test_a_clock_that_is_set_stops_nobody(hours: int) -> None:
    """What waited when it was set has its turn, and so has what comes afterwards, and what is put off comes back in time."""
    async with bench(1) as the:
        await the.take(3)
        await wait_until(lambda: len(the.turns.running) == 1)
        the.clock.set(hours * 3600.0)
        (late,) = await the.journal.take([sighting(b"late.jpg")])
        the.turns.broken.add(b"late.jpg")
        while len(the.turns.count) < 4:
            for image_id in list(the.turns.running):
                the.turns.end(image_id)
            await asyncio.sleep(0.01)
        await wait_until(lambda: the.log.of(Event.IMAGE_RETRY))
        the.turns.broken.clear()
        the.clock.move(61)
        the.dispatcher.wake()
        await wait_until(lambda: the.turns.count[late] == 2)


async def test_a_look_at_the_journal_that_breaks_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it raises is told in full, and a little later all goes on."""
    async with bench(2) as the:
        plain, faults = the.journal.due, [1, 1]

        async def due(*arguments: object) -> list[Image]:
            if faults:
                faults.pop()
                raise ZeroDivisionError("a row that nobody can read")
            return await plain(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(the.journal, "due", due)
        await the.take(1)
        for _ in range(2):
            await wait_until(lambda: the.clock.sleepers or the.turns.running)
            the.clock.move(61)
        await wait_until(lambda: the.turns.running)
    assert capsys.readouterr().err.count("ZeroDivisionError: a row that nobody can read") == 2
