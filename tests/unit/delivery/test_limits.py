"""The limit of requests in flight, and its changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.publishing import wait_until
from tests.support.settled import settled
from watcher.delivery.limits import Limit
from watcher.model import FileRef, Subtree

ON_THE_SHARE = 100


class Crowd:
    """Tasks that go in and stay until they are told to leave. Those of ON_THE_SHARE and up are about files of the folder nas."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self.inside: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.leave: dict[int, asyncio.Event] = {}

    async def come(self, *numbers: int) -> None:
        """These come, in this order."""
        for number in numbers:
            self.leave[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._stay(number))
        await settled()

    async def go(self, number: int) -> None:
        """One of those inside leaves."""
        self.leave[number].set()
        await settled()

    async def _stay(self, number: int) -> None:
        folder = "nas" if number >= ON_THE_SHARE else "local"
        async with self._limit.hold(FileRef(folder, Path("/srv") / folder, b"%d.jpg" % number)):
            self.inside.append(number)
            try:
                await self.leave[number].wait()
            finally:
                self.inside.remove(number)

    async def end(self) -> None:
        """Send everybody home."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_no_more_than_the_limit_are_in_and_the_first_comes_first() -> None:
    """Those who wait are let in by the order in which they came."""
    crowd = Crowd(Limit(2))
    await crowd.come(1, 2, 3, 4)
    assert crowd.inside == [1, 2]
    await crowd.go(1)
    assert crowd.inside == [2, 3]
    await crowd.end()


async def test_a_larger_limit_lets_those_in_who_wait_already() -> None:
    """Nobody who waited under the old limit stays behind."""
    limit = Limit(1)
    crowd = Crowd(limit)
    await crowd.come(1, 2, 3, 4)
    limit.change(3)
    await settled()
    assert crowd.inside == [1, 2, 3]
    await crowd.end()


async def test_a_smaller_limit_sends_nobody_out_and_lets_nobody_in_before_its_time() -> None:
    """Those inside are counted against the new limit."""
    limit = Limit(3)
    crowd = Crowd(limit)
    await crowd.come(1, 2, 3, 4)
    limit.change(1)
    await crowd.go(1)
    await crowd.go(2)
    assert crowd.inside == [3]
    await crowd.go(3)
    assert crowd.inside == [4]
    await crowd.end()


async def test_who_is_called_off_while_waiting_takes_no_place() -> None:
    """Neither one that still waits nor one that was let in at that very moment."""
    crowd = Crowd(Limit(1))
    await crowd.come(1, 2, 3)
    crowd.tasks[2].cancel()
    await crowd.go(1)
    assert crowd.inside == [3]
    await crowd.come(4, 5)
    crowd.leave[3].set()
    await settled(1)  # 3 leaves, which lets 4 in before it has noticed
    crowd.tasks[4].cancel()
    await settled()
    assert crowd.inside == [5]
    await crowd.end()
    await crowd.come(6)
    assert crowd.inside == [6]
    await crowd.end()


async def test_those_whose_share_hangs_hold_up_nobody_else() -> None:
    """Others are let in for them, as many as there is room for without them; those of the share that wait stay outside."""
    away: list[Subtree] = []
    limit = Limit(2, lambda: away)
    crowd = Crowd(limit)
    await crowd.come(100, 101, 102, 1, 2, 3)
    assert crowd.inside == [100, 101]
    limit.look()
    await settled()
    assert crowd.inside == [100, 101]
    away.append(Subtree("nas"))
    limit.look()
    await settled()
    assert crowd.inside == [100, 101, 1, 2]
    await crowd.go(1)
    assert crowd.inside == [100, 101, 2, 3]
    away.clear()
    for number in (100, 101, 2):
        await crowd.go(number)
    assert crowd.inside == [3, 102]
    await crowd.end()


async def test_it_is_looked_by_itself_while_somebody_waits() -> None:
    """A share may begin to hang after the limit was reached."""
    away: list[Subtree] = []
    crowd = Crowd(Limit(1, lambda: away))
    await crowd.come(100, 1)
    away.append(Subtree("nas"))
    await wait_until(lambda: crowd.inside == [100, 1])
    await crowd.end()
