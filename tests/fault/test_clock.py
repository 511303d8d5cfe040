"""A clock that is set while the daemon works, by a year or by hours, forward or back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.clocks import SettableClock
from tests.support.daemon import Daemon, wait_until
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World

HOUR = 3600.0


def is_off_by(daemon: Daemon) -> float:
    """By how many seconds the clock is off that gave the last line its time."""
    return datetime.fromisoformat(daemon.lines[-1]["timestamp"]).timestamp() - time.time()


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def clock(tmp_path: Path) -> SettableClock:
    return SettableClock(tmp_path)


@pytest.mark.parametrize("by", [-2 * HOUR, -50.0, 2 * HOUR, -365 * 24 * HOUR])
def test_images_end_whatever_is_done_to_the_clock(
    tmp_path: Path, standin: StandinProcess, clock: SettableClock, by: float
) -> None:
    """Those that wait, those whose next try is due later, those under way, and those that are dropped afterwards."""
    changes = {"compressor": {"concurrency": 2}}
    world = World(tmp_path, standin, changes=changes)
    standin.set_options(work_seconds=0.05)
    standin.set_faults(Fault("status", status=500, file="again-*", times=3))
    with Daemon(world.config, {**KEY, **clock.environment}) as daemon:
        for number in range(30):
            world.put(f"before-{number}.jpg")
        world.put("again-0.jpg")
        daemon.wait_for("image.stored", 3)
        clock.set(by)
        world.put("after.jpg")
        daemon.wait_for("image.stored", 32, seconds=45)
        assert not daemon.events("image.failed")
        assert max(line["attempts"] for line in daemon.events("image.stored")) <= 4
    assert is_off_by(daemon) == pytest.approx(by, abs=25)
    clock.set(0.0)
    world.assert_audit_is_whole()


@pytest.mark.journals("sqlite", "postgresql")
def test_what_was_put_off_under_a_clock_that_was_wrong_is_done_after_a_restart(
    tmp_path: Path, standin: StandinProcess, clock: SettableClock
) -> None:
    """A machine whose clock was a year ahead, and is right at the next start."""
    world = World(tmp_path, standin)
    standin.set_faults(Fault("status", status=500, file="*"), Fault("status", status=500, on=("account",)))
    clock.set(365 * 24 * HOUR)
    with Daemon(world.config, {**KEY, **clock.environment}) as daemon:
        world.put("early.jpg")
        daemon.wait_for("image.retry")
    assert is_off_by(daemon) == pytest.approx(365 * 24 * HOUR, abs=25)
    standin.set_faults()
    clock.set(0.0)
    with Daemon(world.config, {**KEY, **clock.environment}) as daemon:
        daemon.wait_for("image.stored", seconds=30)
    wait_until(lambda: len(world.audit()) == 1)
