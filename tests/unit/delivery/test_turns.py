"""One turn of an image among fakes of all ports: what each edge is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fakes import NOW, TICKET, FakeWorld, new_image, new_result, transient
from watcher.compressor.wire import Pending
from watcher.delivery.way import LOOK_AT_WAY
from watcher.errors import NotAnswering, Unavailable
from watcher.model import Event, Failure, FailureKind, Ticket

NAME = "image-1/"
UNFETCHED = Failure(FailureKind.PERMANENT, "the API answered 422: could not be fetched", status=422, not_fetched=True)
FAILED_JOB = replace(UNFETCHED, message="the API answered 200: could not be fetched")


async def test_a_ticket_that_is_replaced_is_withdrawn() -> None:
    """An earlier process may have staged under it, and nobody else knows of it any more."""
    world = FakeWorld()
    world.api.answers = [new_result()]
    await world.pipeline().process(new_image(ticket=Ticket("old", "secret", NOW + 1.0)))
    assert world.publisher.published == [TICKET.token]
    assert set(world.publisher.withdrawn) == {"old", TICKET.token}


@pytest.mark.parametrize("by_job", [False, True])
async def test_an_original_that_nobody_came_for_is_the_ways_failure(by_job: bool) -> None:
    """The gate hears of it in the name of the output; it has another turn, and no attempt is used."""
    world = FakeWorld()
    world.publisher.fetched = 0
    world.api.answers = [Pending("job-1", "enqueued"), FAILED_JOB] if by_job else [UNFETCHED]
    await world.pipeline().process(new_image())
    ((_, wait),) = world.journal.of("postponed")
    assert (wait.attempts, wait.tries, wait.doubt) == (0, 1, False)
    assert "nobody came for the original" in wait.reason
    assert world.gate.names("failed") == [NAME]
    (line,) = world.events.of(Event.IMAGE_RETRY)
    assert line["status"] == 422


@pytest.mark.parametrize("by_job", [False, True])
async def test_an_original_that_was_fetched_is_judged_by_the_answer(by_job: bool) -> None:
    """The bytes left: what the API says of them is its verdict."""
    world = FakeWorld()
    world.api.answers = [Pending("job-1", "enqueued"), FAILED_JOB] if by_job else [UNFETCHED]
    await world.pipeline().process(new_image())
    ((_, ending),) = world.journal.of("end")
    assert (ending.event, ending.record["status"]) == (Event.IMAGE_FAILED, 422)
    assert LOOK_AT_WAY not in ending.record["hint"]


async def test_an_original_that_changed_was_not_there_to_be_fetched() -> None:
    """It was answered 404: that is neither a failure of the image nor of the way."""
    world = FakeWorld()
    world.publisher.fetched = 0
    world.api.answers = [UNFETCHED]
    world.api.meanwhile = lambda: setattr(world.originals.source, "intact", False)
    await world.pipeline().process(new_image())
    ((_, ending),) = world.journal.of("end")
    assert ending.event is Event.IMAGE_SUPERSEDED


@pytest.mark.parametrize("failure", [UNFETCHED, transient(), transient(unknown=True)], ids=["422", "500", "lost"])
async def test_an_answer_that_followed_our_own_refusal_costs_nothing(failure: Failure) -> None:
    """The gate learns nothing of it; the image has another turn, and keeps its attempts and what is unknown."""
    world = FakeWorld()
    world.gate.charge = True
    world.publisher.fetched = 0
    world.api.answers = [failure]
    world.api.meanwhile = lambda: setattr(world.publisher, "refused", 1)
    await world.pipeline().process(new_image())
    ((_, wait),) = world.journal.of("postponed")
    assert (wait.attempts, wait.tries, wait.doubt) == (0, 1, failure.unknown)
    assert (world.gate.names("failed"), world.gate.names("abandoned")) == ([], [NAME])


@pytest.mark.parametrize("trouble", [NotAnswering, Unavailable])
async def test_a_share_that_hangs_or_fails_while_the_answer_is_judged_is_our_own_trouble(trouble: type[Unavailable]) -> None:
    """Whether the original changed cannot be told: it is tried again."""
    world = FakeWorld()
    world.publisher.fetched = 0
    world.api.answers = [UNFETCHED]

    def hang() -> None:
        async def is_current(within: float = 0.0) -> bool:
            raise trouble("calls hang")

        world.originals.source.is_current = is_current  # type: ignore[method-assign]

    world.api.meanwhile = hang
    with pytest.raises(trouble):  # the turn is broken off, and the journal keeps that the answer is unknown
        await world.pipeline().process(new_image())
    assert world.gate.names("failed") == []
