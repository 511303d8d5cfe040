"""A clock that is set while the daemon works, by a year or by hours, forward or back."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World

SETTABLE = """
import mmap, os, struct, time

_file = os.open(os.environ["CLOCK_FILE"], os.O_RDONLY)
_offset = mmap.mmap(_file, 8, prot=mmap.PROT_READ)
_true = time.time
time.time = lambda: _true() + struct.unpack("<d", _offset[:8])[0]
"""
HOUR = 3600.0


class SettableClock:
    """What a daemon begun with `environment` takes for the time."""

    def __init__(self, path: Path) -> None:
        site = path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SETTABLE)
        self._file = path / "offset"
        self._file.write_bytes(struct.pack("<d", 0.0))
        self.environment = {"PYTHONPATH": str(site), "CLOCK_FILE": str(self._file)}

    def set(self, seconds: float) -> None:
        """From now on the clock is off by so much."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as offset:
            offset[:8] = struct.pack("<d", seconds)


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
    clock.set(0.0)
    world.assert_audit_is_whole()


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
    standin.set_faults()
    clock.set(0.0)
    with Daemon(world.config, {**KEY, **clock.environment}) as daemon:
        daemon.wait_for("image.stored", seconds=30)
    wait_until(lambda: len(world.audit()) == 1)
