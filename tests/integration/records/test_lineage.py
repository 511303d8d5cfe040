"""Which line of a database's history a server is on, and what a host does on another one."""

from pathlib import Path

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.publishing import RecordedLog
from tests.support.records import FACTS, ROOT, sighting, store_all, take_one
from watcher.model import Event
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.postgres import faults
from watcher.records.postgres.database import Server
from watcher.records.postgres.lineage import FormerPrimary, Line, Lineage
from watcher.records.sightings import HostFolder

FOLDERS = {"products": HostFolder(ROOT)}


@pytest.mark.parametrize(
    ("line", "left"), [(Line(7, 1), True), (Line(7, 2), False), (Line(7, 3), False), (Line(8, 1), False)], ids=str
)
def test_a_line_was_left_where_another_one_went_on_from_it(line: Line, left: bool) -> None:
    """Another database is another matter."""
    assert line.was_left(Line(7, 2)) is left


@pytest.mark.parametrize("text", ["", "7", "7 x", "7 1 2"])
def test_what_is_no_line_tells_nothing(text: str) -> None:
    """A file that a crash left behind."""
    assert Line.parse(text) is None


def test_a_server_that_was_left_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    """Also after a restart, and by every connection; the words say why, and what to do."""
    file = tmp_path / "journal-server"
    server = Server(postgres.database(), host="one", lineage=Lineage(file))
    connection = server.connect()
    first = Lineage(file).adopt(connection)
    line = Line.parse(file.read_text())
    assert line is not None
    again = Lineage(file).adopt(connection)
    file.write_text(str(Line(line.system, line.timeline + 1)))
    later = Server(server.url, host="one", lineage=Lineage(file))
    with pytest.raises(FormerPrimary) as refused:
        later.connect()
    fault = faults.refusal(refused.value)
    connection.close()

    assert (first, again) == (False, False)
    assert fault is not None
    assert "was the primary once" in fault.message
    assert "journal-server" in fault.hint
    assert not fault.passing


async def test_a_restart_on_an_older_database_puts_the_endings_back(postgres: Postgres, tmp_path: Path) -> None:
    """A host whose audit file holds more than the journal; what it then writes continues the file."""
    url, audit, log = postgres.database(), tmp_path / "audit.jsonl", RecordedLog()
    journal = await open_postgres(url, host="one", audit=audit, folders=FOLDERS)
    relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
    await relay.start()
    await store_all(journal, await take_one(journal, sighting(b"kept.jpg")))
    await relay.stop()
    await journal.close()
    name = url.rpartition("/")[2]
    postgres.run_sql(f"CREATE DATABASE {name}_backup TEMPLATE {name}", "postgres")
    journal = await open_postgres(url, host="one", audit=audit, folders=FOLDERS)
    relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
    await relay.start()
    await store_all(journal, await take_one(journal, sighting(b"lost.jpg")))
    await relay.stop()
    await journal.close()

    journal = await open_postgres(f"{url}_backup", host="one", audit=audit, folders=FOLDERS, events=log)
    relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
    await relay.start()
    there = await journal.stored_at([("my-bucket", "products/lost.jpg-None")])
    await store_all(journal, await take_one(journal, sighting(b"next.jpg")))
    await relay.stop()
    unsure = journal.is_unsure()
    last = await journal.last_seq()
    await journal.close()

    assert [told["endings"] for told in log.of(Event.CLUSTER_FENCED)] == [1]
    assert [each.sha1 for each in there.values()] == [FACTS.sha1]
    assert unsure
    assert last == 3
    assert audit.read_text().count("\n") == 3
