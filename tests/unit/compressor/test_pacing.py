"""Places in time for requests, of one host alone and of several that share them."""

from __future__ import annotations

import asyncio
import itertools

from tests.support.fakes import StillClock
from tests.support.settled import settled
from watcher.compressor.pacing import BLOCK_SECONDS, Pace, SharedPace
from watcher.errors import Unavailable


class Places:
    """What the journal gives out: one place behind the other, whoever asks."""

    def __init__(self, clock: StillClock) -> None:
        self._clock = clock
        self.until = 0.0
        self.blocks: list[int] = []

    async def take(self, count: int, each: float) -> float:
        await settled(1)
        self.blocks.append(count)
        begin = max(self.until, self._clock.monotonic())
        self.until = begin + count * each
        return begin - self._clock.monotonic()


def test_one_host_spaces_evenly() -> None:
    """Ten a second: a tenth of a second apart."""
    pace = Pace(10.0)
    assert [round(pace.reserve(100.0), 3) for _ in range(4)] == [-0.1, 0.0, 0.1, 0.2]
    assert Pace(None).reserve(100.0) == 0.0


async def test_hosts_never_share_a_place() -> None:
    """Two hosts of ten each at twenty a second: all places are apart, and none of either's waits for more than its block."""
    clock = StillClock()
    places = Places(clock)
    hosts = [SharedPace(places.take, Pace(20.0), clock) for _ in range(2)]
    waits = sorted(await asyncio.gather(*(host.reserve() for host in hosts for _ in range(10))))

    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    assert min(gaps) > 0.049
    assert max(places.blocks) <= 20.0 * BLOCK_SECONDS
    assert sum(places.blocks) == 20


async def test_one_busy_host_gets_all_places() -> None:
    """The others have nothing to send: the limit is not divided by their number."""
    clock = StillClock()
    places = Places(clock)
    busy, _idle = (SharedPace(places.take, Pace(20.0), clock) for _ in range(2))
    waits = [await busy.reserve() for _ in range(20)]
    assert round(waits[-1], 3) == 0.95


async def test_without_the_journal_a_host_paces_itself() -> None:
    """At a stop, when it is closed already."""

    async def closed(count: int, each: float) -> float:
        raise Unavailable("the journal is closed")

    pace = SharedPace(closed, Pace(10.0), StillClock())
    waits = [round(await pace.reserve(), 3) for _ in range(3)]
    assert waits == [-0.1, 0.0, 0.1]


async def test_no_limit_asks_nobody() -> None:
    """Nor does it wait."""
    clock = StillClock()
    places = Places(clock)
    assert await SharedPace(places.take, Pace(None), clock).reserve() == 0.0
    assert places.blocks == []
