"""When a file counts as complete, from what was seen of it."""

from dataclasses import replace

import pytest

from watcher.formats.containers import ContainerFacts
from watcher.intake.settle import (
    LONGEST_WAIT_CONTENT,
    LONGEST_WAIT_WRITER,
    OWN_SECONDS,
    SHORTEST_WAIT,
    Decision,
    GiveUp,
    Inspection,
    Leave,
    NotYet,
    Patience,
    Take,
    Writers,
    settle,
    unfinished,
)
from watcher.model import FailedReason, Format, IgnoredReason, Observation

NOW, WALL = 500.0, 1_000_000.0
SEEN = Observation(size=1_000, mtime_ns=int(WALL * 1e9), ctime_ns=int(WALL * 1e9), inode=7)
EMPTY = replace(SEEN, size=0)
FORMLESS = ContainerFacts(Format.GIF, "the trailer is missing", formal=True)
WHOLE, CUT, FOREIGN = (
    ContainerFacts(Format.JPEG),
    ContainerFacts(Format.JPEG, "the end marker (EOI) is missing"),
    ContainerFacts(None),
)
PATIENCE = Patience(settle=2.0, max_wait=3600.0)


def decide(look: Inspection, before: NotYet | None = None, *, after: float = 0.0, patience: Patience = PATIENCE) -> Decision:
    return settle(before, look, NOW + after, WALL + after, patience)


def waited(observation: Observation = SEEN, verdict: ContainerFacts | None = None) -> NotYet:
    """First seen in this version at NOW."""
    return NotYet(observation, NOW, NOW + 1, verdict)


class TestWhereALeaseTells:
    def test_a_whole_file_that_nobody_writes_is_taken_at_once(self) -> None:
        """No waiting where the kernel says that all writers have closed."""
        assert decide(Inspection(SEEN, Writers.NONE, WHOLE)) == Take(SEEN)

    def test_no_image_is_left(self) -> None:
        """Content decides, and it is complete."""
        assert decide(Inspection(SEEN, Writers.NONE, FOREIGN)) == Leave(SEEN, IgnoredReason.NOT_AN_IMAGE)

    def test_a_picture_of_a_kind_that_cannot_be_done_is_left_with_the_words(self) -> None:
        """The words say which kind it is and what to export."""
        raw = ContainerFacts(None, unsupported="a camera raw (NEF): export a JPEG")

        assert decide(Inspection(SEEN, Writers.NONE, raw)) == Leave(SEEN, IgnoredReason.UNSUPPORTED, raw.unsupported)

    def test_a_file_that_is_being_written_is_looked_at_again_soon(self) -> None:
        """While somebody writes nothing else is asked, and its close is noticed even without an event."""
        assert decide(Inspection(SEEN, Writers.SOME)) == NotYet(SEEN, NOW, NOW + SHORTEST_WAIT)

    def test_looks_become_rarer_while_nothing_happens(self) -> None:
        """A download that takes an hour costs a look a second, not twenty."""
        decision = decide(Inspection(SEEN, Writers.SOME), waited(), after=600)

        assert decision == NotYet(SEEN, NOW, NOW + 600 + LONGEST_WAIT_WRITER)

    def test_one_who_writes_for_ever_is_waited_for_for_ever(self) -> None:
        """A file that somebody has open is never given up."""
        assert isinstance(decide(Inspection(SEEN, Writers.SOME), waited(), after=1e6), NotYet)

    def test_a_cut_file_is_waited_for(self) -> None:
        """Writers that close and append later are given their time; what was found is kept, so as not to read it again."""
        assert decide(Inspection(SEEN, Writers.NONE, CUT)) == NotYet(SEEN, NOW, NOW + SHORTEST_WAIT, CUT)


class TestWhereNothingTells:
    def test_a_new_version_has_to_stand_still(self) -> None:
        """The first look only starts the clock."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN)) == NotYet(SEEN, NOW, NOW + PATIENCE.settle)

    def test_one_that_stood_still_is_taken_if_it_is_whole(self) -> None:
        """Size and times unmoved for `settle`, and the container whole."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN, WHOLE), waited(), after=2.0) == Take(SEEN)

    def test_a_moment_too_early_it_is_not(self) -> None:
        """A look that comes early waits for the rest."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN, WHOLE), waited(), after=1.5) == NotYet(SEEN, NOW, NOW + 2.0)

    @pytest.mark.parametrize("change", [{"size": 1_001}, {"mtime_ns": 1}, {"ctime_ns": 1}, {"inode": 8}])
    def test_every_change_starts_the_wait_anew(self, change: dict[str, int]) -> None:
        """Size, mtime, ctime and inode: any of them means that somebody was there."""
        moved = replace(SEEN, **change)

        assert decide(Inspection(moved, Writers.UNKNOWN, WHOLE), waited(), after=2.0) == NotYet(moved, NOW + 2.0, NOW + 4.0)

    def test_one_that_stood_still_and_was_not_read_is_read_at_once(self) -> None:
        """Still enough, but without a verdict: the next look brings it."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN), waited(), after=5.0) == NotYet(SEEN, NOW, NOW + 5.0 + SHORTEST_WAIT)

    def test_standing_still_is_not_enough(self) -> None:
        """A copy that stalls on the network is cut, and stays waited for."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN, CUT), waited(), after=60.0) == NotYet(SEEN, NOW, NOW + 65.0, CUT)

    def test_with_no_settle_time_content_alone_decides(self) -> None:
        """settle = "0s" is allowed: who sets it knows that his files arrive by rename."""
        assert decide(Inspection(SEEN, Writers.UNKNOWN, WHOLE), patience=replace(PATIENCE, settle=0.0)) == Take(SEEN)

    def test_an_old_file_has_to_stand_still_all_the_same(self) -> None:
        """The clock of a share may be wrong: only what we saw ourselves counts."""
        old = replace(SEEN, ctime_ns=0)

        assert decide(Inspection(old, Writers.UNKNOWN)) == NotYet(old, NOW, NOW + PATIENCE.settle)


class TestGivingUp:
    def test_a_file_that_stays_empty_fails_as_empty(self) -> None:
        """After max_wait, with words for people."""
        decision = decide(Inspection(EMPTY, Writers.UNKNOWN), waited(EMPTY), after=3600.0)

        assert isinstance(decision, GiveUp)
        assert (decision.reason, decision.observation) == (FailedReason.EMPTY, EMPTY)
        assert "empty" in decision.message
        assert decision.hint

    def test_a_file_that_stays_cut_fails_as_truncated(self) -> None:
        """The message says what is missing."""
        decision = decide(Inspection(SEEN, Writers.NONE, CUT), waited(), after=3600.0)

        assert isinstance(decision, GiveUp)
        assert decision.reason is FailedReason.TRUNCATED
        assert "jpeg" in decision.message
        assert CUT.missing in decision.message

    def test_one_that_lacks_only_its_formal_end_is_taken_then(self) -> None:
        """Every decoder reads it, and nothing comes any more."""
        assert decide(Inspection(SEEN, Writers.NONE, FORMLESS), waited(), after=3600.0) == Take(SEEN)
        assert decide(Inspection(SEEN, Writers.UNKNOWN, FORMLESS), waited(), after=3600.0) == Take(SEEN)

    def test_until_then_it_is_waited_for_like_any_other(self) -> None:
        """The end may be on its way; people are told that the pixels are there."""
        wait = decide(Inspection(SEEN, Writers.NONE, FORMLESS), waited(), after=3599.0)

        assert wait == NotYet(SEEN, NOW, NOW + 3599.0 + LONGEST_WAIT_CONTENT, FORMLESS)
        assert "is sent when nothing comes any more" in unfinished(wait, WALL).message

    def test_one_that_lacks_its_end_and_has_holes_is_given_up(self) -> None:
        """A download that did not end is no matter of form."""
        decision = decide(Inspection(SEEN, Writers.NONE, FORMLESS, "it has a hole"), waited(), after=3600.0)

        assert isinstance(decision, GiveUp)
        assert "a hole" in decision.message

    def test_just_before_it_is_still_waited_for(self) -> None:
        """max_wait is a promise to slow writers."""
        wait = decide(Inspection(EMPTY, Writers.UNKNOWN), waited(EMPTY), after=3599.0)

        assert wait == NotYet(EMPTY, NOW, NOW + 3599.0 + LONGEST_WAIT_CONTENT)

    def test_restarts_do_not_start_the_wait_anew(self) -> None:
        """A file whose last change lies longer back than max_wait is given up a moment after the first look of a new process."""
        old = replace(SEEN, ctime_ns=int((WALL - 3601) * 1e9))
        first = decide(Inspection(old, Writers.NONE, CUT))

        assert isinstance(first, NotYet)
        assert isinstance(decide(Inspection(old, Writers.NONE, CUT), first, after=OWN_SECONDS), GiveUp)

    @pytest.mark.parametrize("size", [0, 1_000])
    def test_a_clock_that_is_behind_gives_nothing_up_that_moves(self, size: int) -> None:
        """On a share whose clock is two hours behind an upload is old from the start: what counts is that it grows."""
        verdict = CUT if size else None
        wait = None
        for second in range(0, 60, 5):
            stale = int((WALL + second - 7200) * 1e9)
            growing = replace(SEEN, size=size, mtime_ns=stale, ctime_ns=stale)
            wait = decide(Inspection(growing, Writers.UNKNOWN, verdict), wait, after=float(second))
            assert isinstance(wait, NotYet)

    def test_a_change_starts_the_wait_anew(self) -> None:
        """Somebody is still at it."""
        grown = replace(SEEN, size=2_000, ctime_ns=int((WALL + 3599) * 1e9))

        assert isinstance(decide(Inspection(grown, Writers.NONE, CUT), waited(), after=3600.0), NotYet)

    def test_a_clock_that_is_ahead_gives_nothing_up(self) -> None:
        """A ctime in the future (a share's clock) counts as now."""
        ahead = replace(SEEN, ctime_ns=int((WALL + 1e6) * 1e9))

        assert isinstance(decide(Inspection(ahead, Writers.NONE, CUT)), NotYet)


class TestClockThatIsSet:
    @pytest.mark.parametrize("by", [2 * 3600.0, -2 * 3600.0])
    def test_it_gives_nobody_up_before_the_time(self, by: float) -> None:
        """An upload that pauses while somebody sets the clock is waited for as long as any other."""
        first = settle(None, Inspection(SEEN, Writers.NONE, CUT), NOW, WALL, PATIENCE)
        assert isinstance(first, NotYet)
        second = settle(first, Inspection(SEEN, Writers.NONE, CUT), NOW + 60, WALL + 60 + by, PATIENCE)
        assert isinstance(second, NotYet)
        third = settle(second, Inspection(SEEN, Writers.NONE, CUT), NOW + 3600, WALL + 3600 + by, PATIENCE)
        assert isinstance(third, GiveUp)
