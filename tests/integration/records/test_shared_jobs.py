"""What engines do with jobs that they share: each takes its own, and goes on with those of one that is gone."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.job_stores import SetClock, open_shared
from tests.support.postgres import Postgres
from tests.support.publishing import RecordedLog, wait_until
from tests.support.tcp_proxy import TcpProxy
from watcher.errors import Unavailable
from watcher.job_store import JobStore, NewJob
from watcher.model import Event
from watcher.records.postgres.jobs import store as store_module
from watcher.records.postgres.jobs.store import PostgresJobs

MOST = 1_000
LEASE = 30.0


class Engines:
    """Stores on one database, each with a clock and a log of its own."""

    def __init__(self, postgres: Postgres, stack: AsyncExitStack) -> None:
        self.postgres = postgres
        self.url = postgres.database()
        self.stack = stack
        self.clocks: dict[str, SetClock] = {}
        self.logs: dict[str, RecordedLog] = {}

    async def open(self, name: str, *, port: int | None = None, close: bool = True) -> PostgresJobs:
        self.clocks[name], self.logs[name] = SetClock(), RecordedLog()
        url = self.url if port is None else self.postgres.url(self.url.rpartition("/")[2], port)
        store = await open_shared(url, self.clocks[name], name=name, lease=LEASE, log=self.logs[name])
        if close:
            self.stack.push_async_callback(store.close)
        return store

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return self.postgres.run_sql(statement.replace("@", "compressor_watcher_engine."), self.url.rpartition("/")[2])

    async def fence(self, name: str, by: str, store: JobStore) -> None:
        """`name` was not heard of for longer than its lease, and `by` finds that."""
        self.sql(f"UPDATE @engines SET alive_until = now() - interval '1 s' WHERE name = '{name}'")
        self.clocks[by].move(2 * LEASE)
        await store.claim(0)
        assert [line["host"] for line in self.logs[by].of(Event.CLUSTER_FENCED)] == [name]


@pytest.fixture
async def engines(postgres: Postgres) -> AsyncIterator[Engines]:
    async with AsyncExitStack() as stack:
        yield Engines(postgres, stack)


async def add(store: JobStore, *names: str, webhook: str | None = None) -> None:
    for name in names:
        await store.add(NewJob(name, {}, "https://engine", webhook), MOST)


async def test_each_job_is_taken_by_one(engines: Engines) -> None:
    """However many ask at once; any of them says how it stands."""
    stores = [await engines.open(name) for name in ("one", "two", "three")]
    await add(stores[0], *(f"{number}" for number in range(60)))

    async def work(store: JobStore) -> list[str]:
        taken = []
        while jobs := await store.claim(2):
            for job in jobs:
                assert await store.end(job, "completed", {"url": job.id})
                taken.append(job.id)
        return taken

    taken = await asyncio.gather(*(work(store) for store in stores))
    assert sorted(itertools.chain(*taken)) == sorted(f"{number}" for number in range(60))
    assert {(await stores[2].find(f"{number}")).status for number in range(60)} == {"completed"}  # type: ignore[union-attr]


async def test_a_damaged_request_holds_up_no_other(engines: Engines) -> None:
    """It is given out as none at all, and whoever gets it fails it."""
    store = await engines.open("one")
    await add(store, "a", "b")
    engines.sql("UPDATE @jobs SET request = 'no JSON' WHERE id = 'a'")
    assert [(job.id, job.request) for job in await store.claim(2)] == [("a", None), ("b", {})]


async def test_others_hear_of_a_new_job_at_once(engines: Engines) -> None:
    """And not at the next look only."""
    one, two = await engines.open("one"), await engines.open("two")
    await asyncio.sleep(0)
    heard = asyncio.Event()
    two.woken = heard.set
    await asyncio.sleep(0.3)
    heard.clear()
    await add(one, "a")
    await asyncio.wait_for(heard.wait(), 1.5)


async def test_a_lost_engines_late_word_changes_nothing(engines: Engines) -> None:
    """Its job goes on elsewhere under another number; it is told that the job is gone, and joins again."""
    lost, other = await engines.open("lost"), await engines.open("other")
    await add(lost, "a")
    (job,) = await lost.claim(1)
    await engines.fence("lost", "other", other)
    (again,) = await other.claim(1)

    assert (again.id, again.starts) == ("a", 1)
    engines.clocks["lost"].move(LEASE)
    assert not await lost.holds(job)
    assert not await lost.end(job, "completed", {"url": "late"})
    await lost.requeue(job)
    assert (await other.find("a")).status == "processing"  # type: ignore[union-attr]
    assert await other.end(again, "completed", {"url": "right"})
    assert (await lost.find("a")).answer == {"url": "right"}  # type: ignore[union-attr]
    assert [line["host"] for line in engines.logs["lost"].of(Event.CLUSTER_FENCED)] == ["lost"]
    await add(other, "b")
    assert [each.id for each in await lost.claim(1)] == ["b"]


async def test_a_lost_engines_calls_are_made_by_others(engines: Engines) -> None:
    """With the same id; whatever the lost one says of them later counts no more."""
    lost, other = await engines.open("lost"), await engines.open("other")
    await add(lost, "a", webhook="https://hook")
    (job,) = await lost.claim(1)
    assert await lost.end(job, "completed", {})
    (call,), _ = await lost.claim_calls(1)
    assert await other.claim_calls(1) == ([], None)
    await engines.fence("lost", "other", other)
    (again,), _ = await other.claim_calls(1)

    await lost.delivered(call)
    await lost.try_again(call, 0.0)
    assert (again.id, again.tries) == (call.id, 0)
    assert engines.sql("SELECT webhook_tries, calling IS NULL FROM @jobs") == [(0, False)]
    await other.delivered(again)
    assert await lost.claim_calls(1) == ([], None)


async def test_a_restart_takes_over_at_once(engines: Engines) -> None:
    """The same state folder: the process that worked there is gone. What it had begun counts as begun."""
    killed = await engines.open("one", close=False)
    await add(killed, "a")
    await killed.claim(1)
    restarted = await engines.open("one")
    assert [(job.id, job.starts) for job in await restarted.claim(1)] == [("a", 1)]
    await killed.close()


async def test_a_stop_gives_back_what_was_begun(engines: Engines) -> None:
    """To others, who are told, as if it had not been begun."""
    stopping, other = await engines.open("stopping", close=False), await engines.open("other")
    await add(stopping, "a", "b", webhook="https://hook")
    job, _ = await stopping.claim(2)
    await stopping.end(job, "completed", {})
    await stopping.claim_calls(1)
    await stopping.close()

    assert [(job.id, job.starts) for job in await other.claim(9)] == [("b", 0)]
    (call,), _ = await other.claim_calls(9)
    assert call.id == "a"
    assert engines.sql("SELECT name FROM @engines") == [("other",)]
    assert len(engines.logs["stopping"].of(Event.CLUSTER_LEFT)) == 1


async def test_the_number_of_open_jobs_is_of_all(engines: Engines) -> None:
    """Two engines take on twice as many as one."""
    one = await engines.open("one")
    await engines.open("two")
    engines.clocks["one"].move(LEASE)
    await one.claim(0)
    for name in ("a", "b"):
        await one.add(NewJob(name, {}, ""), 1)
    with pytest.raises(Exception, match="full"):
        await one.add(NewJob("c", {}, ""), 1)


async def test_outputs_are_had_by_all(engines: Engines, tmp_path: Path) -> None:
    """Also large ones, and anew in place of what was there; until their time has come."""
    one, two = await engines.open("one"), await engines.open("two")
    content = bytes(range(256)) * 10_000
    (tmp_path / "output").write_bytes(b"of a run that was killed" * 200_000)
    await one.put_file("1800003600", "a/x.jpg", tmp_path / "output")
    (tmp_path / "output").write_bytes(content)
    await one.put_file("1800003600", "a/x.jpg", tmp_path / "output")
    assert await two.get_file("1800003600", "a/x.jpg", tmp_path / "had")
    assert (tmp_path / "had").read_bytes() == content
    assert not await two.get_file("1800003601", "a/x.jpg", tmp_path / "none")
    engines.clocks["two"].time += 3_601
    await two.forget_old()
    assert engines.sql("SELECT count(*) FROM @files") == [(0,)]


async def test_a_database_that_is_away_costs_time_only(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """New jobs are refused, an ending waits and is written down when it is back; it is said once, and so is the recovery."""
    monkeypatch.setattr(store_module, "PATIENCE_SECONDS", 0.5)
    with TcpProxy(engines.postgres.port) as proxy:
        store, beside = await engines.open("one", port=proxy.port), await engines.open("two")
        log = engines.logs["one"]
        await add(store, "a")
        (job,) = await store.claim(1)
        proxy.swallow()
        ending = asyncio.ensure_future(store.end(job, "completed", {}))
        with pytest.raises(Unavailable):
            await add(store, "b")
        await wait_until(lambda: log.of(Event.JOURNAL_UNAVAILABLE), 30)
        with pytest.raises(Unavailable):
            await store.find("a")
        assert not ending.done()
        proxy.flow()
        assert await ending
        await wait_until(lambda: log.of(Event.JOURNAL_RECOVERED), 30)
        await add(store, "c")
        assert (await beside.find("a")).status == "completed"  # type: ignore[union-attr]
        assert await beside.find("b") is None
    assert len(log.of(Event.JOURNAL_UNAVAILABLE)) == 1


async def test_a_database_that_takes_no_changes_is_away(engines: Engines) -> None:
    """As a standby is; a new connection is tried each time, since another server may have taken over."""
    store, name = await engines.open("one"), engines.url.rpartition("/")[2]
    await add(store, "a")
    engines.postgres.run_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on", "postgres")
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    engines.postgres.run_sql(cut, "postgres")
    claiming = asyncio.ensure_future(store.claim(1))
    await wait_until(lambda: engines.logs["one"].of(Event.JOURNAL_UNAVAILABLE), 30)
    engines.postgres.run_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only", "postgres")
    assert [job.id for job in await claiming] == ["a"]


async def test_a_newer_schema_is_refused(engines: Engines) -> None:
    """By its own words; one that this release can work with is used."""
    await (await engines.open("one", close=False)).close()
    engines.sql("UPDATE @journal SET version = version + 1")
    await (await engines.open("one", close=False)).close()
    engines.sql("UPDATE @journal SET least = version")
    with pytest.raises(Unavailable, match="newer version"):
        await engines.open("one", close=False)


async def test_a_number_that_is_another_engines_by_now_holds_nothing(engines: Engines) -> None:
    """A server that took over without the last commits gives numbers out again: the first who had it joins anew."""
    store = await engines.open("one")
    await add(store, "a")
    (before,) = await store.claim(1)
    engines.sql("UPDATE @engines SET instance = 'another'")
    assert await store.claim(1) == []
    await add(store, "b")
    (after,) = await store.claim(1)

    assert after.holder != before.holder
    assert [line["host"] for line in engines.logs["one"].of(Event.CLUSTER_FENCED)] == ["one"]


async def test_tables_that_are_lost_are_made_anew(engines: Engines) -> None:
    """What was in them is gone; the engine goes on by itself, after a while in which they could have been restored."""
    store = await engines.open("one")
    await add(store, "lost")
    engines.sql("DROP SCHEMA compressor_watcher_engine CASCADE")
    log = engines.logs["one"]

    def goes_on() -> bool:
        engines.clocks["one"].move(0.5)
        return bool(log.of(Event.JOURNAL_RECOVERED))

    await wait_until(goes_on)
    await add(store, "last")

    assert [job.id for job in await store.claim(10)] == ["last"]
    assert await store.find("lost") is None
    assert len(log.of(Event.JOURNAL_UNAVAILABLE)) == 1
