"""Hosts on one journal, as each of them sees the others."""

import asyncio
import time
from dataclasses import replace

import psycopg
import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.publishing import RecordedLog
from tests.support.records import DAY, FACTS, TICKET, sighting, stored, take_one
from tests.support.tcp_proxy import COMMITTED, TcpProxy
from watcher.errors import Fenced, Unavailable
from watcher.model import Event, Observation, Postponement
from watcher.records.postgres.journal import PostgresJournal


async def until(journal: PostgresJournal, hosts: int) -> None:
    for _ in range(200):
        if journal.hosts_alive == hosts:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{journal.hosts_alive} hosts, not {hosts}")


async def test_hosts_count_each_other(postgres: Postgres) -> None:
    """So that they can share a limit; who leaves counts no more."""
    url = postgres.journal()
    one = await open_postgres(url, host="one", lease=1.0)
    two = await open_postgres(url, host="two", lease=1.0)
    await until(one, 2)
    await until(two, 2)
    await two.close()
    await until(one, 1)
    await one.close()


async def test_a_transaction_that_was_left_behind_is_ended(postgres: Postgres) -> None:
    """A machine lost its power, and the server still holds its rows: whoever connects for changes next ends it, no other's."""
    url = postgres.journal()
    journal = await open_postgres(url, host="one", lease=1.0)
    name = "application_name=compressor-watcher"
    left, lively = [await asyncio.to_thread(psycopg.connect, url, options=f"-c {name}") for _ in range(2)]
    left.execute("SELECT pg_advisory_xact_lock(1)")
    await asyncio.sleep(2.5)  # the server's clock is asked: twice the second after which it should have ended it
    lively.execute("SELECT pg_advisory_xact_lock(2)")
    other = await open_postgres(url, host="two", lease=1.0)

    with pytest.raises(psycopg.errors.AdminShutdown):
        left.execute("SELECT 1")
    assert lively.execute("SELECT 1").fetchone() == (1,)
    await journal.take([sighting()])
    for each in (left, lively):
        each.close()
    for host in (journal, other):
        await host.close()


async def test_hosts_that_are_connected_end_it_as_well(postgres: Postgres) -> None:
    """The server, which should do so, is told here never to."""
    url = postgres.journal()
    journal = await open_postgres(url, host="one", lease=1.0)
    left = await asyncio.to_thread(
        psycopg.connect, url, options="-c application_name=compressor-watcher -c idle_in_transaction_session_timeout=0"
    )
    left.execute("SELECT set_config('search_path', 'compressor_watcher', false)")
    left.execute("LOCK TABLE images")
    pid = left.info.backend_pid

    await asyncio.wait_for(journal.take([sighting()]), 60)
    assert postgres.run_sql(f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}", "postgres") == []
    left.close()
    await journal.close()


async def test_a_version_is_taken_once_whatever_its_inode_is(postgres: Postgres) -> None:
    """Another mount shows another inode and ctime; each host can deliver it, and opens what it sees itself."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    here = sighting()
    there = replace(here, observation=Observation(1_000, 1, 77, 88))
    (taken,) = await one.take([here])
    (same,) = await two.take([there])
    (image,) = await two.due(2_000.0, 10, ())

    assert same == taken == image.id
    assert image.observation == there.observation
    assert await one.due(2_000.0, 10, ()) == []
    (changed,) = await two.take([replace(here, observation=Observation(1_000, 1, 99, 88))])
    assert changed != taken
    await one.close()
    await two.close()


async def test_who_never_saw_a_file_does_not_deliver_it(postgres: Postgres) -> None:
    """Folders of one name may hold other files on other hosts."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    await one.take([sighting()])

    assert await two.due(2_000.0, 10, ()) == []
    assert len(await one.due(2_000.0, 10, ())) == 1
    await one.close()
    await two.close()


async def test_a_change_of_what_another_host_has_is_refused(postgres: Postgres) -> None:
    """Nothing is changed, and the turn is told."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    image = await take_one(one)
    await two.take([sighting()])
    await two.hashed(image.id, FACTS, TICKET)
    with pytest.raises(Fenced):
        await two.end(image.id, None, stored(image), 1_001.0)

    assert await one.end(image.id, None, stored(image), 1_001.0)
    assert (await one.last_seq(), await two.last_seq()) == (1, 0)
    await one.close()
    await two.close()


async def test_one_host_at_a_time_stores_at_a_key(postgres: Postgres) -> None:
    """The other waits until that has ended, and then finds whose the key is."""
    url, place = postgres.journal(), ("my-bucket", "k")
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    first, second = await take_one(one), await take_one(two, sighting(b"b.jpg"))
    assert await one.requested(first.id, None, place, 1_000.0)
    with pytest.raises(Unavailable, match="another host"):
        await two.requested(second.id, None, place, 1_000.0)

    await one.end(first.id, None, stored(first, None, "k"), 1_001.0)
    assert await two.requested(second.id, None, place, 1_002.0)
    await one.close()
    await two.close()


async def test_joining_and_leaving_is_said(postgres: Postgres) -> None:
    """By name, each once."""
    log = RecordedLog()
    journal = await open_postgres(postgres.journal(), host="one", events=log)
    await journal.close()

    assert [each["host"] for each in log.of(Event.CLUSTER_JOINED)] == ["one"]
    assert [each["host"] for each in log.of(Event.CLUSTER_LEFT)] == ["one"]


async def test_hosts_tell_each_other_how_the_api_stands(postgres: Postgres) -> None:
    """Each hears of the others at once, and of those alone that are alive; a host that joins anew has said nothing yet."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    called = asyncio.Event()
    two.on_call(called.set)
    assert one.peers is not None
    assert two.peers is not None
    await one.peers.tell({"phase": "open", "message": "down"})
    await asyncio.wait_for(called.wait(), 20)
    ((name, said),) = await two.peers.heard()

    assert (name, said["phase"], said["message"]) == ("one", "open", "down")
    assert 0 <= said["age"] < 60
    assert [name for name, _ in await one.peers.heard()] == ["two"]
    again = await open_postgres(url, host="one")
    assert [said.get("phase") for _, said in await two.peers.heard()] == [None]
    for each in (again, one, two):
        await each.close()


async def test_places_for_requests_are_given_out_one_behind_the_other(postgres: Postgres) -> None:
    """Whichever host asks; a server's clock that was set back makes nobody wait for hours."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two")
    assert one.peers is not None
    assert two.peers is not None
    first, second, third = (
        await one.peers.take_places(4, 1.0),
        await two.peers.take_places(2, 1.0),
        await one.peers.take_places(1, 1.0),
    )
    ahead = "UPDATE compressor_watcher.cursors SET seq = seq + 3600000000 WHERE name = 'pace'"
    postgres.run_sql(ahead, url.rpartition("/")[2])
    set_back = await two.peers.take_places(1, 1.0)
    await one.close()
    await two.close()

    assert first <= 0
    assert 2.5 < second < 4.1
    assert 4.5 < third < 6.1
    assert set_back <= 0.1


async def test_what_a_host_with_a_clock_far_ahead_put_off_is_done_when_it_is_gone(postgres: Postgres) -> None:
    """Whoever gives it up brings its images near: nobody waits for a year."""
    url = postgres.journal()
    one, two = await open_postgres(url, host="one"), await open_postgres(url, host="two", lease=1.0)
    now, ahead = time.time(), time.time() + 365 * DAY
    image = await take_one(one, sighting())
    assert await two.take([sighting()]) == [image.id]
    await one.postponed(image.id, None, Postponement(ahead + 5, 0, 1, doubt=False, reason="the API answered 500"), ahead)
    await one.close()
    assert await two.due(now + 3_600.0, 10, ()) == []
    dead = "UPDATE compressor_watcher.hosts SET alive_until = clock_timestamp() - interval '1 s' WHERE name = 'one'"
    postgres.run_sql(dead, url.rpartition("/")[2])

    async with asyncio.timeout(20):
        while not (found := await two.due(now + 60.0, 10, ())):
            await asyncio.sleep(0.05)
    assert [each.id for each in found] == [image.id]
    await two.close()


async def test_a_lease_whose_renewal_got_no_answer_swallows_no_change(postgres: Postgres) -> None:
    """The server has renewed it, and the connection was cut before it could say so: the changes that follow are made."""
    lost = asyncio.Event()
    loop = asyncio.get_running_loop()

    def loses(answer: bytes) -> bool:
        if COMMITTED not in answer or lost.is_set():
            return False
        loop.call_soon_threadsafe(lost.set)
        return True

    with TcpProxy(postgres.port) as proxy:
        url = postgres.url(postgres.journal().rpartition("/")[2], proxy.port)
        journal = await open_postgres(url, host="one", lease=0.9)
        proxy.loses = loses
        await asyncio.wait_for(lost.wait(), 20)  # nothing is to be written: it can only be the lease
        (taken,) = await journal.take([sighting()])
        (image,) = await journal.due(2_000.0, 10, ())
        await journal.close()

    assert taken == image.id


async def test_a_change_whose_fate_cannot_be_asked_at_once_is_made_once(postgres: Postgres) -> None:
    """The answer to its commit is lost, and then the answer to the question whether it went through."""
    lost: list[bytes] = []

    def loses(answer: bytes) -> bool:
        is_lost = len(lost) < 2 and (b"batch\x00" if lost else COMMITTED) in answer
        lost.extend([answer] * is_lost)
        return is_lost

    with TcpProxy(postgres.port) as proxy:
        url = postgres.url(postgres.journal().rpartition("/")[2], proxy.port)
        journal = await open_postgres(url, host="one")
        image = await take_one(journal, sighting())
        proxy.loses = loses
        is_requested = await journal.requested(image.id, None, ("bucket", "key"), 1_000.0)
        await journal.close()

    assert len(lost) == 2
    assert is_requested


async def test_a_commit_that_is_on_its_way_still_is_waited_for(postgres: Postgres) -> None:
    """The connection is cut, and the server hears the COMMIT a moment after the host is back: the change is made once."""
    held: list[bytes] = []

    def holds(sent: bytes) -> float:
        is_held = not held and b"COMMIT" in sent
        held.extend([sent] * is_held)
        return float(is_held)

    with TcpProxy(postgres.port) as proxy:
        url = postgres.url(postgres.journal().rpartition("/")[2], proxy.port)
        journal = await open_postgres(url, host="one")
        image = await take_one(journal, sighting())
        proxy.holds = holds
        is_requested = await journal.requested(image.id, None, ("bucket", "key"), 1_000.0)
        await journal.close()

    assert held
    assert is_requested
