"""Signs of life: given while every part moves, withheld while one does not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.support.fakes import StillClock
from tests.support.settled import settled
from watcher.service.vitals import Vitals


@dataclass
class Manager:
    """The service manager; it wants a sign every ten seconds, or none."""

    watchdog_interval: float | None = 10.0
    signs: int = 0

    def alive(self) -> None:
        self.signs += 1


@dataclass
class Part:
    """One that says what the test wants; None: it does not answer."""

    moves: bool | None = True
    asked: list[None] = field(default_factory=list)

    async def check(self) -> bool:
        self.asked.append(None)
        if self.moves is None:
            await asyncio.Event().wait()
        return bool(self.moves)


async def test_a_sign_is_given_while_everything_moves_and_none_while_something_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is stuck is said once, and that it moves again."""
    manager, part, clock = Manager(), Part(), StillClock()
    giving = asyncio.create_task(Vitals({"the journal": part.check, "the loop": lambda: True}, manager, clock).keep_giving())  # type: ignore[arg-type]
    await settled(100)
    assert manager.signs > 3
    part.moves = False
    await settled()
    signs = manager.signs
    await settled(100)
    assert manager.signs == signs
    part.moves = True
    await settled(100)
    assert manager.signs > signs
    giving.cancel()
    words = capsys.readouterr().err.splitlines()
    assert words == [
        "compressor-watcher: stuck: the journal; no sign of life goes to the watchdog",
        "compressor-watcher: everything moves again",
    ]


async def test_a_part_that_does_not_answer_is_stuck() -> None:
    """The others are asked all the same, at the same time."""
    hanging, moving, standing = Part(None), Part(), Part(False)
    vitals = Vitals({"a": hanging.check, "b": moving.check, "c": standing.check}, Manager(), StillClock())  # type: ignore[arg-type]
    assert await vitals.stuck(0.01) == ["a", "c"]
    assert len(moving.asked) == 1


async def test_where_nobody_wants_signs_nobody_is_asked() -> None:
    """It ends at once."""
    part = Part()
    vitals = Vitals({"a": part.check}, Manager(None), StillClock())  # type: ignore[arg-type]
    await asyncio.wait_for(vitals.keep_giving(), 5)
    assert part.asked == []
