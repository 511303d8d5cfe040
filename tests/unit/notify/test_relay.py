"""How one receiver is told: in order, until it confirms, gathered or not, with outages in between. No time passes in here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.fakes import NOW, StillClock
from tests.support.settled import settled
from watcher.config.receiver_settings import ReceiverSettings
from watcher.errors import Unavailable
from watcher.model import AuditLine
from watcher.notify.messages import Message
from watcher.notify.plan import ReceiverPlan
from watcher.notify.relay import BATCH, ReceiverRelay
from watcher.notify.sender import NotConfirmed


def lines(first: int, last: int, event: str = "image.stored", at: float = NOW) -> list[AuditLine]:
    """Lines of the audit file."""
    return [
        AuditLine(seq, f"id-{seq}", None, at, event, "drop", {"event": event, "file": f"/drop/{seq}.jpg", "url": "u", "seq": seq})
        for seq in range(first, last + 1)
    ]


@dataclass
class Round:
    """A relay, what it reads, whom it tells, and what it says."""

    keys: dict[str, Any]
    audit: list[AuditLine] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    said: list[tuple[Any, ...]] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    closed: bool = False
    unreadable: int = 0

    def __post_init__(self) -> None:
        self.clock = StillClock()
        plan = ReceiverPlan.of("cms", ReceiverSettings(**self.keys))
        self.relay = ReceiverRelay(plan, 0, self, self.read, self, self.clock, lambda: 0.0)

    async def read(self, seq: int, limit: int) -> Sequence[AuditLine]:
        """The journal."""
        if self.unreadable:
            self.unreadable -= 1
            raise Unavailable("the disk is gone")
        return [line for line in self.audit if line.seq > seq][:limit]

    async def send(self, message: Message) -> str:
        """The receiver: refuses as often as it is told to."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.sent.append(message)
        self.sent_at.append(self.clock.moment)
        return "thank you"

    async def aclose(self) -> None:
        self.closed = True

    def confirmed(self, name: str, seq: int) -> None:
        self.said.append(("confirmed", seq))

    def idle(self) -> None:
        self.said.append(("idle",))

    def unavailable(self, name: str, message: str, hint: str) -> None:
        self.said.append(("unavailable", message))

    def recovered(self, name: str, seconds: float, lost: int) -> None:
        self.said.append(("recovered", seconds, lost))

    @property
    def told(self) -> list[int]:
        """The numbers of the endings that were sent."""
        return [json.loads(message.body)["seq"] for message in self.sent]

    async def until_idle(self) -> None:
        """Let it work until it has nothing to do."""
        running = asyncio.create_task(self.relay.run())
        while not self.relay.is_idle:
            await settled(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


URL = {"url": "http://cms/hook"}
PEOPLE = {"apprise": "json://team"}


async def test_each_ending_is_told_in_order_and_confirmed_after_it() -> None:
    """More than it reads at a time; the connection is let go of at the end."""
    one = Round(URL, lines(1, BATCH + 30))
    await one.until_idle()

    assert one.told == list(range(1, BATCH + 31))
    assert [what[1] for what in one.said if what[0] == "confirmed"] == one.told
    assert one.closed


async def test_what_it_does_not_want_is_passed_over_and_confirmed() -> None:
    """Otherwise it would be read again and again."""
    one = Round({**URL, "events": ("image.failed",)}, [*lines(1, 3), *lines(4, 4, "image.failed"), *lines(5, 6)])
    await one.until_idle()

    assert one.told == [4]
    assert one.relay.position == 6


async def test_one_that_refuses_is_told_again_after_growing_pauses() -> None:
    """Nothing overtakes; how long it was away is told once it confirms."""
    one = Round(URL, lines(1, 2), [NotConfirmed("no"), NotConfirmed("not yet"), NotConfirmed("soon", retry_after=20.0)])
    await one.until_idle()

    assert one.told == [1, 2]
    assert one.sent_at[0] - NOW == 0.5 + 1.0 + 20.0
    assert one.said[:4] == [("unavailable", "no"), ("unavailable", "not yet"), ("unavailable", "soon"), ("recovered", 21.5, 0)]


async def test_a_fault_of_ours_leaves_no_receiver_untold(capfd: pytest.CaptureFixture[str]) -> None:
    """It is said and tried again, as a refusal is; the words of the error, in which a secret may stand, are shown nowhere."""
    one = Round(URL, lines(1, 2), [ZeroDivisionError("https://user:secret@cms")])
    await one.until_idle()

    assert one.told == [1, 2]
    assert one.said[0] == ("unavailable", "internal error (ZeroDivisionError)")
    shown = capfd.readouterr().err
    assert ("in send" in shown, "secret" in shown) == (True, False)


async def test_a_journal_that_cannot_be_read_is_waited_for() -> None:
    """Who keeps it says so."""
    one = Round(URL, lines(1, 1), unreadable=1)
    running = asyncio.create_task(one.relay.run())
    while not one.told:
        one.relay.look()
        await settled(1)
    running.cancel()

    assert one.told == [1]


async def test_lines_that_are_gone_are_counted() -> None:
    """Older than `keep`: told with the next message that is confirmed."""
    one = Round(URL, lines(5, 6))
    await one.until_idle()

    assert ("recovered", 0.0, 4) in one.said


async def test_people_are_told_all_of_it_in_one_message() -> None:
    """Once the first of it has waited long enough."""
    one = Round(PEOPLE, [*lines(1, 3 * BATCH, at=NOW - 600), *lines(3 * BATCH + 1, 3 * BATCH + 2, "image.failed")])
    await one.until_idle()

    assert [message.title for message in one.sent] == ["compressor-watcher: 300 stored, 2 failed"]
    assert one.relay.position == 3 * BATCH + 2


async def test_what_is_gathered_waits() -> None:
    """And is told at once where the daemon is about to end."""
    one = Round({**URL, "digest": "10m"}, lines(1, 2))
    await one.until_idle()
    assert one.sent == []

    one.relay.hurry()
    await one.until_idle()
    (digest,) = [json.loads(message.body) for message in one.sent]
    assert (digest["event"], digest["stored"], digest["to"]) == ("digest", 2, 2)


async def test_a_digest_that_is_full_is_followed_by_another() -> None:
    """No ending is left out."""
    one = Round({**URL, "digest": "10m"}, lines(1, 1_250, at=NOW - 600))
    await one.until_idle()

    digests = [json.loads(message.body) for message in one.sent]
    told = [ending["seq"] for digest in digests for ending in digest["endings"]]
    assert told == list(range(1, 1_251))
    assert len(digests) == 2


async def test_a_program_is_told_of_each_outage_by_itself() -> None:
    """Before the endings that wait."""
    one = Round({**URL, "events": ("image.stored", "outage")}, lines(1, 1))
    for number, event in enumerate(("api.unavailable", "image.retry", "api.recovered")):
        one.relay.tell({"event": event}, f"msg_{number}")
    await one.until_idle()

    assert [json.loads(message.body)["event"] for message in one.sent] == ["api.unavailable", "api.recovered", "image.stored"]
    assert [message.id for message in one.sent][:2] == ["msg_0", "msg_2"]


async def test_people_are_told_of_outages_together_and_at_once() -> None:
    """A share that goes takes twenty folders with it: that is one message, while a digest goes on waiting."""
    one = Round({**PEOPLE, "events": ("image.stored", "outage")}, lines(1, 1))
    for number in range(3):
        one.relay.tell({"event": "folder.lost", "folder": f"drop-{number}", "message": "gone"}, f"msg_{number}")
    await one.until_idle()

    assert [message.title for message in one.sent] == ["A watched folder is away: drop-0, and 2 more"]
    assert one.sent[0].text.count("gone") == 3


async def test_an_outage_is_told_until_it_is_confirmed() -> None:
    """Those that come meanwhile wait behind it."""
    one = Round({**URL, "events": ("outage",)}, [], [NotConfirmed("no")])
    one.relay.tell({"event": "api.unavailable"}, "msg_1")
    one.relay.tell({"event": "api.recovered"}, "msg_2")
    await one.until_idle()

    assert [message.id for message in one.sent] == ["msg_1", "msg_2"]


async def test_who_follows_no_endings_reads_none() -> None:
    """A receiver of outages has no place among the lines."""
    one = Round({**URL, "events": ("outage",)}, lines(1, 5))
    await one.until_idle()

    assert one.sent == []
    assert one.relay.position == 0
