"""The tables of a shared journal are made and brought up to date by one host, whichever comes first, beside hosts that work."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.records import sighting, store_all, take_one
from watcher.errors import Unavailable
from watcher.records.database import Schema
from watcher.records.postgres import database
from watcher.records.postgres.database import Server

STEP = "CREATE TABLE made (at DOUBLE PRECISION); INSERT INTO made VALUES (1); SELECT pg_sleep(0.3)"
HOSTS = ("one", "two", "three")


def next_release(step: str = STEP) -> Schema:
    schema = database.schema()
    return replace(schema, script=f"{schema.script}; {step}", migrations=(*schema.migrations, step))


async def open_all(url: str, schema: Schema) -> None:
    """Three hosts that start in the same moment."""

    def begin(host: str) -> None:
        database.open_own(Server(url, host=host), schema).close()

    await asyncio.gather(*(asyncio.to_thread(begin, host) for host in HOSTS))


def read(postgres: Postgres, url: str, query: str) -> list[tuple[object, ...]]:
    return postgres.run_sql(query.replace("@", "compressor_watcher."), url.rpartition("/")[2])


async def test_three_that_start_at_once_make_the_tables_once(postgres: Postgres) -> None:
    """In a database that has none."""
    url = postgres.database()
    await open_all(url, next_release())
    assert read(postgres, url, "SELECT count(*) FROM @made") == [(1,)]
    assert read(postgres, url, "SELECT version, least FROM @journal") == [(database.schema().version + 1, 1)]


async def test_three_that_start_at_once_migrate_once_while_an_older_one_works(postgres: Postgres) -> None:
    """Hosts are updated one after the other: the one of the release before goes on, also after a restart."""
    url = postgres.database()
    older = await open_postgres(url, host="older")
    image = await take_one(older, sighting(b"before.jpg"))
    await open_all(url, next_release())
    await store_all(older, image)
    await older.close()
    older = await open_postgres(url, host="older")
    await store_all(older, await take_one(older, sighting(b"after.jpg")))
    await older.close()

    assert read(postgres, url, "SELECT count(*) FROM @made") == [(1,)]
    assert read(postgres, url, "SELECT count(*) FROM @endings") == [(2,)]
    assert read(postgres, url, "SELECT count(*) FROM @journal") == [(1,)]


async def test_a_migration_that_fails_changes_nothing_and_keeps_nobody_out(postgres: Postgres) -> None:
    """Half of it is none, and its lock is let go."""
    url = postgres.database()
    await open_all(url, database.schema())
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_all(url, next_release("CREATE TABLE made (at INTEGER); SELECT 1 / 0"))
    await open_all(url, database.schema())

    assert read(postgres, url, "SELECT version FROM @journal") == [(database.schema().version,)]
    assert read(postgres, url, "SELECT to_regclass('@made')") == [(None,)]
    locks = """SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
               WHERE locktype = 'advisory' AND datname = current_database()"""
    assert read(postgres, url, locks) == [(0,)]


async def test_a_release_that_the_journal_has_left_behind_is_refused(postgres: Postgres) -> None:
    """Where a migration says so; the words say what to do."""
    url = postgres.database()
    await open_all(url, database.schema())
    await open_all(url, next_release(f"UPDATE journal SET least = {database.schema().version + 1}"))
    with pytest.raises(Unavailable, match="newer version") as refused:
        await open_postgres(url, host="older")
    assert "install the newer version" in refused.value.hint
