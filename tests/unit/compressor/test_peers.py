"""Gates of several hosts that hear of each other: who asks, who waits for whom, what is said, and how all go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.gates import ANSWERED_500, BAD_KEY, DOWN, SLOW_DOWN, GateBench, entering
from tests.support.settled import settled
from watcher.compressor.circuit_state import Phase
from watcher.compressor.peers import Peer, Standing
from watcher.errors import CallFailed
from watcher.model import Event


async def no_places(count: int, each: float) -> float:
    """No limit is set: nobody asks for a place."""
    raise AssertionError(f"{count} places of {each} s")


class Hosts:
    """Gates, and the board on which each says how it stands; a host that is gone says nothing, and hears nothing."""

    def __init__(self, *names: str) -> None:
        self.board: dict[str, Standing] = {}
        self.parts = {name: GateBench() for name in names}
        for name, parts in self.parts.items():
            parts.gate.join(name, lambda name=name: self._tell(name), no_places)
            self._tell(name)

    def _tell(self, name: str) -> None:
        self.board[name] = self.parts[name].gate.standing

    async def talk(self, seconds: float = 0.0) -> None:
        """Time passes, and everybody hears of everybody, until nothing more comes of it."""
        for parts in self.parts.values():
            parts.clock.move(seconds)
        for _ in range(4):
            await settled()
            for name, parts in self.parts.items():
                parts.gate.hear([Peer(other, standing) for other, standing in self.board.items() if other != name])

    def fail_account(self, failure: CallFailed | None) -> None:
        """What `/account` answers, whoever asks."""
        for parts in self.parts.values():
            parts.account.failure = failure

    def asked(self) -> list[int]:
        return [parts.account.asked for parts in self.parts.values()]

    def phases(self) -> list[Phase]:
        return [parts.phase for parts in self.parts.values()]

    def said(self, event: Event) -> list[list[str]]:
        """By host: the `host` of each such line."""
        return [[line.get("host", "") for line in parts.log.of(event)] for parts in self.parts.values()]


@pytest.fixture
async def hosts() -> AsyncIterator[Hosts]:
    made = Hosts("a", "b", "c")
    yield made
    for parts in made.parts.values():
        await parts.gate.close()


async def meets(parts: GateBench, name: str, failure: object) -> None:
    """A request of this host is answered so."""
    await parts.gate.enter(name)
    parts.gate.failed(name, failure)  # type: ignore[arg-type]


async def test_one_host_asks_for_all_and_all_go_on_at_its_word(hosts: Hosts) -> None:
    """Each looks once for itself; then only the first one asks, and what it finds reaches all within a moment."""
    hosts.fail_account(CallFailed(DOWN))
    first, second, third = hosts.parts.values()
    await meets(first, "one", DOWN)
    waiting = entering(second.gate, "two") | entering(third.gate, "three")
    await hosts.talk()
    assert hosts.asked() == [0, 1, 1]
    assert hosts.phases() == [Phase.OPEN] * 3
    assert hosts.said(Event.API_UNAVAILABLE) == [[""], ["a"], ["a"]]

    for _ in range(5):
        await hosts.talk(8)
    assert first.account.asked >= 2
    assert hosts.asked()[1:] == [1, 1]

    hosts.fail_account(None)
    trial = entering(first.gate, "one")
    await hosts.talk(60)
    first.gate.succeeded("one")
    await hosts.talk()
    assert hosts.phases() == [Phase.CLOSED] * 3
    assert hosts.said(Event.API_RECOVERED)[0] == [""]
    assert all(task.done() for task in (waiting | trial).values())


async def test_trouble_of_one_host_alone_stops_nobody_else(hosts: Hosts) -> None:
    """Its network, say: the others look once, find the way open, and say nothing."""
    first, second, third = hosts.parts.values()
    first.account.failure = CallFailed(DOWN)
    await meets(first, "one", DOWN)
    await hosts.talk()
    await second.gate.enter("two")
    second.gate.succeeded("two")
    await third.gate.enter("three")
    third.gate.succeeded("three")
    for _ in range(5):
        await hosts.talk(8)

    assert hosts.phases()[1:] == [Phase.CLOSED, Phase.CLOSED]
    assert hosts.asked()[1:] == [1, 1]
    assert second.events == third.events == []


async def test_the_next_one_leads_when_the_first_is_gone(hosts: Hosts) -> None:
    """A host that died in trouble takes nobody along."""
    hosts.fail_account(CallFailed(BAD_KEY))
    first, second, third = hosts.parts.values()
    await meets(first, "one", BAD_KEY)
    await hosts.talk()
    assert hosts.said(Event.API_UNAUTHORIZED) == [[""], ["a"], ["a"]]
    before = hosts.asked()
    del hosts.board["a"], hosts.parts["a"]
    hosts.fail_account(None)
    waiting = entering(second.gate, "two") | entering(third.gate, "three")
    await hosts.talk()
    second.gate.succeeded("two")
    await hosts.talk()
    await first.gate.close()

    assert hosts.asked() == [before[1] + 1, before[2]]
    assert hosts.phases() == [Phase.CLOSED, Phase.CLOSED]
    assert hosts.said(Event.API_RECOVERED) == [[""], ["b"]]
    assert all(task.done() for task in waiting.values())


async def test_a_pause_that_the_api_asks_for_is_everybodys(hosts: Hosts) -> None:
    """Nobody asks whether it is meant so; when the time is over each goes on."""
    first, second, third = hosts.parts.values()
    await meets(first, "one", SLOW_DOWN)
    await hosts.talk()
    assert hosts.phases() == [Phase.THROTTLED] * 3
    assert hosts.said(Event.API_THROTTLED) == [[""], ["a"], ["a"]]
    assert hosts.asked() == [0, 0, 0]
    waiting = entering(second.gate, "two") | entering(third.gate, "three")
    await hosts.talk(31)
    second.gate.succeeded("two")
    third.gate.succeeded("three")
    await hosts.talk()

    assert hosts.phases()[1:] == [Phase.CLOSED, Phase.CLOSED]
    assert all(task.done() for task in waiting.values())


async def test_a_led_host_that_hears_of_nobody_asks_for_itself(hosts: Hosts) -> None:
    """The database is away: each keeps a mind of its own."""
    hosts.fail_account(CallFailed(DOWN))
    first, second, _ = hosts.parts.values()
    await meets(first, "one", DOWN)
    await hosts.talk()
    asked = second.account.asked
    second.gate.hear_nobody()
    await settled()
    assert second.account.asked == asked + 1
    second.gate.hear_nobody()
    await settled()
    assert second.account.asked == asked + 1


async def test_who_has_something_to_try_tries_where_the_leader_has_nothing(hosts: Hosts) -> None:
    """The account answers, and the host that led has no image left to prove that the way is open."""
    first, second, _ = hosts.parts.values()
    for number in range(3):
        await meets(first, f"one{number}", ANSWERED_500)
    await settled()
    trial = entering(first.gate, "one3")
    await settled()
    first.gate.failed("one3", ANSWERED_500)
    await hosts.talk()
    await second.gate.enter("two")
    second.gate.failed("two", ANSWERED_500)
    await hosts.talk()
    assert hosts.phases()[:2] == [Phase.OPEN, Phase.OPEN]
    waiting = entering(second.gate, "two")
    await hosts.talk(8)
    assert first.phase is Phase.HALF_OPEN
    second.gate.succeeded("two")
    await hosts.talk()

    assert second.phase is Phase.CLOSED
    assert waiting["two"].done()
    assert trial["one3"].done()
