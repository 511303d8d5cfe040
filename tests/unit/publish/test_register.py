"""What is published under which token, and how long it is remembered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.fakes import NOW, TICKET, FakeSource, StillClock
from watcher.publish.register import Register, is_equal
from watcher.publish.traffic import FREE_BYTES

INODE = (1, 2)
OTHER = replace(TICKET, token="another")


def test_only_the_token_finds_what_is_published() -> None:
    """Neither a part of it nor another one, and nothing once it is withdrawn."""
    register = Register(StillClock())
    source = FakeSource()
    register.add(TICKET, source, INODE)
    found = register.find(TICKET.token)
    assert found is not None
    assert (found.ticket, found.source, found.inode) == (TICKET, source, INODE)
    assert [register.find(token) for token in ("", TICKET.token[:-1], TICKET.token + "x", "tökèn", OTHER.token)] == [None] * 5
    register.remove(TICKET.token)
    register.remove(TICKET.token)
    assert (register.find(TICKET.token), len(register)) == (None, 0)


def test_the_same_ticket_gets_the_new_source_and_keeps_what_is_known_of_its_fetches() -> None:
    """An image's next turn publishes it anew."""
    register = Register(StillClock())
    register.add(TICKET, FakeSource(), INODE)
    first = register.find(TICKET.token)
    second = FakeSource()
    register.add(TICKET, second, (1, 3))
    found = register.find(TICKET.token)
    assert first is not None
    assert found is not None
    assert (found.source, found.inode) == (second, (1, 3))
    assert found.traffic is first.traffic
    assert len(register) == 1


def test_what_has_expired_is_forgotten() -> None:
    """By the time that passed, whatever becomes of the clock on the wall."""
    clock = StillClock()
    register = Register(clock)
    register.add(replace(TICKET, expires_at=NOW + 10.0), FakeSource(), INODE)
    register.add(replace(OTHER, expires_at=NOW + 20.0), FakeSource(), INODE)
    clock.moment += 10.0
    register.forget_expired()
    assert register.find(TICKET.token) is None
    assert register.find(OTHER.token) is not None


def source_of(size: int) -> FakeSource:
    source = FakeSource()
    source.facts = replace(source.facts, size=size)
    return source


async def has_room_at_once(register: Register, size: int) -> bool:
    waiting = asyncio.ensure_future(register.room_for(size))
    for _ in range(5):
        await asyncio.sleep(0)
    at_once = waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return at_once


@pytest.mark.parametrize("ending", ["withdrawn", "expired", "published anew, and smaller"])
async def test_what_is_not_published_any_more_leaves_its_room_to_others(ending: str) -> None:
    """Nobody waits while all that is published is less than what may always be on its way."""
    clock = StillClock()
    register = Register(clock)
    register.add(replace(TICKET, expires_at=NOW + 10.0), source_of(FREE_BYTES - 1), INODE)
    assert await has_room_at_once(register, 1)
    assert not await has_room_at_once(register, 2)
    if ending == "withdrawn":
        register.remove(TICKET.token)
        register.remove(TICKET.token)
    elif ending == "expired":
        clock.moment += 10.0
        register.forget_expired()
    else:
        register.add(TICKET, source_of(0), INODE)
    assert await has_room_at_once(register, FREE_BYTES)
    register.add(OTHER, source_of(FREE_BYTES), INODE)
    assert not await has_room_at_once(register, 1)


def test_secrets_are_compared_whatever_is_in_them() -> None:
    """What a client sends may be no text at all."""
    assert is_equal("word", "word")
    assert is_equal("w\udcff", "w\udcff")
    assert not is_equal("word", "Word")
    assert not is_equal("", "word")
