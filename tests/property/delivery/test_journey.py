"""Promises 3 and 5 over any history: files come, change and go, the API misbehaves, and the process ends after any effect."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.journey import MODES, OUTAGES, Bench
from tests.support.pictures import jpeg
from watcher.model import Absence

NAMES = ("a.jpg", "b.jpg", "c.jpg")
HOURS = 4 * 3600.0
SPANS = st.sampled_from([0.01, 0.3, 2.0, 8.0, 90.0, 700.0])
ENDED = ("stored", "failed", "superseded", "vanished")


def image(number: int) -> bytes:
    """One of a few contents."""
    return jpeg(16, 16) + b"%d" % number


def sha1_of(content: bytes) -> str:
    """As the store has it."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


class Journey(RuleBasedStateMachine):
    """Files, an API and a store as they may be, with a process that may end at any effect."""

    @initialize(
        renditions=st.integers(0, 2),
        on_success=st.sampled_from(["keep", "delete", "move"]),
        verify=st.sampled_from(["recovery", "recovery", "always"]),
        seed=st.integers(0, 1000),
    )
    def begin(self, renditions: int, on_success: str, verify: str, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.drop, self.done = self.folder / "drop", self.folder / "done"
        self.drop.mkdir()
        action = f"move:{self.done}" if on_success == "move" else on_success
        self.bench = Bench(self.drop, renditions=renditions, on_success=action, verify=verify, seed=seed)
        self.on_success = on_success
        self.content: dict[str, bytes] = {}
        self.seen: list[dict[str, Any]] = []
        self.crashes = 0
        self.changes = 0

    # --- what people do -------------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 2), in_place=st.booleans(), noticed=st.booleans())
    def write(self, name: str, number: int, in_place: bool, noticed: bool) -> None:
        """A file is dropped or replaced, moved in or written over; the intake may see it at once, or later."""
        path = self.drop / name
        if in_place and path.exists():
            path.write_bytes(image(number))
        else:
            partial = self.folder / "partial"
            partial.write_bytes(image(number))
            partial.rename(path)
        self.set_time(path)
        self.content[name] = image(number)
        if noticed:
            self.bench.notice()

    @rule(name=st.sampled_from(NAMES), gone=st.booleans())
    def meddle(self, name: str, gone: bool) -> None:
        """A file goes, or gets new times."""
        if gone:
            (self.drop / name).unlink(missing_ok=True)
            self.content.pop(name, None)
        elif (self.drop / name).exists():
            self.set_time(self.drop / name)
        self.bench.notice()

    def set_time(self, path: Path) -> None:
        """Each change has a time of its own, as if time went by here, too: the kernel's clock ticks every few milliseconds."""
        self.changes += 1
        os.utime(path, ns=(0, (1_750_000_000 + self.changes) * 1_000_000_000))

    # --- what the world does --------------------------------------------------------------------------------------------------

    @rule(
        modes=st.lists(st.sampled_from(MODES), max_size=4),
        effects=st.none() | st.integers(1, 30),
        before=st.booleans(),
        seconds=SPANS,
    )
    def go_on(self, modes: list[str], effects: int | None, before: bool, seconds: float) -> None:
        """Time goes by; the next requests are answered so, and the process may end at one of its next effects."""
        self.bench.vendor.script.extend(modes)
        if effects is not None:
            self.bench.life.ends_in, self.bench.life.ends_before = effects, before
            self.crashes += 1
        self.bench.notice()
        self.bench.pass_time(seconds)

    @rule(
        name=st.sampled_from(NAMES), mode=st.sampled_from(("slow", "lost_after", "job_slow", "refused")), number=st.integers(0, 2)
    )
    def replace_under_way(self, name: str, mode: str, number: int) -> None:
        """A file is replaced while its request is on its way, and the process ends as well."""
        self.bench.vendor.script.append(mode)
        self.write(name, number, False, True)
        self.bench.pass_time(1.0)
        self.write(name, (number + 1) % 3, False, False)
        self.bench.crash()
        self.crashes += 1
        self.bench.notice()

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 2), mode=st.sampled_from(OUTAGES), seconds=SPANS)
    def outage(self, name: str, number: int, mode: str, seconds: float) -> None:
        """Nobody gets through for a while, which may be longer than a URL lives, and a file is dropped meanwhile."""
        self.bench.vendor.outage = mode
        self.write(name, number, False, True)
        self.bench.pass_time(seconds)
        self.bench.vendor.outage = None

    @rule(mode=st.sampled_from([None, None, Absence.UNREACHABLE, Absence.FORBIDDEN]), seconds=SPANS)
    def store_answers(self, mode: Absence | None, seconds: float) -> None:
        """How questions to the store are answered for a while."""
        self.bench.vendor.store_mode = mode
        self.bench.pass_time(seconds)

    @rule()
    def end_now(self) -> None:
        """The process ends."""
        self.bench.crash()
        self.crashes += 1

    # --- what must hold -------------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_was_asked_wrongly(self) -> None:
        """Nothing is sent that the store says is done, no URL is given that is not good, and nothing of ours breaks."""
        if hasattr(self, "bench"):
            assert [] == self.bench.vendor.complaints
            assert [] == self.bench.problems
            assert [] == [line for line in self.bench.events.lines if "internal error" in str(line[1].get("message"))]

    @invariant()
    def endings_stay(self) -> None:
        """What was written down is never changed or taken back, and an output ends once."""
        if hasattr(self, "bench"):
            endings = self.bench.endings()
            assert endings[: len(self.seen)] == self.seen
            assert len({(line["id"], line["rendition"]) for line in endings}) == len(endings)
            self.seen = endings

    @invariant()
    def files_go_only_when_they_are_stored(self) -> None:
        """A file that nobody took away is there, unless its content lies in the store and it was to be deleted or moved."""
        if hasattr(self, "bench"):
            for name, content in list(self.content.items()):
                if not (self.drop / name).exists():
                    assert self.on_success != "keep"
                    stored = [key for key, there in self.bench.vendor.objects.items() if there.sha1 == sha1_of(content)]
                    # work that lands after its answer was given up may cover what was stored later: nothing here can know
                    assert self.bench.vendor.modes_met["late"] or {
                        f"{rule.rendition or 'own'}/{name}" for rule in self.bench.rule.outputs
                    } <= set(stored)
                    if self.on_success == "move":
                        assert content in [path.read_bytes() for path in self.done.iterdir()]
                    del self.content[name]

    def newest(self, name: str) -> dict[str, str]:
        """The states of the outputs of the newest image of a path, with their keys."""
        rows = [row for row in self.bench.states() if row[2] == os.fsencode(name)]
        return {row[5]: row[4] for row in rows if row[0] == rows[-1][0]}

    def teardown(self) -> None:
        """In the end, with nothing in the way, everything has come to rest, and rightly."""
        if not hasattr(self, "bench"):
            return
        bench = self.bench
        bench.life.ends_in = None
        bench.vendor.script.clear()
        bench.vendor.store_mode = None
        for _ in range(3):
            bench.notice()
            bench.pass_time(HOURS / 3)
        self.nothing_was_asked_wrongly()
        self.endings_stay()
        self.files_go_only_when_they_are_stored()
        self.check_rest()
        bench.close()
        shutil.rmtree(self.folder)

    def check_rest(self) -> None:
        """Every image is finished, every output has its ending or was unchanged, attempts and payments are in bounds."""
        bench, vendor = self.bench, self.bench.vendor
        states = bench.states()
        assert {row[1] for row in states} <= {"finished"}
        assert {row[5] for row in states} <= {*ENDED, "unchanged"}
        ended = {(line["id"], line["rendition"] or ""): line["event"].removeprefix("image.") for line in bench.endings()}
        assert {(row[0], row[3]): row[5] for row in states if row[5] != "unchanged"} == ended
        met = vendor.modes_met
        reasons = {line["reason"] for line in bench.endings() if line["event"] == "image.failed"}
        assert "rejected" not in reasons or met["rejected"]
        assert "job_failed" not in reasons or met["job_failed"]
        if set(met) <= {"ok", "slow", *OUTAGES} and not self.crashes and not met["way_is_out"]:  # short ones look like one's own
            assert {line["attempts"] for line in bench.endings() if line["event"] == "image.stored"} <= {1}
        if set(met) <= {"ok", "slow", "job", *OUTAGES} and not self.crashes:
            assert not [count for count in vendor.paid.values() if count > self.versions()]
        if not met["late"] and not met["wrong_input"]:
            self.check_newest()

    def versions(self) -> int:
        """How many images there were: each may be paid for once for each key."""
        return len({row[0] for row in self.bench.states()})

    def check_newest(self) -> None:
        """At the key of a file whose newest version was stored lies that version."""
        for name, content in self.content.items():
            for state, key in self.newest(name).items():
                if state in ("stored", "unchanged"):
                    there = self.bench.vendor.objects[key]
                    assert there.sha1 == sha1_of(content), key


class TestJourney(Journey.TestCase):  # type: ignore[name-defined,misc]
    """The same histories in every run."""

    settings = settings(max_examples=16, stateful_step_count=40, deadline=None, derandomize=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
class TestManyMoreJourneys(Journey.TestCase):  # type: ignore[name-defined,misc]
    """Histories that nobody has seen before."""

    settings = settings(max_examples=1_000, stateful_step_count=60, deadline=None)
