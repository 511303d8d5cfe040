"""When a folder is looked through as a whole, who waits for that, and what counts as found late."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.support.fakes import NOW, StillClock
from tests.support.publishing import RecordedLog
from tests.support.settled import settled
from watcher.intake.context import IntakeSettings
from watcher.intake.modes import Mode
from watcher.intake.scanner import ScanResult
from watcher.intake.sweeps import FEW_WAITING, POLL_SHARE, Sweeps
from watcher.model import Event

SETTINGS = IntakeSettings(rescan=400.0, poll=1.0)


@dataclass
class Folder:
    """All that the sweeps of a folder need: its mode, its scanner, its candidates and the context, each as the test says."""

    now: Mode = "watching"
    results: list[ScanResult] = field(default_factory=list)
    firsts: list[bool] = field(default_factory=list)
    overflowed: bool = False
    waiting: int = 0
    settings: IntakeSettings = SETTINGS
    clock: StillClock = field(default_factory=StillClock)
    events: RecordedLog = field(default_factory=RecordedLog)
    chance: float = 0.5

    def random(self) -> float:
        return self.chance

    async def full(self, *, first: bool) -> ScanResult:
        self.firsts.append(first)
        return self.results.pop(0)

    def sweeps(self) -> Sweeps:
        return Sweeps("products", self, self, self, self)  # type: ignore[arg-type]


async def test_files_that_no_event_told_of_are_counted_once_events_are_trusted() -> None:
    """What the first scan finds, and the first after the watcher was armed anew, was dropped while nobody watched."""
    folder = Folder(results=[ScanResult(files=5, new=5), ScanResult(files=7, new=2), ScanResult(files=8, new=1)])
    sweeps = folder.sweeps()
    assert sweeps.seconds is None
    await sweeps.scan()
    await sweeps.scan()
    sweeps.distrust_events()
    await sweeps.scan()
    lines = folder.events.of(Event.SCAN_FINISHED)
    assert [(line["files"], line["new"], line["found_by_scan"]) for line in lines] == [(5, 5, 0), (7, 2, 2), (8, 1, 0)]
    assert (sweeps.found_by_scan, sweeps.last.files, folder.firsts) == (2, 8, [True, False, False])


async def test_a_polled_folder_has_nothing_that_is_found_late() -> None:
    """There are no events that could have told."""
    folder = Folder("polling", results=[ScanResult(new=1), ScanResult(new=1)])
    sweeps = folder.sweeps()
    await sweeps.scan()
    await sweeps.scan()
    assert sweeps.found_by_scan == 0


async def test_who_asks_waits_for_a_scan_that_begins_afterwards() -> None:
    """One that is under way may have passed the file already."""
    sweeps = Folder().sweeps()
    early = sweeps.ask()
    assert sweeps.are_asked_for
    with sweeps.serving():
        late = sweeps.ask()
    assert (early.done(), late.done()) == (True, False)
    with sweeps.serving():
        assert not late.done()
    assert late.done()


async def test_a_scan_that_breaks_lets_those_who_wait_go_on() -> None:
    """Nobody hangs for it; one who went away meanwhile is no trouble."""
    sweeps = Folder().sweeps()
    gone, waiting = sweeps.ask(), sweeps.ask()
    gone.cancel()
    with pytest.raises(OSError, match="the disk"), sweeps.serving():
        raise OSError("the disk")
    assert waiting.result() is None


async def test_once_there_will_be_no_scan_nobody_waits_for_one() -> None:
    """Neither those who asked before nor those who ask afterwards."""
    sweeps = Folder().sweeps()
    before = sweeps.ask()
    sweeps.end()
    assert before.done()
    assert sweeps.ask().done()


@pytest.mark.parametrize(
    ("mode", "took", "chance", "pause"),
    [
        ("watching", 0.1, 0.0, 300.0),
        ("watching", 0.1, 1.0, 500.0),
        ("polling", 0.01, 0.5, 1.0),
        ("polling", 2.0, 0.5, 2.0 * POLL_SHARE),
        ("polling", 100.0, 0.5, 400.0),
    ],
    ids=["watched, early", "watched, late", "polled, small", "polled, large", "polled, huge"],
)
async def test_the_next_scan_comes_as_the_mode_and_its_cost_allow(mode: Mode, took: float, chance: float, pause: float) -> None:
    """A watched folder is scanned rarely, and not together with others; a polled one often, but not all the time."""
    folder = Folder(mode, [ScanResult(seconds=took)], chance=chance)
    sweeps = folder.sweeps()
    await sweeps.scan()
    sweeps.schedule()
    await asyncio.wait_for(sweeps.wait(), 5)
    assert folder.clock.moment - NOW == pytest.approx(pause)


@pytest.mark.parametrize("waiting", [FEW_WAITING - 1, FEW_WAITING])
async def test_candidates_that_were_left_out_are_looked_for_soon(waiting: int) -> None:
    """As soon as there is room for them; the memory of it ends with that scan."""
    folder = Folder(overflowed=True, waiting=waiting)
    sweeps = folder.sweeps()
    sweeps.schedule()
    await asyncio.wait_for(sweeps.wait(), 5)
    is_soon = waiting < FEW_WAITING
    assert folder.clock.moment - NOW == (1.0 if is_soon else 400.0)
    assert folder.overflowed is not is_soon


async def test_what_is_asked_for_comes_before_what_is_planned() -> None:
    """And a plan that was given up does not come."""
    folder = Folder()
    sweeps = folder.sweeps()
    sweeps.later(60.0)
    sweeps.soon()
    await asyncio.wait_for(sweeps.wait(), 5)
    moment = folder.clock.moment
    sweeps.cancel()
    await settled()
    assert not sweeps.are_asked_for
    assert folder.clock.moment == moment
