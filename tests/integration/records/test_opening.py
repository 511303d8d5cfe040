"""Opening the journal: new, old, newer, damaged, not to be had; and what is put in order at a start."""

import asyncio
import contextlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from tests.support.records import (
    BUCKET,
    DAY,
    FACTS,
    ROOT,
    TICKET,
    ending,
    image_of,
    lines_of,
    new_id,
    open_journal,
    rule,
    sighting,
    store_all,
    stored,
    take_one,
)
from watcher.errors import Unavailable
from watcher.model import Event, FailedReason, OutputState, Postponement
from watcher.records import database
from watcher.records.audit_file import AuditFile
from watcher.records.audit_verification import verify
from watcher.records.outbox import OutboxRelay
from watcher.records.retention import FIRST_PORTION, LARGEST_PORTION
from watcher.records.sqlite_journal import SqliteJournal
from watcher.records.views import JournalViews


def schema_of(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def contents_of(connection: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()


OLD = database.Schema("CREATE TABLE notes (text TEXT);")
NEW = database.Schema("CREATE TABLE notes (text TEXT, at REAL);", ("ALTER TABLE notes ADD COLUMN at REAL;",))


class TestSchema:
    def test_new_journal_has_the_newest_schema(self, tmp_path: Path) -> None:
        """It is made in one go, and nothing of an older one is replayed."""
        connection = database.open_own(tmp_path / "journal.db", NEW, 0.0).connection
        with_rows = contents_of(connection, "notes")

        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert with_rows == []
        connection.close()

    def test_older_journal_is_brought_up_to_date(self, tmp_path: Path) -> None:
        """Each migration runs once, rows stay, and the tables are those of a new journal, to the letter."""
        old, new = tmp_path / "old.db", tmp_path / "new.db"
        first = database.open_own(old, OLD, 0.0).connection
        first.execute("INSERT INTO notes VALUES ('kept')")
        first.close()
        database.open_own(old, NEW, 0.0).connection.close()
        again, fresh = database.open_own(old, NEW, 0.0).connection, database.open_own(new, NEW, 0.0).connection

        assert contents_of(again, "notes") == [("kept", None)]
        assert again.execute("PRAGMA user_version").fetchone() == (2,)
        assert schema_of(again) == schema_of(fresh)
        again.close()
        fresh.close()

    def test_command_waits_for_the_daemon_to_migrate(self, tmp_path: Path) -> None:
        """Commands change no schema beside a daemon; the message says what brings the journal up to date."""
        path = tmp_path / "journal.db"
        database.open_own(path, OLD, 0.0).connection.close()

        with pytest.raises(Unavailable, match="older version") as caught:
            database.open_beside(path, NEW.version, writable=True)

        assert "start the daemon once" in caught.value.hint

    def test_failed_migration_leaves_the_old_version(self, tmp_path: Path) -> None:
        """Half a migration is none: the file is as it was, and the error is ours."""
        path = tmp_path / "journal.db"
        database.open_own(path, OLD, 0.0).connection.close()

        with pytest.raises(Unavailable, match="no such table"):
            database.open_own(path, database.Schema("", ("CREATE TABLE more (x TEXT); INSERT INTO nowhere VALUES (1);",)), 0.0)

        connection = sqlite3.connect(path)
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        connection.close()

    async def test_newer_schema_is_refused(self, tmp_path: Path) -> None:
        """A journal of a later version is not touched; the message says what to do."""
        path = tmp_path / "journal.db"
        await open_journal(path).close()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()

        with pytest.raises(Unavailable, match="newer version") as caught:
            open_journal(path)
        with pytest.raises(Unavailable, match="newer version"):
            JournalViews.open(path)

        assert "state_dir" in caught.value.hint
        assert [path.name] == [each.name for each in tmp_path.iterdir() if "corrupt" in each.name or each == path]


class TestFile:
    async def test_file_is_private(self, tmp_path: Path) -> None:
        """Tokens stand in it: nobody else reads the journal or its companions, also where it lay open before."""
        path = tmp_path / "journal.db"
        path.touch()
        path.chmod(0o644)
        journal = open_journal(path)
        await journal.take([sighting()])

        modes = {each.name: oct(each.stat().st_mode & 0o777) for each in tmp_path.iterdir()}
        assert modes == {"journal.db": "0o600", "journal.db-wal": "0o600", "journal.db-shm": "0o600"}
        await journal.close()

    def test_commits_are_durable(self, tmp_path: Path) -> None:
        """Every commit is synced: write-ahead log and synchronous=FULL on the writing connection."""
        path = tmp_path / "journal.db"
        with contextlib.closing(database.open_own(path, database.schema(), 0.0).connection) as connection:
            settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

        assert settings == ["wal", 2]

    def test_missing_folder_is_one_clear_error(self, tmp_path: Path) -> None:
        """Where the journal cannot be made, the message names the file and the hint the folder."""
        with pytest.raises(Unavailable, match=r"journal\.db cannot be opened: No such file") as caught:
            open_journal(tmp_path / "missing" / "journal.db")

        assert str(tmp_path / "missing") in caught.value.hint

    def test_reader_needs_a_journal(self, tmp_path: Path) -> None:
        """A command on a machine where nothing ever ran says so, and makes nothing."""
        with pytest.raises(Unavailable, match="there is no journal"):
            JournalViews.open(tmp_path / "journal.db")

        assert list(tmp_path.iterdir()) == []

    async def test_nothing_is_left_open(self, tmp_path: Path) -> None:
        """Fifty times opened and closed: descriptors and threads are as before."""
        import threading

        await open_journal(tmp_path / "journal.db").close()
        before = (len(os.listdir("/proc/self/fd")), threading.active_count())
        for _ in range(50):
            journal = open_journal(tmp_path / "journal.db")
            await journal.totals()
            await journal.close()

        after = (len(os.listdir("/proc/self/fd")), threading.active_count())
        assert before[0] == after[0]
        assert after[1] <= before[1] + 1

    @pytest.mark.parametrize("damage", ["header", "foreign"])
    def test_a_file_that_cannot_be_opened_is_let_go(self, tmp_path: Path, damage: str) -> None:
        """A refused opening leaves no connection behind, not even while somebody still looks at the error."""
        path = tmp_path / "journal.db"
        path.write_bytes(b"\0" * 8192)
        spoil(path, damage)

        with pytest.raises(Unavailable) as caught:
            database.open_beside(path, 1, writable=False)

        assert "cannot be opened" in str(caught.value)
        assert open_descriptors(path) == []

    def test_a_journal_of_another_version_is_let_go(self, tmp_path: Path) -> None:
        """The same where the file is sound, and only of another version."""
        path = tmp_path / "journal.db"
        database.open_own(path, database.schema(), 0.0).connection.close()

        with pytest.raises(Unavailable, match="newer version"):
            database.open_beside(path, 0, writable=False)
        with pytest.raises(Unavailable, match="newer version"):
            open_from_the_future(path)

        assert open_descriptors(path) == []


class TestDamage:
    @pytest.mark.parametrize("damage", ["header", "pages", "foreign"])
    async def test_damaged_journal_is_set_aside(self, tmp_path: Path, damage: str) -> None:
        """A damaged file is kept for who wants to look, said, and a new journal works."""
        path = tmp_path / "journal.db"
        journal = open_journal(path)
        await journal.take([sighting(b"%d.jpg" % number) for number in range(500)])
        await journal.close()
        spoil(path, damage)
        log = RecordedLog()

        journal = open_journal(path, events=log)

        aside = [each for each in tmp_path.glob("journal.db.corrupt-*") if not each.name.endswith(("-wal", "-shm"))]
        (told,) = log.of(Event.JOURNAL_UNAVAILABLE)
        assert len(aside) == 1
        assert str(aside[0]) in told["message"]
        assert [event for event, _ in log.lines] == [Event.JOURNAL_UNAVAILABLE, Event.JOURNAL_RECOVERED]
        assert OutputState.WAITING is (await take_one(journal)).outputs[0].state
        await journal.close()

    async def test_new_journal_learns_from_the_audit_file(self, tmp_path: Path) -> None:
        """What lies in the store is known again, from rotated files as well; numbering and chain go on."""
        path, audit = tmp_path / "journal.db", tmp_path / "audit.jsonl"
        await self._two_stored_with_rotation(path, audit)
        spoil(path, "header")

        journal = open_journal(path, audit=audit, roots={"products": ROOT})
        recorder = OutboxRelay(journal, AuditFile(audit), RecordedLog())
        await recorder.start()
        await store_all(journal, await take_one(journal, sighting(b"c.jpg")))
        await recorder.stop()

        found = await journal.stored_at([(BUCKET, "products/a.jpg-None"), (BUCKET, "products/b.jpg-None")])
        assert [(b"a.jpg", FACTS.sha1, None, "0" * 40), (b"b.jpg", FACTS.sha1, None, "0" * 40)] == [
            (each.relative, each.sha1, each.rule, each.output_sha1) for each in found.values()
        ]
        assert await journal.last_seq() == 3
        assert '"seq":3,"prev":"sha256:' in audit.read_text()
        await journal.close()

    async def _two_stored_with_rotation(self, path: Path, audit: Path) -> None:
        journal = open_journal(path)
        for name in (b"a.jpg", b"b.jpg"):
            recorder = OutboxRelay(journal, AuditFile(audit), RecordedLog())
            await recorder.start()
            await store_all(journal, await take_one(journal, sighting(name)))
            await recorder.stop()
            if name == b"a.jpg":
                audit.rename(audit.with_name("audit.jsonl.1"))
        await journal.close()

    async def test_deleted_journal_is_rebuilt_once(self, tmp_path: Path) -> None:
        """A journal that somebody removed learns the same; one that is there is not asked to learn again."""
        path, audit = tmp_path / "journal.db", tmp_path / "audit.jsonl"
        await self._two_stored_with_rotation(path, audit)
        path.unlink()
        log = RecordedLog()
        for _ in range(2):
            await open_journal(path, audit=audit, roots={"products": ROOT}, events=log).close()

        assert [told["objects"] for told in log.of(Event.JOURNAL_RECOVERED)] == [2]


class TestAnOlderJournal:
    async def test_endings_that_it_lacks_are_put_back(self, tmp_path: Path) -> None:
        """A backup knows some images as open and others not at all: none of them is sent or written down again."""
        path, audit, backup = tmp_path / "journal.db", tmp_path / "audit.jsonl", tmp_path / "backup.db"
        journal = open_journal(path, audit=audit)
        relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
        await relay.start()
        await store_all(journal, await take_one(journal, sighting(b"old.jpg")))
        opened, failing = await take_one(journal, sighting(b"open.jpg")), await take_one(journal, sighting(b"failing.jpg"))
        await relay.flush()
        copy = sqlite3.connect(backup)
        with contextlib.closing(sqlite3.connect(path)) as source:
            source.backup(copy)
        copy.close()
        await store_all(journal, opened)
        await journal.end(failing.id, None, ending(failing, Event.IMAGE_FAILED), 1_002.0)
        await store_all(journal, await take_one(journal, sighting(b"new.jpg")))
        await relay.stop()
        await journal.close()
        for each in tmp_path.glob("journal.db*"):
            each.unlink()
        backup.rename(path)

        log = RecordedLog()
        journal = open_journal(path, audit=audit, roots={"products": ROOT}, events=log)
        relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
        await relay.start()
        open_ones = [image.file.relative for image in await journal.due(1e12, 100, ()) if image.open_outputs]
        there = await journal.stored_at([(BUCKET, f"products/{name}.jpg-None") for name in ("open", "new")])
        await store_all(journal, await take_one(journal, sighting(b"next.jpg")))
        await relay.stop()

        assert [told["endings"] for told in log.of(Event.JOURNAL_RECOVERED)] == [3]
        assert open_ones == []
        assert {each.relative: each.sha1 for each in there.values()} == {b"open.jpg": FACTS.sha1, b"new.jpg": FACTS.sha1}
        assert [line["seq"] for line in lines_of(audit)] == [1, 2, 3, 4, 5]
        with JournalViews.open(path) as views:
            assert verify(audit, views).problems == ()
        await journal.close()

    async def test_a_journal_that_lacks_nothing_is_left(self, tmp_path: Path) -> None:
        """Also where a rotation has just left the file empty, or away."""
        path, audit = tmp_path / "journal.db", tmp_path / "audit.jsonl"
        log = RecordedLog()
        for leave in (lambda: None, lambda: audit.rename(tmp_path / "audit.jsonl.1"), audit.touch):
            journal = open_journal(path, audit=audit, events=log)
            relay = OutboxRelay(journal, AuditFile(audit), RecordedLog())
            await relay.start()
            await store_all(journal, await take_one(journal, sighting(b"%f.jpg" % time.monotonic())))
            await relay.stop()
            await journal.close()
            leave()
        await open_journal(path, audit=audit, events=log).close()
        assert log.lines == []


class TestRecovery:
    async def test_awaited_answer_is_in_doubt_after_a_restart(self, tmp_path: Path) -> None:
        """What was requested when the process ended has to be asked for at the store first; the key stays."""
        path = tmp_path / "journal.db"
        journal = open_journal(path)
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.close()

        journal = open_journal(path)
        (output,) = (await image_of(journal, image.id)).outputs
        assert (output.state, output.doubt, output.key) == (OutputState.WAITING, True, "k")
        await journal.close()

    async def test_job_and_ticket_survive_a_restart(self, tmp_path: Path) -> None:
        """A job is polled on, and the same URL can be served again."""
        path = tmp_path / "journal.db"
        journal = open_journal(path)
        image = await take_one(journal)
        await journal.hashed(image.id, FACTS, TICKET)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.enqueued(image.id, None, "job-1", 1_000.0)
        await journal.close()

        journal = open_journal(path)
        again = await image_of(journal, image.id)
        assert (
            again.outputs[0].state,
            again.outputs[0].job_id,
            again.facts,
            again.ticket,
        ) == (OutputState.ENQUEUED, "job-1", FACTS, TICKET)
        await journal.close()

    async def test_clock_set_back_does_not_hide_work(self, tmp_path: Path) -> None:
        """What was put off under a clock that ran ahead is due after a restart, not in that far future."""
        path = tmp_path / "journal.db"
        clock = MovedClock()
        journal = open_journal(path, clock=clock)
        image = await take_one(journal)
        await journal.postponed(image.id, None, Postponement(clock.now() + 30 * DAY, 0, 1, False, "busy"), clock.now())
        await journal.close()

        journal = open_journal(path, clock=clock)
        assert [image.id] == [each.id for each in await journal.due(clock.now(), 10, ())]
        await journal.close()


class TestRetention:
    async def test_old_endings_go_and_files_stay_known(self, tmp_path: Path) -> None:
        """After `keep`, finished images and their audited endings are gone; present files and their objects are known still."""
        clock = MovedClock()
        journal = open_journal(tmp_path / "journal.db", clock=clock, keep=10 * DAY)
        recorder = OutboxRelay(journal, AuditFile(tmp_path / "audit.jsonl"), RecordedLog())
        await recorder.start()
        now = clock.now()
        for name in (b"d/here.jpg", b"d/gone.jpg"):
            await store_all(journal, await take_one(journal, sighting(name, at=now)), now)
        await journal.forget("products", {b"d/gone.jpg": sighting(b"d/gone.jpg").observation.stamp})
        await recorder.flush()
        await journal.prune(now + 9 * DAY)
        nothing_yet = (await journal.totals()).stored

        await journal.prune(now + 11 * DAY)

        places = [(BUCKET, "products/d/here.jpg-None"), (BUCKET, "products/d/gone.jpg-None")]
        assert nothing_yet == 2
        assert await journal.endings_after(0, 10) == []
        assert (await journal.totals()).stored == 0
        assert list(await journal.known("products", b"d")) == [b"here.jpg"]
        assert places[:1] == list(await journal.stored_at(places))
        assert await journal.last_seq() == 2
        await recorder.stop()
        await journal.close()

    async def test_many_old_objects_of_present_files_stay(self, tmp_path: Path) -> None:
        """More than one portion of them, and the rule that no image has any more goes."""
        journal = open_journal(tmp_path / "journal.db", keep=DAY)
        recorder = OutboxRelay(journal, AuditFile(tmp_path / "audit.jsonl"), RecordedLog())
        await recorder.start()
        await store_all(journal, await take_one(journal, sighting(b"gone.jpg", under=rule("thumb"))))
        await journal.forget("products", {b"gone.jpg": sighting(b"gone.jpg").observation.stamp})
        names = [b"%d.jpg" % number for number in range(600)]
        await journal.take([sighting(name, under=rule()) for name in names])
        await asyncio.gather(*(store_all(journal, image) for image in await journal.due(2_000.0, 1_000, ())))
        await recorder.flush()

        await journal.prune(1_000.0 + 2 * DAY)

        places = [(BUCKET, f"products/{name.decode()}-None") for name in [b"gone.jpg", *names]]
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as beside:
            (rules,) = beside.execute("SELECT count(*) FROM rules").fetchone()
        assert list(await journal.stored_at(places)) == places[1:]
        assert rules == 0
        await recorder.stop()
        await journal.close()

    async def test_the_object_of_a_file_that_was_away_and_is_back_stays(self, tmp_path: Path) -> None:
        """Its directory was moved out of the folder and in again, unchanged: what lies in the store is still that file's."""
        journal = open_journal(tmp_path / "journal.db", keep=DAY)
        seen = sighting(b"d/a.jpg")
        image = await take_one(journal, seen)
        await store_all(journal, image)
        await journal.forget("products", {b"d/a.jpg": seen.observation.stamp})
        place = (BUCKET, "products/d/a.jpg-None")
        await journal.prune(1_000.0 + DAY / 2)
        assert list(await journal.stored_at([place])) == [place]
        assert await journal.take([seen]) == [image.id]

        await journal.prune(1_000.0 + 2 * DAY)

        assert list(await journal.stored_at([place])) == [place]
        await journal.close()

    async def test_others_write_while_much_is_let_go_of(self, tmp_path: Path) -> None:
        """Between any two portions there is a turn for them, however many objects are old; nothing is held for long."""
        journal = open_journal(tmp_path / "journal.db", keep=DAY)
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as beside, beside:
            rows = ((BUCKET, f"k/{number}", b"%d.jpg" % number) for number in range(20_000))
            columns = "bucket, key, folder, relative, sha1, rule, output_sha1, at"
            beside.executemany(f"INSERT INTO objects ({columns}) VALUES (?, ?, 'products', ?, 'a', 'r', 'b', 1.0)", rows)
        pruning = asyncio.create_task(journal.prune(1_000.0 + 2 * DAY))
        waits = []
        while not pruning.done():
            began = time.monotonic()
            await journal.forget("products", {b"nothing": (1, 1, 1, 1)})
            waits.append(time.monotonic() - began)
        await pruning

        assert [] == list(await journal.stored_at([(BUCKET, f"k/{number}") for number in range(20_000)]))
        assert len(waits) >= 20_000 / LARGEST_PORTION
        assert sorted(waits)[len(waits) // 2] < 0.05
        await journal.close()

    async def test_what_holds_something_back_does_not_stop_the_rest(self, tmp_path: Path) -> None:
        """A portion in which nothing may go yet is not the end."""
        journal = open_journal(tmp_path / "journal.db", keep=DAY)
        relay = OutboxRelay(journal, AuditFile(tmp_path / "audit.jsonl"), RecordedLog())
        await relay.start()
        names = [b"%d.jpg" % number for number in range(2 * FIRST_PORTION + 10)]
        await journal.take([sighting(name) for name in names])
        for image in await journal.due(2_000.0, 1_000, ()):
            await store_all(journal, image, finished=image.file.relative in names[2 * FIRST_PORTION :])
        await relay.flush()

        await journal.prune(1_000.0 + 2 * DAY)

        assert 2 * FIRST_PORTION == len(await journal.endings_after(0, 1_000)) == await journal.open_images()
        await relay.stop()
        await journal.close()

    async def test_what_is_not_written_down_is_kept(self, tmp_path: Path) -> None:
        """An ending that the audit file lacks is not pruned, however old; nor is an image with something to come."""
        journal = open_journal(tmp_path / "journal.db", keep=DAY)
        await store_all(journal, await take_one(journal, sighting(b"unaudited.jpg")))
        await take_one(journal, sighting(b"open.jpg"))

        await journal.prune(1_000.0 + 400 * DAY)

        totals = await journal.totals()
        assert (totals.stored, totals.waiting, len(await journal.endings_after(0, 10))) == (1, 1, 1)
        await journal.close()


class TestSecondProcess:
    async def test_retry_beside_a_running_daemon(self, tmp_path: Path) -> None:
        """Another process puts failed images back; the daemon learns of it, and takes them under today's rule."""
        path = tmp_path / "journal.db"
        daemon = open_journal(path)
        failed = await daemon.give_up(sighting(b"bad.jpg"), FailedReason.TRUNCATED, "cut", "")
        await daemon.finish(failed, "kept", 1_001.0)
        await daemon.requested((await take_one(daemon, sighting(b"busy.jpg"))).id, None, (BUCKET, "k"), 1_000.0)
        daemon.changed_by_others()
        today = rule("thumb")
        command = SqliteJournal.attach(path, events=RecordedLog(), clock=MovedClock(), keep=DAY, new_id=new_id)

        made = await command.retry(None, lambda folder: today if folder == "products" else None, 2_000.0)
        await command.close()
        await wait_until(daemon.changed_by_others)

        (image,) = await daemon.due(2_000.0, 10, ())
        assert ([image.id], today, b"bad.jpg") == (made, image.rule, image.file.relative)
        assert failed != image.id
        assert (await daemon.totals()).requested == 1
        await daemon.close()

    async def test_retry_leaves_alone_what_is_not_failed_or_not_the_newest(self, tmp_path: Path) -> None:
        """Stored images, replaced versions, and folders without a rule are not retried; nor is anything twice."""
        journal = open_journal(tmp_path / "journal.db")
        old = await journal.give_up(sighting(b"a.jpg", 1), FailedReason.EMPTY, "empty", "")
        image = await take_one(journal, sighting(b"a.jpg", 2))
        await journal.end(image.id, None, stored(image), 1_001.0)
        other = await journal.give_up(sighting(b"b.jpg", under=rule(folder="other")), FailedReason.EMPTY, "empty", "")
        failed = await journal.give_up(sighting(b"c.jpg"), FailedReason.EMPTY, "empty", "")

        first = await journal.retry([old, image.id, other, failed, "nobody"], {"products": rule()}.get, 2_000.0)
        again = await journal.retry([failed], {"products": rule()}.get, 2_000.0)

        assert (len(first), again) == (1, [])
        await journal.close()

    async def test_own_changes_are_not_others(self, tmp_path: Path) -> None:
        """The daemon is not told of what it did itself."""
        journal = open_journal(tmp_path / "journal.db")
        await take_one(journal)
        await journal.totals()

        assert not journal.changed_by_others()
        await journal.close()

    async def test_the_write_ahead_log_stays_small(self, tmp_path: Path) -> None:
        """So that a small disk is never filled by it alone, however little is written at a time."""
        journal = open_journal(tmp_path / "journal.db")
        for number in range(400):
            await journal.take([sighting(b"%d.jpg" % number)])

        assert (tmp_path / "journal.db-wal").stat().st_size < 3_000_000
        await journal.close()


def open_from_the_future(path: Path) -> None:
    """Open a journal whose schema is newer than ours."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    database.open_own(path, database.schema(), 0.0)


def open_descriptors(path: Path) -> list[str]:
    """This process's open descriptors of the journal and its companions."""
    own = Path("/proc/self/fd")
    targets = [os.readlink(each) for each in own.iterdir() if each.is_symlink()]
    return [target for target in targets if target.startswith(str(path))]


def spoil(path: Path, damage: str) -> None:
    """Damage a closed journal file."""
    if damage == "header":
        with path.open("r+b") as file:
            file.write(b"\0" * 50)
    elif damage == "foreign":
        path.write_bytes(b"this is no database\n" * 1_000)
    else:
        size = path.stat().st_size
        with path.open("r+b") as file:
            for offset in range(4096, size, 8192):
                file.seek(offset)
                file.write(os.urandom(2048))
