"""One exchange with the API among fakes of the ports: what is asked, in which order, and what each answer comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.fakes import KEY, NOW, TICKET, FakeWorld, new_delivery, new_result, transient
from watcher.compressor.wire import Pending, Result
from watcher.delivery.decisions import URL_RAN_OUT, CallFailure, Conclusion, Gone, Later, OnHold, Overtaken, UnderWay
from watcher.delivery.delivery import OpenImage, Policy
from watcher.delivery.exchange import Exchange
from watcher.model import Event, Failure, FailureKind, Ticket
from watcher.ports import Publication

NAME = "image-1/"
LOOK = "image-1/?"
PENDING = Pending("job-1", "enqueued")
REFUSED = Failure(FailureKind.PERMANENT, "the API answered 422: not a picture", status=422)
NOT_FOUND = Failure(FailureKind.PERMANENT, "the API answered 404: no such job", status=404)
PUBLICATION = Publication("https://drops.example.com/t/token/a.jpg", {})


async def sent(world: FakeWorld, policy: Policy | None = None, ticket: Ticket = TICKET) -> Result | CallFailure | Conclusion:
    """What comes of a request for an image's own output."""
    delivery = new_delivery()
    exchange = Exchange(world.ports, concurrency=4)
    opened = OpenImage(delivery.image, world.originals.source, ticket)
    return await exchange.send(delivery, opened, PUBLICATION, policy or Policy())


async def test_the_request_is_remembered_before_it_leaves() -> None:
    """A crash between the two costs a question to the store, never a second request."""
    world = FakeWorld()
    world.api.answers = [new_result()]
    remembered: list[list[tuple[object, ...]]] = []
    world.api.meanwhile = lambda: remembered.append(world.journal.of("requested"))
    assert await sent(world) == new_result()
    assert remembered == [[[None, KEY]]]
    assert world.gate.calls == [("enter", NAME), ("succeeded", NAME)]
    assert [line["key"] for line in world.events.of(Event.IMAGE_REQUESTED)] == [KEY]


@pytest.mark.parametrize("verify", ["recovery", "always", "never"])
async def test_the_store_can_be_asked_for_what_was_requested(verify: str) -> None:
    """Unless nobody will ever ask it."""
    world = FakeWorld()
    world.api.answers = [new_result()]
    await sent(world, Policy(verify=verify))  # type: ignore[arg-type]
    (request,) = world.api.requests
    assert set(request.store.get("metadata", {})) == (set() if verify == "never" else {"source-sha1", "rule"})


async def test_nothing_is_sent_of_a_file_that_changed() -> None:
    """The wait at the gate may have been long."""
    world = FakeWorld()
    world.originals.source.current = False
    assert await sent(world) == Gone()
    assert (world.api.requests, world.journal.changes) == ([], [])
    assert world.gate.calls == [("enter", NAME), ("abandoned", NAME)]


async def test_nothing_is_sent_under_a_url_that_would_expire_meanwhile() -> None:
    """A request needs about half of its timeout to be begun and fetched."""
    world, policy = FakeWorld(), Policy(timeout=100.0)
    assert await sent(world, policy, replace(TICKET, expires_at=NOW + 49.0)) == URL_RAN_OUT
    assert world.api.requests == []
    world.api.answers = [new_result()]
    assert await sent(world, policy, replace(TICKET, expires_at=NOW + 51.0)) == new_result()


@pytest.mark.parametrize(("change", "conclusion"), [({"ours": False}, Overtaken()), ({"paused": True}, OnHold())])
async def test_what_the_journal_refuses_is_not_sent(change: dict[str, bool], conclusion: Conclusion) -> None:
    """A newer version took the output over, or the folder is paused: neither is an attempt, and nobody waits for a lost word."""
    world = FakeWorld()
    for name, value in change.items():
        setattr(world.journal, name, value)
    assert await sent(world) == conclusion
    assert world.api.requests == []
    assert world.gate.calls == [("enter", NAME), ("abandoned", NAME)]


@pytest.mark.parametrize("charge", [False, True])
@pytest.mark.parametrize("failure", [REFUSED, transient()], ids=["refused", "may pass"])
async def test_the_gate_says_whose_attempt_a_failure_was(failure: Failure, charge: bool) -> None:
    """It sees all images; this room sees one."""
    world = FakeWorld()
    world.gate.charge = charge
    world.api.answers = [failure]
    answer = await sent(world)
    assert isinstance(answer, CallFailure)
    assert (answer.failure, answer.counts) == (failure, charge)


async def test_a_request_counts_as_asking_until_its_turn_is_over() -> None:
    """At a stop its answer is worth waiting for; what waits at the gate is not."""
    world, delivery = FakeWorld(), new_delivery()
    exchange = Exchange(world.ports, concurrency=4)
    asking: list[bool] = []
    world.api.meanwhile = lambda: asking.append(exchange.is_asking("image-1"))
    world.api.answers = [new_result()]
    assert not exchange.is_asking("image-1")
    await exchange.send(delivery, OpenImage(delivery.image, world.originals.source, TICKET), PUBLICATION, Policy())
    exchange.close(delivery)
    assert (asking, exchange.is_asking("image-1")) == ([True], False)
    assert world.gate.names("forget") == [LOOK]


# --- jobs -------------------------------------------------------------------------------------------------------------------


async def test_a_job_is_followed_to_its_end() -> None:
    """Ever more rarely, and with a permit for each look."""
    world = FakeWorld()
    world.api.answers = [PENDING, PENDING, new_result()]
    assert await sent(world) == new_result()
    assert world.api.polls == ["job-1", "job-1"]
    assert world.journal.of("enqueued") == [[None, "job-1"]]
    assert world.gate.calls[1:] == [("pending", NAME), ("enter", LOOK), ("pending", LOOK), ("enter", LOOK), ("succeeded", LOOK)]


async def test_at_a_stop_no_job_is_followed() -> None:
    """The next start goes on with it."""
    world, delivery = FakeWorld(), new_delivery()
    exchange = Exchange(world.ports, concurrency=4)
    exchange.stopping = True
    world.api.answers = [PENDING]
    opened = OpenImage(delivery.image, world.originals.source, TICKET)
    assert await exchange.send(delivery, opened, PUBLICATION, Policy()) == UnderWay()
    assert world.api.polls == []
    assert not exchange.is_asking("image-1")


async def test_a_look_that_brings_no_word_of_the_job_leaves_it_pending() -> None:
    """It is no attempt at the image."""
    world = FakeWorld()
    world.api.answers = [PENDING, transient(), new_result()]
    assert await sent(world) == new_result()
    assert world.gate.names("failed") == [LOOK]


async def test_a_job_that_failed_is_the_images_failure() -> None:
    """The gate says whether it is an attempt."""
    world = FakeWorld()
    world.gate.charge = True
    world.api.answers = [PENDING, REFUSED]
    answer = await sent(world)
    assert isinstance(answer, CallFailure)
    assert (answer.failure, answer.counts) == (REFUSED, True)


async def test_a_job_that_the_api_does_not_know_may_have_been_done() -> None:
    """The API answered as it should; the store is asked before the image is sent again."""
    world = FakeWorld()
    world.api.answers = [PENDING, NOT_FOUND]
    answer = await sent(world)
    assert isinstance(answer, Later)
    assert answer.doubt
    assert world.gate.names("succeeded") == [LOOK]


async def test_a_job_is_given_up_with_its_temporary_url() -> None:
    """Without that it cannot end well any more, and what became of it is unknown."""
    world = FakeWorld()
    world.api.answers = [PENDING] * 100
    answer = await sent(world, Policy(job_patience=60.0))
    assert isinstance(answer, Later)
    assert answer.doubt
    assert 60.0 <= world.clock.moment - NOW < 80.0
