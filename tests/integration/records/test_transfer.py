"""A journal that is copied from SQLite to PostgreSQL and back says the same."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.records import FACTS, TICKET, image_of, open_journal, rule, sighting, store_all, take_one
from watcher.errors import Unavailable
from watcher.model import FailedReason, IgnoredReason, Postponement
from watcher.records import database, transfer
from watcher.records.dialect import Connection
from watcher.records.place import JournalPlace
from watcher.records.postgres import database as shared
from watcher.records.queries import OutboxCursor

TABLES = ("rules", "images", "outputs", "endings", "history", "objects", "files", "pauses", "hours", "durations", "cursors")


async def filled(path: Path) -> None:
    """A journal with something of everything."""
    journal = open_journal(path)
    await store_all(journal, await take_one(journal, sighting(b"d/stored.jpg", under=rule("thumb"))))
    waits = await take_one(journal, sighting(b"waits.jpg"))
    await journal.hashed(waits.id, FACTS, TICKET)
    await journal.postponed(waits.id, None, Postponement(1_050.0, 1, 2, False, "busy"), 1_000.0)
    asked = await take_one(journal, sighting(b"asked.jpg"))
    await journal.requested(asked.id, None, ("my-bucket", "products/asked.jpg"), 1_000.0)
    await journal.give_up(sighting(b"cut.jpg"), FailedReason.TRUNCATED, "cut", "save it again")
    note = sighting(b"note.txt")
    await journal.ignore(note.file, note.observation, IgnoredReason.NOT_AN_IMAGE, "no image")
    await journal.pauses.pause("drafts", 1_000.0)
    await journal.followers.begin("cms")
    await journal.advance_outbox(OutboxCursor(2, "hash-2", 2), [(1, None), (2, "hash-1")])
    await journal.close()


def rows_of(place: JournalPlace) -> dict[str, list[tuple[object, ...]]]:
    """All that stands in a journal, but for what tells hosts apart."""
    with closing(place.connect()) as connection:
        found = {}
        for table in transfer.TABLES:
            found[table.name] = [row for rows in table.rows(connection) for row in rows]
        return found


def copied(source: JournalPlace, target: JournalPlace) -> dict[str, int]:
    """Copy, as the command does."""
    with closing(source.connect()) as reading, closing(_opened(target)) as writing:
        return transfer.copy(reading, writing)


def _opened(place: JournalPlace) -> Connection:
    if place.is_shared:
        return shared.open_own(place.server, shared.schema())
    return database.open_own(place.path, database.schema(), 0.0).connection


async def test_there_and_back_again_is_the_same(tmp_path: Path, postgres: Postgres) -> None:
    """Numbers, links, times and bytes; but a request whose answer was awaited is in doubt, as after any stop."""
    await filled(tmp_path / "journal.db")
    here = JournalPlace(tmp_path / "journal.db")
    there = JournalPlace(Path(), postgres.database(), None, "here")
    back = JournalPlace(tmp_path / "back.db")
    counts = await asyncio.to_thread(copied, here, there)
    assert await asyncio.to_thread(copied, there, back) == counts

    before, between, after = [await asyncio.to_thread(rows_of, each) for each in (here, there, back)]
    assert set(before) == set(TABLES)
    assert all(before[name] for name in TABLES)
    for name in TABLES:
        if name != "outputs":
            assert between[name] == before[name], name
    assert after == between
    states = {row[0:5:3] for row in after["outputs"]}
    assert "requested" not in {state for _, state in states}


async def test_work_goes_on_where_it_was_copied_to(tmp_path: Path, postgres: Postgres) -> None:
    """What waited is due there, what was taken is not taken again, and endings are numbered on."""
    await filled(tmp_path / "journal.db")
    url = postgres.database()
    place = JournalPlace(Path(), url, None, "here")
    here = JournalPlace(tmp_path / "journal.db")
    await asyncio.to_thread(copied, here, place)
    with pytest.raises(Unavailable, match="not empty"):
        await asyncio.to_thread(copied, here, place)

    journal = await open_postgres(url)
    due = {image.file.relative: image for image in await journal.due(2_000.0, 10, ())}
    assert {b"waits.jpg", b"asked.jpg"} <= set(due)
    assert due[b"asked.jpg"].outputs[0].doubt
    assert due[b"waits.jpg"].facts == FACTS
    (same,) = await journal.take([sighting(b"waits.jpg")])
    assert same == due[b"waits.jpg"].id
    before = await journal.last_seq()
    await store_all(journal, await image_of(journal, (await journal.take([sighting(b"new.jpg")]))[0]))
    assert await journal.last_seq() == before + 1
    assert (await journal.totals()).failed == 1
    await journal.close()
