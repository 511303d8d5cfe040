"""Everything that may go wrong, mixed at random, seeded: nothing is lost, nothing ends twice, and nothing grows.

Ten minutes of it on each engine of the journal by `make soak` (another time or seed: WATCHER_SOAK_SECONDS, WATCHER_SOAK_SEED),
half a minute of it with all other tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.disks import small_disk
from tests.support.fuse import UNCACHED, mounted
from tests.support.journals import SQLITE
from tests.support.soak import Soak, run, settings
from tests.support.standin import StandinProcess
from tests.support.troubles import Machine, TroubledSoak, troubled_settings
from tests.support.world import World, said

SECONDS = float(os.environ.get("WATCHER_SOAK_SECONDS", "600"))
SEED = os.environ.get("WATCHER_SOAK_SEED")
DISK_SIZE = "48m"


def soak(path: Path, seconds: float, seed: int) -> None:
    """So much time of everything, with this machine in order."""
    with StandinProcess(seed=seed) as standin:
        run(Soak(World(path, standin, changes=settings()), said(seed)), seconds)


@pytest.mark.timeout(400)
def test_half_a_minute_of_everything(tmp_path: Path) -> None:
    """Files, faults, ends, reloads and rotations at random: each version one ending, all content stored, nothing grows."""
    soak(tmp_path, 16, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.journals("sqlite", "postgresql")
def test_ten_minutes_of_everything(tmp_path: Path, journal_engine: str) -> None:
    """The same for longer, with other seeds."""
    soak(tmp_path, SECONDS, seed=int(SEED or (2 if journal_engine == SQLITE else 6)))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_minutes_on_a_machine_in_trouble(tmp_path: Path) -> None:
    """All that, with a share that hangs, a full disk, a log that nobody reads, few descriptors and a clock that is set."""
    seed = int(SEED or 3)
    with (
        mounted("bindfs", tmp_path / "below", tmp_path / "nas", "-o", UNCACHED) as share,
        small_disk(tmp_path / "small", DISK_SIZE) as disk,
        StandinProcess(seed=seed) as standin,
    ):
        world = World(tmp_path, standin, changes=troubled_settings(tmp_path, share, disk))
        world.audit_path = disk.path / "state" / "audit.jsonl"
        run(TroubledSoak(world, said(seed), machine=Machine(tmp_path, share, disk)), SECONDS)
