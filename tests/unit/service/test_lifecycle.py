"""Parts are stopped in reverse order, whatever fails, and take a reload in the order in which they were built."""

from __future__ import annotations

import asyncio

import pytest

from watcher.config.schema import Settings
from watcher.service.lifecycle import Lifecycle


def new_life(deaths: list[str] | None = None) -> Lifecycle:
    """A life that notes which task died."""
    return Lifecycle((deaths if deaths is not None else []).append)


async def test_parts_stop_in_reverse_order() -> None:
    """Later parts may need earlier ones to the end; a stop may be a function or a coroutine function."""
    life, stopped = new_life(), []

    async def stop_second() -> None:
        stopped.append("second")

    life.on_stop(lambda: stopped.append("first"))
    life.on_stop(stop_second)
    await life.stop()
    assert stopped == ["second", "first"]


async def test_one_that_fails_to_stop_does_not_keep_the_others_from_it() -> None:
    """The failure is still heard of."""
    life, stopped = new_life(), []

    def fail() -> None:
        raise OSError("the disk is gone")

    life.on_stop(lambda: stopped.append("first"))
    life.on_stop(fail)
    with pytest.raises(OSError, match="the disk is gone"):
        await life.stop()
    assert stopped == ["first"]


async def test_one_that_hangs_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """And named; a part that fails by a timeout of its own has not hung."""
    life, stopped = new_life(), []

    async def hang() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise TimeoutError("of its own")

    life.on_stop(lambda: stopped.append("first"))
    life.on_stop(hang, 0.01)
    life.on_stop(fail)
    with pytest.raises(TimeoutError, match="of its own"):
        await life.stop()
    assert stopped == ["first"]
    assert "within 0.01 s and is left behind" in (said := capsys.readouterr().err)
    assert "hang" in said
    assert "fail" not in said


async def test_a_reload_reaches_the_parts_in_the_order_of_their_building() -> None:
    """Files are opened anew by a call of their own, since that is due for a refused configuration, too."""
    life, settings = new_life(), Settings.model_construct()
    heard: list[object] = []
    life.on_reopen(lambda: heard.append("reopen"))
    life.on_reload(lambda new: heard.append(("first", new)))
    life.on_reload(lambda new: heard.append(("second", new)))
    await life.reopen()
    await life.reload(settings)
    assert heard == ["reopen", ("first", settings), ("second", settings)]


async def test_a_task_that_breaks_is_reported_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """One that is cancelled at the end is no death."""
    deaths: list[str] = []
    life = new_life(deaths)

    async def work() -> None:
        raise RuntimeError("defect")

    life.run(asyncio.Event().wait(), "patient")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="defect"):
        await life.run(work(), "broken")
    await life.end_tasks()
    assert deaths == ["broken"]
    assert str(life.failure) == "defect"
    assert "defect" in capsys.readouterr().err
