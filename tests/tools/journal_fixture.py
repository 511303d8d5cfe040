"""Writes the small journals that later releases must be able to open: `python -m tests.tools.journal_fixture VERSION`.

One image of each kind: stored with a rendition, failed and unchanged with originals that are still to be put away, waiting, in
doubt; and a file that is ignored. To be run once at each release.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.postgres import Postgres, open_postgres, programs, server
from tests.support.records import BUCKET, FACTS, TICKET, ending, open_journal, rule, sighting, store_all, stored_object, take_one
from watcher.model import Event, IgnoredReason
from watcher.records.journal import ThreadedJournal

FIXTURES = Path(__file__).parents[1] / "fixtures" / "journals"


POSTGRES_FIXTURES = FIXTURES / "postgresql"


async def fill(journal: ThreadedJournal) -> None:
    """Take a few images to where they may be when a daemon stops."""
    await store_all(journal, await take_one(journal, sighting(b"stored.jpg", under=rule("thumb"))))
    failed = await take_one(journal, sighting(b"failed.jpg"))
    await journal.end(failed.id, None, ending(failed, Event.IMAGE_FAILED), 1_002.0)
    same = await take_one(journal, sighting(b"unchanged.jpg"))
    await journal.hashed(same.id, FACTS, TICKET)
    await journal.unchanged(same.id, None, "products/unchanged.jpg", stored_object(same, None, "products/unchanged.jpg"), 1_003.0)
    doubted = await take_one(journal, sighting(b"requested.jpg"))
    await journal.hashed(doubted.id, FACTS, TICKET)
    await journal.requested(doubted.id, None, (BUCKET, "products/requested.jpg"), 1_004.0)
    await journal.take([sighting(b"waiting.jpg")])
    ignored = sighting(b"notes.txt")
    await journal.ignore(ignored.file, ignored.observation, IgnoredReason.NOT_AN_IMAGE)
    await journal.close()


async def fill_sqlite(path: Path) -> None:
    await fill(open_journal(path))


async def fill_postgres(url: str) -> None:
    await fill(await open_postgres(url, host="scanner-1"))


def main(version: str) -> None:
    """As SQL, so that a diff shows what a release changed."""
    write_sqlite(version)
    with server() as postgres:
        write_postgres(version, postgres)


def write_postgres(version: str, postgres: Postgres) -> None:
    url, found = postgres.database(), programs()
    assert found is not None
    asyncio.run(fill_postgres(url))
    command = [found / "pg_dump", "--inserts", "--no-owner", "--no-privileges", "--no-comments", url]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in dump.splitlines() if not line.startswith(("--", "\\"))]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    POSTGRES_FIXTURES.mkdir(parents=True, exist_ok=True)
    (POSTGRES_FIXTURES / f"{version}.sql").write_text(f"{text.strip()}\n", encoding="utf-8")


def write_sqlite(version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        asyncio.run(fill_sqlite(path))
        with sqlite3.connect(path) as connection:
            pragmas = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")}
            dump = "\n".join(connection.iterdump())
        connection.close()
    FIXTURES.mkdir(parents=True, exist_ok=True)
    ends = "".join(f"PRAGMA {name} = {value};\n" for name, value in pragmas.items())
    (FIXTURES / f"{version}.sql").write_text(f"{dump}\n{ends}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
