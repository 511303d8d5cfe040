"""Tasks beside the work: one that dies is told, one that is ended is not."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.settled import settled
from watcher.service.tasks import Supervisor


async def hang() -> None:
    await asyncio.Event().wait()


async def die() -> None:
    raise ZeroDivisionError("a fault of ours")


async def test_one_that_dies_is_told_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """The others go on until somebody ends them; what broke is written down in full."""
    deaths: list[str] = []
    supervisor = Supervisor(deaths.append)
    other = supervisor.start(hang(), "other")
    supervisor.start(die(), "sweep")
    await settled()
    assert deaths == ["sweep"]
    assert isinstance(supervisor.failure, ZeroDivisionError)
    assert "ZeroDivisionError: a fault of ours" in capsys.readouterr().err
    assert not other.done()
    await supervisor.end()
    assert other.cancelled()


async def test_one_that_ends_or_is_ended_is_no_death(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by itself nor by a stop."""
    deaths: list[str] = []
    supervisor = Supervisor(deaths.append)
    supervisor.start(settled(1), "short")
    supervisor.start(hang(), "long").cancel()
    supervisor.start(hang(), "longer")
    await settled()
    await supervisor.end()
    await supervisor.end()
    assert (deaths, supervisor.failure, capsys.readouterr().err) == ([], None, "")
