"""What is written down of a turn, what becomes of the original, and what the store is asked: each part alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes import BUCKET, KEY, REGION, FakeWorld, new_delivery, new_image, new_result, transient
from watcher.delivery.decisions import Conclusion, Failed, Gone, Later, OnHold, Overtaken, Stored, Unchanged, UnderWay
from watcher.delivery.delivery import ABSENT_FOLDER, Policy
from watcher.delivery.disposal import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, OTHER_VERSION, Disposal, Stuck
from watcher.delivery.store_check import StoreCheck
from watcher.delivery.transitions import SHORTEST_HOLD, Transitions
from watcher.errors import Unavailable
from watcher.model import Absence, Event, FailedReason, HeadAnswer, Output, OutputState

SAME = new_delivery().stored


class TestTransitions:
    """The journal first, then a line where one is due."""

    @pytest.mark.parametrize(
        ("conclusion", "progress", "change"),
        [
            (Stored(new_result(), 1), OutputState.STORED, "end"),
            (Unchanged(SAME), OutputState.UNCHANGED, "unchanged"),
            (Failed(FailedReason.REJECTED, "no", "try another", 1), OutputState.FAILED, "end"),
            (Later("the API is down", failure=transient()), None, "postponed"),
            (Gone(), OutputState.SUPERSEDED, "end"),
        ],
        ids=lambda each: type(each).__name__ if not isinstance(each, str) else each,
    )
    async def test_each_conclusion_is_one_change(self, conclusion: Conclusion, progress: OutputState | None, change: str) -> None:
        """And says how the output stands."""
        world = FakeWorld()
        assert await Transitions(world.ports).write(new_delivery(), conclusion, Policy()) is progress
        assert [name for name, *_ in world.journal.changes] == [change]

    @pytest.mark.parametrize(
        ("conclusion", "progress"), [(Overtaken(), OutputState.SUPERSEDED), (UnderWay(), None), (OnHold(), None)]
    )
    async def test_what_others_write_down_is_no_change(self, conclusion: Conclusion, progress: OutputState | None) -> None:
        """A newer version has ended it, or the next start goes on with the job."""
        world = FakeWorld()
        assert await Transitions(world.ports).write(new_delivery(), conclusion, Policy()) is progress
        assert (world.journal.changes, world.events.lines) == ([], [])

    async def test_an_unchanged_output_of_a_replaced_version_is_not_told(self) -> None:
        """The newer version speaks for the key now."""
        world = FakeWorld()
        world.journal.ours = False
        assert await Transitions(world.ports).write(new_delivery(), Unchanged(SAME), Policy()) is OutputState.SUPERSEDED
        assert world.events.lines == []

    @pytest.mark.parametrize(("tried", "lines"), [(True, 1), (False, 0)])
    async def test_only_a_try_is_told(self, tried: bool, lines: int) -> None:
        """Waiting for an outage to end is one line of the outage, not one for each image."""
        world = FakeWorld()
        await Transitions(world.ports).write(new_delivery(), Later("down", tried=tried, failure=transient()), Policy())
        assert len(world.events.of(Event.IMAGE_RETRY)) == lines

    async def test_the_last_attempt_is_told_by_its_ending(self) -> None:
        """Not by a retry that will not be."""
        world = FakeWorld()
        later = Later("500", tried=True, counts=True, failure=transient())
        await Transitions(world.ports).write(new_delivery(attempts=7), later, Policy(max_attempts=8))
        assert world.events.of(Event.IMAGE_RETRY) == []

    async def test_an_original_that_cannot_be_read_keeps_its_attempts_and_its_doubt(self) -> None:
        """A while later, with growing pauses."""
        world = FakeWorld()
        output = Output(None, OutputState.WAITING, attempts=3, tries=4, doubt=True)
        assert await Transitions(world.ports).defer(new_image(output), output, "permission denied") is None
        ((_, waits),) = world.journal.of("postponed")
        assert (waits.attempts, waits.tries, waits.doubt, waits.reason) == (3, 5, True, "permission denied")
        assert waits.due_at >= world.clock.steady() + SHORTEST_HOLD

    async def test_an_error_of_the_journal_is_not_swallowed(self) -> None:
        """No line tells of what is not durable."""
        world = FakeWorld()
        world.journal.broken = Unavailable("the disk is full")
        with pytest.raises(Unavailable):
            await Transitions(world.ports).write(new_delivery(), Unchanged(SAME), Policy())
        assert world.events.lines == []


class TestDisposal:
    """Kept, deleted or moved; only the version that was taken."""

    def ended(self, state: OutputState = OutputState.STORED, **actions: Any) -> Any:
        return new_image(Output(None, state, key=KEY), **actions)

    @pytest.mark.parametrize(
        ("state", "action", "done", "note"),
        [
            (OutputState.STORED, {"on_success": "delete"}, ("delete", b"a.jpg"), "deleted"),
            (
                OutputState.STORED,
                {"on_success": "move:/srv/done"},
                ("move", b"a.jpg", Path("/srv/done")),
                "moved to /srv/done/a.jpg",
            ),
            (OutputState.FAILED, {"on_failure": "move:/srv/no"}, ("move", b"a.jpg", Path("/srv/no")), "moved to /srv/no/a.jpg"),
            (OutputState.FAILED, {"on_success": "delete"}, None, "kept"),
            (OutputState.STORED, {"on_failure": "delete"}, None, "kept"),
        ],
    )
    async def test_what_the_rule_says_is_done(self, state: OutputState, action: Any, done: Any, note: str) -> None:
        """For the right ending, and noted; what is not there any more is forgotten."""
        world = FakeWorld()
        await Disposal(world.ports).dispose(self.ended(state, **action))
        assert world.originals.calls == ([done] if done else [])
        assert world.journal.of("finish") == [[note, done is not None]]

    async def test_a_rule_that_keeps_every_original_is_finished_already(self) -> None:
        """Its ending finished it: no second commit for each image."""
        world = FakeWorld()
        await Disposal(world.ports).dispose(self.ended())
        assert world.journal.changes == []

    @pytest.mark.parametrize("action", ["delete", "move:/srv/done"])
    async def test_another_version_is_left_alone_and_looked_at(self, action: str) -> None:
        """It was never sent: deleting it would lose it."""
        world = FakeWorld()
        world.originals.same_version = False
        await Disposal(world.ports).dispose(self.ended(on_success=action))
        assert world.journal.of("finish") == [[OTHER_VERSION, False]]
        assert len(world.looked_again) == 1
        assert world.events.lines == []

    @pytest.mark.parametrize(("broken", "there"), [(Unavailable("read-only"), True), (None, False)], ids=["refused", "away"])
    async def test_what_cannot_be_done_now_is_done_later(self, broken: Exception | None, there: bool) -> None:
        """About twenty seconds later, said with the reason."""
        world = FakeWorld()
        world.originals.broken, world.originals.root_is_there = broken, there
        await Disposal(world.ports).dispose(self.ended(on_success="delete"))
        ((wait, reason),) = world.journal.of("finish_later")
        assert (wait, reason) == (FIRST_RETRY_SECONDS, "read-only" if there else ABSENT_FOLDER)
        assert len(world.events.of(Event.IMAGE_RETRY)) == 1

    async def test_what_can_never_be_done_is_said_once_and_tried_ever_more_rarely(self) -> None:
        """Up to every five minutes; when it was done after all, the next trouble is said anew."""
        world = FakeWorld()
        disposal, image = Disposal(world.ports), self.ended(on_success="delete")
        world.originals.broken = Unavailable("read-only")
        for _ in range(6):
            await disposal.dispose(image)
        waits = [wait for wait, _ in world.journal.of("finish_later")]
        assert waits == [20.0, 40.0, 80.0, 160.0, LONGEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS]
        assert len(world.events.of(Event.IMAGE_RETRY)) == 1
        world.originals.broken = None
        await disposal.dispose(image)
        world.originals.broken = Unavailable("full")
        await disposal.dispose(image)
        assert [line["message"] for line in world.events.of(Event.IMAGE_RETRY)] == ["read-only", "full"]

    async def test_many_that_are_stuck_are_said_with_their_number(self) -> None:
        """The first, then when ten times as many wait."""
        world = FakeWorld()
        disposal = Disposal(world.ports)
        world.originals.broken = Unavailable("read-only")
        for number in range(250):
            await disposal.dispose(replace(self.ended(on_success="delete"), id=f"image-{number}"))
        lines = world.events.of(Event.IMAGE_RETRY)
        assert [line["count"] for line in lines] == [1, 10, 100]
        assert lines[-1]["message"] == "100 originals of the folder cannot be put away: read-only"

    def test_each_trouble_has_its_own_count(self) -> None:
        """Another folder, or something else to be done, is another one."""
        stuck = Stuck()
        assert stuck.add("a", ("one", "delete")) == (1, 1)
        assert stuck.add("b", ("two", "delete")) == (1, 1)
        assert stuck.add("a", ("one", "delete")) == (2, None)
        stuck.over("a", ("one", "delete"))
        stuck.over("never-stuck", ("two", "delete"))
        assert stuck.add("c", ("one", "delete")) == (1, 1)
        assert stuck.add("d", ("two", "delete")) == (1, None)


class TestStoreCheck:
    """The question, and one hint for each bucket that does not answer it."""

    async def test_the_store_is_asked_for_the_very_key(self) -> None:
        """Bucket, region, key, and the connector it is written through."""
        world = FakeWorld()
        await StoreCheck(world.store, world.events).head(new_delivery())
        assert world.store.asked == [(BUCKET, REGION, KEY, "connector")]

    @pytest.mark.parametrize(
        ("answer", "hints"),
        [(HeadAnswer(Absence.FORBIDDEN), 1), (HeadAnswer(Absence.ABSENT), 0), (HeadAnswer(Absence.UNREACHABLE), 0)],
        ids=["forbidden", "absent", "unreachable"],
    )
    async def test_a_store_that_will_not_say_is_hinted_at_once(self, answer: HeadAnswer, hints: int) -> None:
        """However many images ask: what to set stands in the hint."""
        world = FakeWorld()
        world.store.answer = answer
        check = StoreCheck(world.store, world.events)
        for _ in range(3):
            await check.head(new_delivery())
        lines = world.events.of(Event.IMAGE_RETRY)
        assert len(lines) == hints
        assert all("[verify]" in line["hint"] for line in lines)
