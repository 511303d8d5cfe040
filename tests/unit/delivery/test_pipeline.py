"""One image's way through the pipeline, among fakes of all ports: what is done, in which order, and what is written down.

The happy way first, then each class of failure, then the death of the process at each step.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fakes import BUCKET, KEY, NOW, TICKET, FakeWorld, new_delivery, new_image, new_result, transient
from tests.support.records import FACTS
from watcher.compressor.wire import Pending
from watcher.delivery.delivery import ABSENT_FOLDER
from watcher.errors import SourceChanged, SourceGone, Unavailable
from watcher.model import (
    Absence,
    Event,
    FailedReason,
    Failure,
    FailureKind,
    HeadAnswer,
    Image,
    ImageState,
    Output,
    OutputState,
    Ticket,
)

NAME = "image-1/"
SAME = new_delivery().stored
DONE = HeadAnswer(size=400, metadata={"source-sha1": SAME.sha1, "rule": str(SAME.rule)})


def sent_before(**output: Any) -> Image:
    """An image whose request was sent by an earlier turn or process, and whose answer never came."""
    asked = Output(None, OutputState.REQUESTED, **{"key": KEY, "doubt": True, **output})
    return new_image(asked, facts=FACTS, ticket=TICKET)


def changes(world: FakeWorld) -> list[str]:
    """What the journal was told, in order."""
    return [name for name, *_ in world.journal.changes]


def ending(world: FakeWorld) -> tuple[Event, dict[str, Any]]:
    """The one ending."""
    ((_, told),) = world.journal.of("end")
    return told.event, told.record


def wait(world: FakeWorld) -> Any:
    """The one postponement."""
    ((_, told),) = world.journal.of("postponed")
    return told


class TestTheHappyWay:
    """Hash, publish, ask, send, write down, withdraw."""

    async def test_an_image_is_stored(self) -> None:
        """One request, one ending; the URL is withdrawn and the original closed."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        await world.pipeline().process(new_image())

        event, record = ending(world)
        assert (event, record["key"], record["attempts"]) == (Event.IMAGE_STORED, KEY, 1)
        assert (world.publisher.published, world.publisher.withdrawn) == ([TICKET.token], [TICKET.token])
        assert world.originals.source.closed
        assert world.gate.calls == [("enter", NAME), ("succeeded", NAME), ("forget", f"{NAME}?"), ("forget", NAME)]

    async def test_the_request_says_what_the_store_can_be_asked_for(self) -> None:
        """The rule, the key and the temporary URL, and the two marks that tell later that it was done."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        await world.pipeline().process(new_image())

        (request,) = world.api.requests
        assert (request.image, request.store["path"]) == ({"compression": "high"}, KEY)
        assert request.store["metadata"] == {"source-sha1": FACTS.sha1, "rule": str(SAME.rule)}
        assert request.headers == {"X-Secret": TICKET.secret}

    async def test_that_a_request_leaves_is_durable_before_it_leaves(self) -> None:
        """Whoever dies in that moment asks the store first, the next time."""
        world, before = FakeWorld(), list[str]()
        world.api.answers = [new_result()]
        world.api.meanwhile = lambda: before.extend(changes(world))
        await world.pipeline().process(new_image())
        assert before == ["hashed", "requested"]

    async def test_a_job_is_remembered_and_followed(self) -> None:
        """Its id is durable before anybody asks for it."""
        world = FakeWorld()
        world.api.answers = [Pending("job-1", "enqueued"), Pending("job-1", "processing"), new_result()]
        await world.pipeline().process(new_image())
        assert changes(world) == ["hashed", "requested", "enqueued", "end"]
        assert world.api.polls == ["job-1", "job-1"]

    async def test_a_job_of_an_earlier_process_is_followed_and_not_paid_again(self) -> None:
        """Nothing is sent; its URL is good again, since the job may still have to fetch it."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        job = Output(None, OutputState.ENQUEUED, key=KEY, job_id="job-1")
        await world.pipeline().process(new_image(job, facts=FACTS, ticket=TICKET))
        assert (world.api.requests, world.api.polls) == ([], ["job-1"])
        assert world.publisher.published == [TICKET.token]
        assert ending(world)[0] is Event.IMAGE_STORED

    async def test_what_lies_there_already_is_not_sent(self) -> None:
        """The same bytes by the same rule at the same key."""
        world = FakeWorld()
        world.journal.objects[BUCKET, KEY] = SAME
        await world.pipeline().process(new_image())
        assert (world.api.requests, changes(world)) == ([], ["hashed", "unchanged"])
        assert world.events.of(Event.IMAGE_UNCHANGED)

    async def test_our_own_output_dropped_back_in_is_not_sent(self) -> None:
        """It would be compressed again and again."""
        world = FakeWorld()
        world.journal.own_output = True
        await world.pipeline().process(new_image(on_success="delete"))
        assert (world.api.requests, changes(world)) == ([], ["hashed", "dismiss"])
        assert [call[0] for call in world.originals.calls] == ["open"]

    async def test_our_own_output_is_dismissed_once_for_all_outputs(self) -> None:
        """Also where one of them could not have been stored: nothing is wrong with what is not to be sent."""
        world = FakeWorld()
        world.journal.own_output = True
        outputs = (Output(None, OutputState.WAITING, key="a"), Output("thumb", OutputState.WAITING, key="b"))
        await world.pipeline().process(new_image(*outputs))
        nowhere = new_image()
        nowhere.rule.outputs[0].store["path"] = "{dir}"
        await world.pipeline().process(nowhere)
        assert (world.api.requests, changes(world)) == ([], ["hashed", "dismiss"] * 2)
        assert len(world.events.of(Event.IMAGE_IGNORED)) == 2

    async def test_one_url_serves_all_outputs(self) -> None:
        """Each output has a request and an ending of its own."""
        world = FakeWorld()
        world.api.answers = [new_result(), new_result()]
        outputs = (Output(None, OutputState.WAITING, key="a"), Output("thumb", OutputState.WAITING, key="b"))
        await world.pipeline().process(new_image(*outputs))
        assert [request.store["path"] for request in world.api.requests] == ["a", "b"]
        assert {rendition for rendition, _ in world.journal.of("end")} == {None, "thumb"}
        assert (len(world.publisher.published), len(world.publisher.withdrawn)) == (1, 1)

    async def test_the_original_is_disposed_of_when_all_has_ended(self) -> None:
        """After the ending, never before."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        await world.pipeline().process(new_image(on_success="delete"))
        assert changes(world) == ["hashed", "requested", "end", "finish"]
        assert [call[0] for call in world.originals.calls] == ["open", "delete"]


class TestTheOriginal:
    """It may be gone, replaced, or out of reach."""

    @pytest.mark.parametrize(
        ("trouble", "there", "event"),
        [
            (SourceGone("gone"), False, Event.IMAGE_VANISHED),
            (SourceChanged("changed"), True, Event.IMAGE_SUPERSEDED),
        ],
        ids=["gone", "replaced"],
    )
    async def test_a_version_that_is_not_there_any_more(self, trouble: Exception, there: bool, event: Event) -> None:
        """Nothing is sent. A newer version at the path is looked at by itself."""
        world = FakeWorld()
        world.originals.opening, world.originals.there = trouble, there
        await world.pipeline().process(new_image())
        assert (ending(world)[0], world.api.requests) == (event, [])
        assert len(world.looked_again) == there

    async def test_a_folder_that_is_away_is_waited_for(self) -> None:
        """An unmounted share looks like one whose files are all gone: nothing ends, no attempt is used."""
        world = FakeWorld()
        world.originals.opening, world.originals.root_is_there = SourceGone("gone"), False
        await world.pipeline().process(new_image())
        assert (wait(world).reason, wait(world).attempts) == (ABSENT_FOLDER, 0)

    async def test_an_original_that_cannot_be_read_now_is_put_off(self) -> None:
        """Nobody's attempt, and said."""
        world = FakeWorld()
        world.originals.opening = Unavailable("permission denied")
        await world.pipeline().process(new_image())
        assert (wait(world).reason, wait(world).attempts, wait(world).tries) == ("permission denied", 0, 1)
        assert world.events.of(Event.IMAGE_RETRY)

    async def test_a_paid_job_is_not_forgotten_over_an_unreadable_original(self) -> None:
        """A postponement would forget the job: the turn is broken off instead."""
        world = FakeWorld()
        world.originals.opening = Unavailable("permission denied")
        with pytest.raises(Unavailable):
            await world.pipeline().process(new_image(Output(None, OutputState.ENQUEUED, key=KEY, job_id="job-1")))
        assert world.journal.changes == []

    async def test_a_lost_answer_outlives_its_original(self) -> None:
        """What was asked for may have been done: the store says so, and the image is stored although its file is gone."""
        world = FakeWorld()
        world.originals.opening, world.originals.there = SourceGone("gone"), False
        world.store.answer = DONE
        await world.pipeline().process(sent_before())
        event, record = ending(world)
        assert (event, record["recovered"]) == (Event.IMAGE_STORED, True)


class TestFailures:
    """Each class of failure has its own consequence."""

    async def test_a_permanent_failure_ends_the_image(self) -> None:
        """With the API's words and status; the original is left alone."""
        world = FakeWorld()
        world.api.answers = [Failure(FailureKind.PERMANENT, "the API answered 422: no image", status=422)]
        await world.pipeline().process(new_image(on_success="delete"))
        event, record = ending(world)
        assert (event, record["reason"], record["status"]) == (Event.IMAGE_FAILED, FailedReason.REJECTED, 422)
        assert "delete" not in [call[0] for call in world.originals.calls]

    @pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.THROTTLED, FailureKind.BLOCKED])
    async def test_an_outage_uses_no_attempt(self, kind: FailureKind) -> None:
        """Where the gate says that others fail too, everybody waits."""
        world = FakeWorld()
        world.api.answers = [Failure(kind, "come again")]
        await world.pipeline().process(new_image())
        assert (wait(world).attempts, wait(world).doubt) == (0, False)
        assert (world.gate.names("failed"), world.publisher.withdrawn) == ([NAME], [TICKET.token])

    async def test_a_failure_of_its_own_uses_an_attempt(self) -> None:
        """While others get through."""
        world = FakeWorld()
        world.gate.charge = True
        world.api.answers = [transient()]
        await world.pipeline().process(new_image())
        assert (wait(world).attempts, wait(world).tries) == (1, 1)

    async def test_the_last_attempt_ends_the_image(self) -> None:
        """The next turn says what the last failure was."""
        world = FakeWorld()
        world.gate.charge = True
        world.api.answers = [transient("the API answered 500")]
        pipeline = world.pipeline(max_attempts=2)
        await pipeline.process(new_image(Output(None, OutputState.WAITING, attempts=1)))
        assert wait(world).attempts == 2
        await pipeline.process(new_image(Output(None, OutputState.WAITING, attempts=2)))
        event, record = ending(world)
        assert (event, record["attempts"]) == (Event.IMAGE_FAILED, 2)
        assert "the API answered 500" in record["message"]

    async def test_a_lost_answer_leaves_doubt(self) -> None:
        """It may have been done and paid: the next turn asks the store before anything is sent."""
        world = FakeWorld()
        world.api.answers = [transient("connection lost", unknown=True)]
        await world.pipeline().process(new_image())
        assert wait(world).doubt

    @pytest.mark.parametrize(
        ("answer", "sent", "written"),
        [
            (DONE, 0, ["hashed", "end"]),
            (HeadAnswer(Absence.ABSENT), 1, ["hashed", "requested", "end"]),
            (HeadAnswer(Absence.FORBIDDEN), 1, ["hashed", "requested", "end"]),
            (HeadAnswer(Absence.UNREACHABLE), 0, ["hashed", "postponed"]),
        ],
        ids=["done", "absent", "forbidden", "unreachable"],
    )
    async def test_doubt_is_settled_by_the_store(self, answer: HeadAnswer, sent: int, written: list[str]) -> None:
        """Found: stored, and not paid again. Absent: sent. Silent: asked again later."""
        world = FakeWorld()
        world.store.answer, world.api.answers = answer, [new_result()]
        await world.pipeline().process(sent_before())
        assert (len(world.api.requests), changes(world)) == (sent, written)
        assert len(world.store.asked) == 1

    async def test_a_key_that_cannot_be_is_a_failure_of_the_image(self) -> None:
        """Before anything is published or sent."""
        world = FakeWorld()
        image = new_image()
        image.rule.outputs[0].store["path"] = "{dir}"
        await world.pipeline().process(image)
        event, record = ending(world)
        assert (event, record["reason"]) == (Event.IMAGE_FAILED, FailedReason.INVALID_KEY)
        assert world.publisher.published == []

    async def test_a_publisher_that_cannot_publish_is_waited_for(self) -> None:
        """A try, but no attempt; no request leaves without a URL."""
        world = FakeWorld()
        world.publisher.broken = Unavailable("the staging bucket does not answer")
        await world.pipeline().process(new_image())
        assert (wait(world).attempts, wait(world).reason) == (0, "the staging bucket does not answer")
        assert world.api.requests == []

    async def test_a_newer_version_takes_the_output_over(self) -> None:
        """Taken while this one waited at the gate: its request does not leave, and it writes nothing down."""
        world = FakeWorld()
        world.journal.ours = False
        await world.pipeline().process(new_image())
        assert (world.api.requests, changes(world)) == ([], ["hashed", "requested"])
        assert world.gate.names("abandoned") == [NAME]

    async def test_a_folder_that_was_paused_meanwhile_sends_nothing(self) -> None:
        """The output waits as it was; its URL is withdrawn, the gate hears that nothing was sent, and nothing is written down."""
        world = FakeWorld()
        world.journal.paused = True
        await world.pipeline().process(new_image())
        assert (world.api.requests, changes(world)) == ([], ["hashed"])
        assert world.gate.names("abandoned") == [NAME]

    async def test_an_answer_for_other_bytes_is_not_believed(self) -> None:
        """`input.sha1` is not ours although the file is as it was: what was stored is not what was dropped."""
        world = FakeWorld()
        world.gate.charge = True
        world.api.answers = [new_result(sha1="b" * 40)]
        await world.pipeline().process(new_image())
        assert all(told.event is not Event.IMAGE_STORED for _, told in world.journal.of("end"))

    async def test_trouble_with_one_output_does_not_cut_off_another(self) -> None:
        """The other one's answer was paid for."""
        world = FakeWorld()
        world.api.answers = [Failure(FailureKind.PERMANENT, "422", status=422), new_result()]
        outputs = (Output(None, OutputState.WAITING, key="a"), Output("thumb", OutputState.WAITING, key="b"))
        await world.pipeline().process(new_image(*outputs))
        assert {rendition: told.event for rendition, told in world.journal.of("end")} == {
            None: Event.IMAGE_FAILED,
            "thumb": Event.IMAGE_STORED,
        }


class Killed(BaseException):
    """The process dies here."""


class TestTheDeathOfTheProcess:
    """What the journal holds in that moment is enough to pay once and to end once."""

    @pytest.mark.parametrize(
        ("step", "written"),
        [
            ("publisher.publish", ["hashed"]),
            ("gate.enter", ["hashed"]),
            ("api.fetch", ["hashed", "requested"]),
            ("gate.succeeded", ["hashed", "requested"]),
        ],
    )
    async def test_before_the_ending_nothing_has_ended(
        self, step: str, written: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A request that may have left is written down; no ending is."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        port, name = step.split(".")

        def dies(*_: Any, **__: Any) -> Any:
            raise Killed

        monkeypatch.setattr(getattr(world, port), name, dies)
        with pytest.raises(Killed):
            await world.pipeline().process(new_image())
        assert changes(world) == written
        assert world.originals.source.closed

    async def test_after_the_ending_only_the_original_is_left_to_do(self) -> None:
        """The ending is not written again: the URL of the earlier process is withdrawn and the original disposed of."""
        world = FakeWorld()
        stored = Output(None, OutputState.STORED, key=KEY)
        ended = new_image(stored, on_success="delete", facts=FACTS, ticket=TICKET, state=ImageState.ENDED)
        await world.pipeline().process(ended)
        assert (world.api.requests, changes(world)) == ([], ["finish"])
        assert world.publisher.withdrawn == [TICKET.token]

    async def test_a_url_about_to_expire_is_replaced(self) -> None:
        """The API gets one that lives as long as the call may take."""
        world = FakeWorld()
        world.api.answers = [new_result()]
        await world.pipeline(timeout=120.0).process(new_image(ticket=Ticket("old", "secret", NOW + 60.0)))
        assert world.publisher.published == [TICKET.token]
