"""Small files that prove a watcher alive: rare, and none where it has shown that it is."""

import math
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import StillClock
from tests.support.publishing import RecordedLog
from watcher.intake.canaries import Canaries
from watcher.intake.context import IntakeContext, IntakeSettings
from watcher.intake.hints import Hints
from watcher.intake.pools import RootPools
from watcher.intake.roots import Roots


class Bench:
    """Canaries of a folder whose watcher tells of each, unless it is deaf."""

    def __init__(self, root: Path, pools: RootPools, settings: IntakeSettings) -> None:
        self.root = root
        self.clock = StillClock()
        self.hints = Hints(lambda: None)
        nothing: Any = None
        self.context = IntakeContext(
            settings, nothing, RecordedLog(), self.clock, random.Random(1).random, Roots(), pools, nothing, lambda: None
        )
        self.canaries = Canaries(root, self.context, self.hints)
        self.canaries.start_afresh()
        self.made: list[float] = []
        self.deaf = False
        self._began = self.clock.monotonic()

    async def live(self, seconds: float, step: float = 5.0) -> bool:
        """So much time passes, looked at as the guard does. False as soon as the watcher is found to be deaf."""
        for _ in range(int(seconds / step)):
            self.clock.moment += step
            before = os.stat(self.root).st_mtime_ns
            if not await self.canaries.check(os.fsencode(self.root), []):
                return False
            if os.stat(self.root).st_mtime_ns != before:
                self.made.append(round(self.clock.monotonic() - self._began))
            if not self.deaf:
                for relative in self.canaries.sent:
                    self.canaries.heard(relative)
        return True


@asynccontextmanager
async def bench(root: Path, **settings: float) -> AsyncIterator[Bench]:
    with closing(RootPools()) as pools:
        yield Bench(root, pools, IntakeSettings(**settings))


async def test_they_become_rarer_while_nothing_changes(tmp_path: Path) -> None:
    """Each time between two of them is twice the one before, up to the longest."""
    async with bench(tmp_path) as it:
        assert await it.live(6 * 3600)
        assert [60, 180, 420, 900, 1860, 3780, 7380] == it.made[:7]


async def test_there_is_none_while_changes_are_heard(tmp_path: Path) -> None:
    """They prove the same; when they end, the first one comes as after a start."""
    async with bench(tmp_path) as it:
        for number in range(100):
            it.hints.file(b"%d.jpg" % number)
            assert await it.live(50)
        assert [] == it.made
        assert await it.live(60)
        assert 1 == len(it.made)


async def test_a_deaf_watcher_is_found_out(tmp_path: Path) -> None:
    """By the one that it does not tell of."""
    async with bench(tmp_path) as it:
        it.deaf = True
        assert not await it.live(120)
        assert [60] == it.made


@pytest.mark.parametrize(("interval", "made"), [(600.0, [600, 1200, 1800]), (math.inf, [])])
async def test_an_interval_or_none_can_be_asked_for(tmp_path: Path, interval: float, made: list[int]) -> None:
    """Also by a reload."""
    async with bench(tmp_path, canary=interval, canary_longest=interval) as it:
        assert await it.live(2000)
        assert made == it.made
        it.context.settings = replace(it.context.settings, canary=10.0, canary_longest=10.0)
        assert await it.live(60)
        assert len(it.made) > len(made)
