"""Whatever a writer does, a file is taken only when it is complete, and is taken when it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from watcher.formats.containers import ContainerFacts
from watcher.intake.settle import Decision, GiveUp, Inspection, Leave, NotYet, Patience, Take, Writers, settle
from watcher.model import Format, Observation

WALL_AHEAD = 1_000_000.0
PATIENCE = Patience(settle=2.0, max_wait=60.0)
FORMLESS = ContainerFacts(Format.GIF, "the trailer is missing", formal=True)
WHOLE, CUT, FOREIGN = ContainerFacts(Format.PNG), ContainerFacts(Format.PNG, "the IEND chunk is missing"), ContainerFacts(None)


@dataclass
class File:
    """A file as its writers see it, and the clock."""

    now: float = 0.0
    writers: int = 0
    contents: ContainerFacts = CUT
    observation: Observation = field(default_factory=lambda: Observation(0, 0, int(WALL_AHEAD * 1e9), 1))
    changed_at: float = 0.0

    def change(self, contents: ContainerFacts, grow: int) -> None:
        self.contents = contents
        stamp = int((WALL_AHEAD + self.now) * 1e9)
        self.observation = replace(self.observation, size=self.observation.size + grow, mtime_ns=stamp, ctime_ns=stamp)
        self.changed_at = self.now


STEPS = st.one_of(
    st.tuples(st.just("open"), st.just(0)),
    st.tuples(st.just("close"), st.just(0)),
    st.tuples(st.just("write"), st.sampled_from([0, 1, 2, 3])),
    st.tuples(st.just("pass"), st.integers(1, 8_000)),
    st.tuples(st.just("hint"), st.just(0)),
)


def step(file: File, what: str, value: int) -> None:
    if what == "open":
        file.writers += 1
    elif what == "close":
        file.writers = max(0, file.writers - 1)
    elif what == "write" and file.writers:
        file.change((CUT, WHOLE, FOREIGN, FORMLESS)[value], grow=10)
    elif what == "pass":
        file.now += value / 1000


def look(file: File, before: NotYet | None, *, leases: bool) -> Decision:
    """As the edge does: content is read only where nobody writes, or where the version has stood still."""
    writers = (Writers.SOME if file.writers else Writers.NONE) if leases else Writers.UNKNOWN
    still = before is not None and before.observation == file.observation and before.stood_still(file.now, PATIENCE)
    reads = writers is Writers.NONE or (writers is Writers.UNKNOWN and still)
    verdict = file.contents if reads and file.observation.size else None
    return settle(before, Inspection(file.observation, writers, verdict), file.now, WALL_AHEAD + file.now, PATIENCE)


@given(st.lists(STEPS, max_size=60), st.booleans())
def test_what_is_taken_was_complete(steps: list[tuple[str, int]], leases: bool) -> None:
    """Never empty or cut, never while somebody writes where that can be seen, never before it stood still where it cannot."""
    file, before = File(), None
    for what, value in steps:
        step(file, what, value)
        due = before is not None and before.check_at <= file.now
        if what != "hint" and not due:
            continue
        decision = look(file, before, leases=leases)
        before = decision if isinstance(decision, NotYet) else None
        if isinstance(decision, Take):
            patient = file.now - file.changed_at >= PATIENCE.max_wait
            assert file.contents.whole or (file.contents is FORMLESS and patient)
            assert file.observation.size > 0
            assert file.writers == 0 if leases else file.now - file.changed_at >= PATIENCE.settle
        if isinstance(decision, Leave):
            assert file.contents is FOREIGN
        if isinstance(decision, GiveUp):
            assert file.now - file.changed_at >= PATIENCE.max_wait
            assert file.contents is CUT or file.observation.size == 0


@given(st.lists(STEPS, max_size=40), st.booleans(), st.sampled_from([CUT, WHOLE, FOREIGN, FORMLESS, None]))
def test_every_file_comes_to_a_decision(steps: list[tuple[str, int]], leases: bool, last: ContainerFacts | None) -> None:
    """Once its writers are done, looking when it was asked for is enough: taken, left or given up, and the right one."""
    file = File()
    before: NotYet | None = None
    for what, value in steps:
        step(file, what, value)
        decision = look(file, before, leases=leases)
        before = decision if isinstance(decision, NotYet) else None
    file.writers = 0
    if last is not None:
        file.change(last, grow=10)
    decision = look(file, before, leases=leases)
    for _ in range(1_000):
        if not isinstance(decision, NotYet):
            break
        assert decision.check_at > file.now or decision.check_at >= decision.since
        file.now = max(file.now + 0.001, decision.check_at)
        decision = look(file, decision, leases=leases)

    empty_or_cut = file.observation.size == 0 or file.contents is CUT
    expected = GiveUp if empty_or_cut else Leave if file.contents is FOREIGN else Take
    assert isinstance(decision, expected)
    assert decision.observation == file.observation


@given(st.floats(0, 1e7), st.booleans())
def test_waiting_never_spins_and_never_sleeps_too_long(still: float, writing: bool) -> None:
    """Between a twentieth of a second and five seconds, whatever has passed."""
    observation = Observation(10, 0, int((WALL_AHEAD + still) * 1e9), 1)
    before = NotYet(observation, 0.0, 0.0)
    seen = Inspection(observation, Writers.SOME) if writing else Inspection(observation, Writers.NONE, CUT)
    patience = replace(PATIENCE, max_wait=1e9)
    decision = settle(before, seen, still, WALL_AHEAD + still, patience)

    assert isinstance(decision, NotYet)
    assert 0.04 < decision.check_at - still < 5.1
