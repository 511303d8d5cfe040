"""A database that loses the journal while hosts work with it: dropped, or dropped and made anew."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.records import BUCKET, FACTS, ROOT, lines_of, sighting, store_all
from watcher.errors import NotAnswering
from watcher.model import Event, Image
from watcher.records.audit_file import AuditFile, Disturbed
from watcher.records.outbox import OutboxRelay
from watcher.records.postgres.faults import RESTORE_SECONDS
from watcher.records.postgres.journal import PostgresJournal
from watcher.records.queries import NumberedEnding
from watcher.records.rewinds import Rewinds
from watcher.records.sightings import HostFolder

FOLDERS = {"products": HostFolder(ROOT)}
LEASE_SECONDS = 2.0
LONG_LEASE_SECONDS = 600.0


class Member:
    """A host: its journal, its audit file and what it said."""

    def __init__(self, path: Path, url: str, name: str, clock: MovedClock, lease: float = LEASE_SECONDS) -> None:
        self.audit, self.log, self.clock = path / f"{name}.jsonl", RecordedLog(), clock
        self._url, self._name, self._lease = url, name, lease

    async def open(self) -> PostgresJournal:
        means = {"audit": self.audit, "folders": FOLDERS, "events": self.log, "clock": self.clock, "lease": self._lease}
        self.journal = await open_postgres(self._url, host=self._name, **means)
        self.relay = OutboxRelay(self.journal, AuditFile(self.audit), RecordedLog())
        await self.relay.start()
        return self.journal

    async def close(self) -> None:
        await self.relay.stop()
        await self.journal.close()

    async def store(self, name: str) -> None:
        """As soon as nobody is waited for."""
        (identity,) = await self.journal.take([sighting(name.encode())])
        due: list[Image] = []
        deadline = time.monotonic() + 60
        while not due:
            assert time.monotonic() < deadline, f"{name} has nothing to do"
            due = [image for image in await self.journal.due(1e12, 100, ()) if image.id == identity]
        await store_all(self.journal, due[0])


async def until_done(changes: Sequence[asyncio.Future[Any]], clock: MovedClock) -> None:
    """Each is tried again every few seconds; the time in which the tables may come back passes faster."""
    deadline = time.monotonic() + 60
    while not all(change.done() for change in changes):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
        clock.move(RESTORE_SECONDS / 10)


async def test_a_new_journal_is_begun_without_a_restart(postgres: Postgres, tmp_path: Path) -> None:
    """After a while in which it could have been restored. Both hosts put into it what their audit files say of the store, and
    none begins anything before the other could; numbers and lines go on."""
    url, clock = postgres.database(), MovedClock()
    one, two = (Member(tmp_path, url, name, clock, LONG_LEASE_SECONDS) for name in ("one", "two"))
    for member in (one, two):
        await member.open()
        await member.store(f"{member.audit.stem}.jpg")
        await member.relay.flush()
    # a schema that is there, with nothing in it: who may not make one has it made
    postgres.run_sql("DROP SCHEMA compressor_watcher CASCADE; CREATE SCHEMA compressor_watcher", url.rpartition("/")[2])
    changes = [asyncio.ensure_future(member.journal.take([sighting(b"next.jpg")])) for member in (one, two)]
    await wait_until(lambda: all(member.log.of(Event.JOURNAL_UNAVAILABLE) for member in (one, two)))
    waited = not any(change.done() for change in changes)
    await until_done(changes, clock)
    ids = [change.result() for change in changes]
    held_back = await one.journal.due(1e12, 10, ())
    there = await one.journal.stored_at([(BUCKET, f"products/{name}.jpg-None") for name in ("one", "two")])
    clock.move(LONG_LEASE_SECONDS)
    await one.store("last.jpg")
    await one.relay.flush()
    for member in (one, two):
        await member.close()

    assert waited
    assert held_back == []
    assert ids[0] == ids[1]
    assert [each.sha1 for each in there.values()] == [FACTS.sha1] * 2
    assert [line["seq"] for line in lines_of(one.audit)] == [1, 2]
    for member in (one, two):
        (line,) = member.log.of(Event.JOURNAL_UNAVAILABLE)
        assert "pg_restore" in line["hint"]
        assert [told["message"].startswith("the database had nothing") for told in member.log.of(Event.CLUSTER_FENCED)] == [True]


async def test_a_host_that_noticed_nothing_learns_as_well(postgres: Postgres, tmp_path: Path) -> None:
    """The tables were dropped and made anew between two of its transactions; its next lines continue its audit file."""
    url, clock = postgres.database(), MovedClock()
    one = Member(tmp_path, url, "one", clock)
    await one.open()
    await one.store("first.jpg")
    await one.relay.flush()
    name = url.rpartition("/")[2]
    postgres.run_sql("ALTER SCHEMA compressor_watcher RENAME TO away", name)
    two = await open_postgres(url, host="two", lease=LEASE_SECONDS)
    await one.journal.take([sighting(b"second.jpg")])
    there = await one.journal.stored_at([(BUCKET, "products/first.jpg-None")])
    clock.move(LEASE_SECONDS)
    await one.store("second.jpg")
    await one.relay.flush()
    await one.close()
    await two.close()

    assert len(there) == 1
    assert [line["seq"] for line in lines_of(one.audit)] == [1, 2]
    assert len(one.log.of(Event.CLUSTER_FENCED)) == 1


class HangingAudit(AuditFile):
    """Its disk hangs in the middle of a write, until `goes_on` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hangs, self.goes_on = threading.Event(), threading.Event()
        self.goes_on.set()

    def append(self, endings: Sequence[NumberedEnding]) -> list[tuple[int, str | None]]:
        self.hangs.set()
        assert self.goes_on.wait(60)
        return super().append(endings)


async def lose_all_but_the_audit_file(member: Member, postgres: Postgres, url: str) -> asyncio.Future[list[str]]:
    """The tables are lost, and others have made new ones; the host finds that out. Gives its next change."""
    postgres.run_sql("ALTER SCHEMA compressor_watcher RENAME TO away", url.rpartition("/")[2])
    two = await open_postgres(url, host="two", lease=LEASE_SECONDS)
    await two.close()
    taking = asyncio.ensure_future(member.journal.take([sighting(b"third.jpg")]))
    await wait_until(lambda: member.journal.rewinds.count)
    return taking


async def test_a_line_that_is_being_written_meanwhile_counts(postgres: Postgres, tmp_path: Path) -> None:
    """Its disk hangs while the host joins the new journal, which waits for it: the next line has the next number."""
    url, clock = postgres.database(), MovedClock()
    one = Member(tmp_path, url, "one", clock)
    await one.open()
    await one.relay.stop()
    audit = HangingAudit(one.audit)
    one.relay = OutboxRelay(one.journal, audit, RecordedLog())
    await one.relay.start()
    await one.store("first.jpg")
    await one.relay.flush()
    audit.hangs.clear()
    audit.goes_on.clear()
    await one.store("second.jpg")
    await wait_until(audit.hangs.is_set)
    taking = await lose_all_but_the_audit_file(one, postgres, url)
    await asyncio.sleep(0.5)  # it would be there by now
    waited = not taking.done()
    audit.goes_on.set()
    await taking
    clock.move(LEASE_SECONDS)
    await one.store("third.jpg")
    await one.relay.flush()
    await one.close()

    assert waited
    assert files_of(one.audit) == [(1, "first.jpg"), (2, "second.jpg"), (3, "third.jpg")]


async def test_a_line_that_was_read_of_the_lost_journal_is_not_written(postgres: Postgres, tmp_path: Path) -> None:
    """The new one gives its number to another: that one is written."""
    url, clock = postgres.database(), MovedClock()
    one = Member(tmp_path, url, "one", clock)
    journal = await one.open()
    await one.store("first.jpg")
    await one.relay.flush()
    read, goes_on = asyncio.Event(), asyncio.Event()
    endings_after = journal.endings_after

    async def slowly(seq: int, limit: int) -> Sequence[NumberedEnding]:
        found = await endings_after(seq, limit)
        if found and not goes_on.is_set():
            read.set()
            await goes_on.wait()
        return found

    journal.endings_after = slowly  # type: ignore[method-assign]
    await one.store("second.jpg")
    await read.wait()
    await (await lose_all_but_the_audit_file(one, postgres, url))
    goes_on.set()
    clock.move(LEASE_SECONDS)
    await one.store("third.jpg")
    await one.relay.flush()
    await one.close()

    assert files_of(one.audit) == [(1, "first.jpg"), (2, "third.jpg")]


def files_of(audit: Path) -> list[tuple[int, str]]:
    """Numbers and names in the file."""
    return [(line["seq"], Path(line["file"]).name) for line in lines_of(audit)]


def test_a_file_that_hangs_is_not_waited_for_long(tmp_path: Path) -> None:
    """Whoever makes changes tries again, and says so."""
    rewinds = Rewinds()
    with rewinds.writing(0), pytest.raises(NotAnswering), rewinds.learning(tmp_path / "audit.jsonl", 0.0):
        pass
    with rewinds.learning(tmp_path / "audit.jsonl", 0.0):
        pass
    with pytest.raises(Disturbed), rewinds.writing(0):
        pass
    with rewinds.writing(2):
        pass


@pytest.mark.parametrize("there", ["journal (version INTEGER, least INTEGER)", "hosts (name TEXT)"])
async def test_a_restoration_under_way_is_left_alone(postgres: Postgres, tmp_path: Path, there: str) -> None:
    """However long it takes: no table is made beside those that come."""
    url, clock = postgres.database(), MovedClock()
    one = Member(tmp_path, url, "one", clock)
    await one.open()
    name = url.rpartition("/")[2]
    make = f"CREATE SCHEMA compressor_watcher; CREATE TABLE compressor_watcher.{there}"
    postgres.run_sql(f"ALTER SCHEMA compressor_watcher RENAME TO away; {make}", name)
    taking = asyncio.ensure_future(one.journal.take([sighting()]))
    await wait_until(lambda: one.log.of(Event.JOURNAL_UNAVAILABLE))
    clock.move(2 * RESTORE_SECONDS)
    await asyncio.sleep(2.0)  # a try or two
    made = postgres.run_sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'compressor_watcher'", name)
    postgres.run_sql("DROP SCHEMA compressor_watcher CASCADE; ALTER SCHEMA away RENAME TO compressor_watcher", name)
    await asyncio.wait_for(taking, 60)
    await one.close()

    assert made == [(1,)]
    assert len(one.log.of(Event.JOURNAL_RECOVERED)) == 1
