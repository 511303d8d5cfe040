"""A full disk costs time and nothing else: the pause, the one line, the recovery line, the work going on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.support.disks import SmallDisk
from tests.support.journals import open_journal_at
from tests.support.publishing import RecordedLog, wait_until
from tests.support.records import lines_of, open_journal, sighting, store_all, take_one
from watcher.errors import Unavailable
from watcher.model import ENDINGS, Event
from watcher.records import outbox as outbox_module
from watcher.records import threads as threads_module
from watcher.records.audit_file import AuditFile
from watcher.records.chain import line_hash
from watcher.records.journal import ThreadedJournal
from watcher.records.outbox import OutboxRelay
from watcher.records.queries import OutboxCursor

MANY = [sighting(b"directory-%d/a-file-with-a-rather-long-name-%d.jpg" % (number, number)) for number in range(2_000)]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries come quickly; nothing else is different."""
    monkeypatch.setattr(threads_module, "MAX_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(outbox_module, "MAX_BACKOFF_SECONDS", 0.1)


@pytest.mark.journals("sqlite", reason="the file is on the full disk")
class TestJournal:
    async def test_callers_wait_until_there_is_room(self, small_disk: SmallDisk) -> None:
        """On a full disk changes wait, said once; with room they are made, said once; none is lost."""
        log = RecordedLog()
        journal = open_journal(small_disk.path / "journal.db", events=log)
        small_disk.fill()
        taking = asyncio.create_task(journal.take(MANY))
        await wait_until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))
        await asyncio.sleep(0.5)  # several tries
        blocked = not taking.done() and journal.alive()

        small_disk.free()
        identities = await asyncio.wait_for(taking, 60)

        (told,) = log.of(Event.JOURNAL_UNAVAILABLE)
        assert blocked
        assert "full" in told["message"]
        assert "make room" in told["hint"]
        assert 1 == len(log.of(Event.JOURNAL_RECOVERED))
        assert 2_000 == len(set(identities)) == (await journal.totals()).waiting
        await journal.close()

    async def test_questions_are_answered_meanwhile(self, small_disk: SmallDisk) -> None:
        """Who only reads does not wait for the disk."""
        log = RecordedLog()
        journal = open_journal(small_disk.path / "journal.db", events=log)
        await take_one(journal)
        small_disk.fill()
        taking = asyncio.create_task(journal.take(MANY))
        await wait_until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))

        assert 1 == (await asyncio.wait_for(journal.totals(), 20)).waiting

        small_disk.free()
        await asyncio.wait_for(taking, 60)
        await journal.close()

    async def test_closing_on_a_full_disk_tells_who_waits(self, small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stop does not hang: what could not be written is told, and the journal stays sound for the next start."""
        from watcher.records import journal as journal_module

        monkeypatch.setattr(journal_module, "CLOSE_PATIENCE_SECONDS", 0.3)
        log = RecordedLog()
        journal = open_journal(small_disk.path / "journal.db", events=log)
        await take_one(journal)
        small_disk.fill()
        taking = asyncio.create_task(journal.take(MANY))
        await wait_until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))

        await journal.close()

        with pytest.raises(Unavailable, match="could not be written"):
            await taking
        small_disk.free()
        journal = open_journal(small_disk.path / "journal.db")
        assert 1 == (await journal.totals()).waiting
        await journal.close()

    async def test_no_room_at_the_start_is_one_clear_error(self, small_disk: SmallDisk) -> None:
        """Where not even the journal can be made, the error says so; with room it opens."""
        small_disk.fill()

        with pytest.raises(Unavailable, match=r"full|No space"):
            open_journal(small_disk.path / "journal.db")

        small_disk.free()
        await open_journal(small_disk.path / "journal.db").close()


class TestAudit:
    @pytest.fixture
    async def service(
        self, small_disk: SmallDisk, tmp_path: Path
    ) -> AsyncIterator[tuple[ThreadedJournal, OutboxRelay, RecordedLog]]:
        """The audit file on the small disk, the journal elsewhere."""
        log = RecordedLog()
        journal = await open_journal_at(tmp_path / "journal.db", events=log)
        recorder = OutboxRelay(journal, AuditFile(small_disk.path / "audit.jsonl"), log)
        await recorder.start()
        yield journal, recorder, log
        await recorder.stop()
        await journal.close()

    @pytest.mark.parametrize("leave", [0, 4096])
    async def test_log_goes_on_and_lines_follow(
        self, small_disk: SmallDisk, service: tuple[ThreadedJournal, OutboxRelay, RecordedLog], leave: int
    ) -> None:
        """While the audit file takes nothing the log has every ending once; with room every line is there once, in order."""
        journal, recorder, log = service
        audit = small_disk.path / "audit.jsonl"
        await make_endings(journal, 0, 5)
        await recorder.flush()
        small_disk.fill(leave)
        await make_endings(journal, 5, 25)
        await wait_until(lambda: len(told(log)) == 25)
        torn = not audit.read_bytes().endswith(b"\n")
        small_disk.free()
        await wait_until(lambda: len(lines_of(audit)) == 25)
        await make_endings(journal, 25, 26)
        await recorder.flush()

        raw = audit.read_bytes().splitlines()
        assert not torn
        assert list(range(1, 27)) == [line["seq"] for line in lines_of(audit)]
        assert [None, *map(line_hash, raw[:-1])] == [line["prev"] for line in lines_of(audit)]
        assert [line["id"] for line in lines_of(audit)] == told(log)
        assert ["audit"] == [fields["what"] for fields in log.of(Event.JOURNAL_UNAVAILABLE)]
        assert ["audit"] == [fields["what"] for fields in log.of(Event.JOURNAL_RECOVERED)]

    async def test_restart_on_a_full_disk_repeats_nothing(
        self, small_disk: SmallDisk, service: tuple[ThreadedJournal, OutboxRelay, RecordedLog]
    ) -> None:
        """Endings told while the audit file took nothing are not told again by the next start; their lines still follow."""
        journal, recorder, log = service
        audit = small_disk.path / "audit.jsonl"
        small_disk.fill()
        await make_endings(journal, 0, 3)
        await wait_until(lambda: len(told(log)) == 3)
        await recorder.stop()
        small_disk.free()
        again = OutboxRelay(journal, AuditFile(audit), log)
        await again.start()
        await again.stop()

        assert 3 == len(told(log)) == len(lines_of(audit))

    async def test_neither_a_stop_nor_a_start_waits_for_a_journal_that_takes_nothing(
        self, service: tuple[ThreadedJournal, OutboxRelay, RecordedLog], small_disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was written down and could not be noted is noted by the next start; no line stands there twice."""
        journal, recorder, log = service
        audit = small_disk.path / "audit.jsonl"

        with monkeypatch.context() as patched:
            patched.setattr(outbox_module, "PATIENCE_SECONDS", 0.1)
            patched.setattr(journal, "advance_outbox", never)
            await make_endings(journal, 0, 3)
            await wait_until(lambda: audit.exists() and len(lines_of(audit)) > 0)
            await asyncio.wait_for(recorder.stop(), 20)
            again = OutboxRelay(journal, AuditFile(audit), log)
            await asyncio.wait_for(again.start(), 20)
            await asyncio.wait_for(again.stop(), 20)
        again = OutboxRelay(journal, AuditFile(audit), log)
        await again.start()
        await again.stop()

        assert [1, 2, 3] == [line["seq"] for line in lines_of(audit)]


class TestRights:
    async def test_missing_folder_of_the_audit_file(self, tmp_path: Path) -> None:
        """The file cannot be made: said once with the path, and made when it can be."""
        log = RecordedLog()
        journal = await open_journal_at(tmp_path / "journal.db", events=log)
        audit = tmp_path / "missing" / "audit.jsonl"
        recorder = OutboxRelay(journal, AuditFile(audit), log)
        await recorder.start()
        await make_endings(journal, 0, 2)
        await wait_until(lambda: len(told(log)) == 2)
        audit.parent.mkdir()
        await wait_until(lambda: audit.exists() and len(lines_of(audit)) == 2)

        (said,) = log.of(Event.JOURNAL_UNAVAILABLE)
        assert str(audit) in said["message"]
        await recorder.stop()
        await journal.close()


async def never(_: OutboxCursor, __: Sequence[tuple[int, str | None]]) -> None:
    """A journal without room."""
    await asyncio.Event().wait()


async def make_endings(journal: ThreadedJournal, first: int, last: int) -> None:
    for number in range(first, last):
        await store_all(journal, await take_one(journal, sighting(b"%d.jpg" % number)))


def told(log: RecordedLog) -> list[str]:
    return [fields["id"] for event, fields in log.lines if event in ENDINGS]
