"""kill -9 at random moments: what was told to be durable is there, and every ending has its one line."""

import io
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

from tests.support.forks import fork
from tests.support.journals import SQLITE, Journals, open_journal_at
from tests.support.postgres import HOST
from tests.support.publishing import RecordedLog
from tests.support.records import lines_of
from watcher.model import ENDINGS, Event
from watcher.records.audit_file import AuditFile
from watcher.records.audit_verification import verify
from watcher.records.outbox import OutboxRelay
from watcher.records.place import JournalPlace
from watcher.records.views import JournalViews

KILLS = 10
SEED = 20_261_122


def run_and_kill(folder: Path, seed: int, lines: int, *where: str) -> list[str]:
    """Start the writer, kill it when it has said so many lines. Gives all that it said."""
    arguments = (str(folder), str(seed), *where)
    process = fork(arguments, name="journal_writer", environment=dict(os.environ), stdout=subprocess.PIPE)
    assert process.stdout is not None
    with io.TextIOWrapper(process.stdout) as output:
        said = [output.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        said += output.readlines()
    process.wait(10)
    assert said[0] == "ready\n"
    return [line.strip() for line in said if line.endswith("\n")]


async def test_killed_at_random_moments(tmp_path: Path, journal_engine: str) -> None:
    """After each of ten kills the journal is sound, nothing acknowledged is missing, and the audit file is exact."""
    path, chance = tmp_path / "journal.db", random.Random(SEED)
    where = () if journal_engine == SQLITE else (Journals.url_of(path),)
    said: list[str] = []
    for number in range(KILLS):
        said += run_and_kill(tmp_path, SEED + number, chance.randrange(2, 120), *where)
        if not where:
            check_database(path)

    log = RecordedLog()
    journal = await open_journal_at(path, events=log)
    recorder = OutboxRelay(journal, AuditFile(tmp_path / "audit.jsonl"), log)
    await recorder.start()
    await recorder.stop()
    endings = await journal.endings_after(0, 10_000_000)
    await journal.close()

    taken = {line.removeprefix("taken ") for line in said if line.startswith("taken ")}
    ended = Counter(line.removeprefix("ended ") for line in said if line.startswith("ended "))
    lines = lines_of(tmp_path / "audit.jsonl")
    assert len(ended) > KILLS
    assert set(ended.values()) == {1}
    assert set(ended) <= {ending.image_id for ending in endings}
    assert [ending.seq for ending in endings] == [line["seq"] for line in lines] == list(range(1, len(endings) + 1))
    assert len({(ending.image_id, ending.rendition) for ending in endings}) == len(endings)
    with JournalViews.at(JournalPlace(path, *where, host=HOST)) as views:
        assert verify(tmp_path / "audit.jsonl", views).sound
        assert taken <= {image.id for image in views.images()}
    assert {event for event, _ in log.lines} - set(ENDINGS) <= {Event.CLUSTER_JOINED, Event.CLUSTER_LEFT}


def check_database(path: Path) -> None:
    """The file is sound by SQLite's own full check, and no row stands alone."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
