"""The audit file through everything that happens to log files: torn ends, rotation, truncation, deletion."""

import asyncio
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.publishing import RecordedLog, wait_until
from tests.support.records import lines_of, open_journal, rule, sighting, store_all, take_one
from watcher.model import ENDINGS, Event
from watcher.records import outbox as outbox_module
from watcher.records.audit_file import AuditFile
from watcher.records.chain import line_hash
from watcher.records.outbox import OutboxRelay
from watcher.records.queries import OutboxCursor
from watcher.records.sqlite_journal import SqliteJournal


class Service:
    """A journal and its recorder, as the daemon runs them; endings are made on demand."""

    def __init__(self, folder: Path) -> None:
        self.audit = folder / "audit.jsonl"
        self.path = folder / "journal.db"
        self.log = RecordedLog()
        self.count = 0
        self.unread: list[asyncio.Future[None]] | None = None
        """Where there is a list, lines are read when the test says so."""
        self.journal: SqliteJournal
        self.recorder: OutboxRelay

    async def start(self) -> None:
        self.journal = open_journal(self.path, events=self.log)
        self.recorder = OutboxRelay(self.journal, AuditFile(self.audit), self.log, self.log_written)
        await self.recorder.start()

    def log_written(self) -> asyncio.Future[None] | None:
        if self.unread is None:
            return None
        self.unread.append(asyncio.get_running_loop().create_future())
        return self.unread[-1]

    def read(self) -> None:
        """Read what nobody did, and from now on each line at once."""
        for line in self.unread or ():
            line.set_result(None)
        self.unread = None

    async def stop(self) -> None:
        await self.recorder.stop()
        await self.journal.close()

    async def make_endings(self, count: int = 1) -> None:
        """As many images stored, and written down."""
        for _ in range(count):
            self.count += 1
            await store_all(self.journal, await take_one(self.journal, sighting(b"%d.jpg" % self.count)))
        await self.recorder.flush()

    def told(self) -> list[str]:
        """The ids of the endings in the log."""
        return [fields["id"] for event, fields in self.log.lines if event in ENDINGS]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    made = Service(tmp_path)
    await made.start()
    yield made
    await made.stop()


def assert_whole(files: list[Path], last: int) -> None:
    """These files, read one after the other, hold every number once, in order, in one chain."""
    raw = [line for path in files for line in content_of(path).splitlines()]
    lines = [json.loads(line) for line in raw]

    assert list(range(1, last + 1)) == [line["seq"] for line in lines]
    assert [None, *(line_hash(line) for line in raw[:-1])] == [line["prev"] for line in lines]


def content_of(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


class TestLines:
    async def test_each_ending_is_one_line_in_order(self, service: Service) -> None:
        """The audit line is the log's object with `seq` and `prev`; audit and log hold the same, in the same order."""
        await store_all(service.journal, await take_one(service.journal, sighting(under=rule("thumb", "large"))))
        await service.make_endings(3)

        lines = lines_of(service.audit)
        stripped = [{name: value for name, value in line.items() if name not in ("seq", "prev", "event")} for line in lines]
        assert_whole([service.audit], 6)
        assert [fields for event, fields in service.log.lines if event in ENDINGS] == stripped
        assert [line["rendition"] for line in lines] == [None, "thumb", "large", None, None, None]

    async def test_endings_are_followed(self, service: Service) -> None:
        """Nobody has to ask: an ending is written down soon after it was committed."""
        await store_all(service.journal, await take_one(service.journal))

        await wait_until(lambda: len(lines_of(service.audit)) == 1)

    async def test_group_may_read_it(self, service: Service) -> None:
        """Who audits is seldom who runs the service; nobody else reads it, whatever the umask was."""
        assert oct(service.audit.stat().st_mode & 0o777) == "0o640"

    async def test_restart_continues_the_chain(self, service: Service) -> None:
        """A restart writes nothing twice, to the file or to the log."""
        await service.make_endings(2)
        await service.stop()
        await service.start()
        await service.make_endings(1)

        assert_whole([service.audit], 3)
        assert len(service.told()) == 3

    async def test_a_line_is_told_when_it_is_read(self, service: Service) -> None:
        """A process that is killed before anybody read its lines tells them again; once they are read, no more."""
        service.unread = []
        await service.make_endings(2)
        before = await service.journal.outbox_cursor()
        service.read()
        await service.stop()
        await service.start()

        assert (before.audited, before.logged) == (2, 0)
        assert (await service.journal.outbox_cursor()).logged == 2
        assert len(service.told()) == 2

    async def test_a_stop_tells_again_what_nobody_read(self, service: Service) -> None:
        """It waits a moment for the reader, and the next start says the lines once more."""
        service.unread = []
        await service.make_endings(2)
        await service.stop()
        service.unread = None
        await service.start()
        await service.recorder.flush()

        assert len(service.told()) == 4
        assert_whole([service.audit], 2)


class TestRepair:
    @pytest.mark.parametrize("left", [1, 100, -1])
    async def test_torn_last_line_is_written_again(self, service: Service, left: int) -> None:
        """What a crash left of a line is cut off, and the line is written whole."""
        await service.make_endings(3)
        await service.stop()
        whole = service.audit.read_bytes()
        start = whole[:-1].rfind(b"\n") + 1
        with service.audit.open("r+b") as file:
            file.truncate(start + left if left > 0 else len(whole) + left)

        await service.start()

        assert whole == service.audit.read_bytes()

    async def test_missing_last_lines_are_written_again(self, service: Service) -> None:
        """Lines that the disk lost come back from the journal, byte for byte, and are not told again."""
        await service.make_endings(5)
        await service.stop()
        whole = service.audit.read_bytes()
        with service.audit.open("r+b") as file:
            file.truncate(whole.index(b"\n") + 1)

        await service.start()

        assert whole == service.audit.read_bytes()
        assert len(service.told()) == 5

    async def test_holes_are_written_again(self, service: Service) -> None:
        """A file whose end the disk filled with zeros (power loss) is repaired from the last sound line."""
        await service.make_endings(3)
        await service.stop()
        whole = service.audit.read_bytes()
        with service.audit.open("r+b") as file:
            file.seek(whole[:-1].rfind(b"\n") + 20)
            file.write(b"\0" * 5_000)

        await service.start()

        assert whole == service.audit.read_bytes()

    async def test_line_written_but_not_noted_is_not_written_twice(self, service: Service) -> None:
        """A crash between the audit line and the journal's note of it: the line is found and kept."""
        await service.make_endings(2)
        await service.stop()
        whole = service.audit.read_bytes()
        await self._set_mark(service, 1, line_hash(whole.splitlines()[0]))

        await service.start()
        await service.make_endings(1)

        assert whole == service.audit.read_bytes()[: len(whole)]
        assert_whole([service.audit], 3)

    async def _set_mark(self, service: Service, seq: int, hashed: str) -> None:
        journal = open_journal(service.path)
        await journal.advance_outbox(OutboxCursor(seq, hashed, 2))
        await journal.close()

    async def test_foreign_line_is_left_for_verify(self, service: Service) -> None:
        """A whole line that somebody added is evidence: it stays, and our chain goes on past it."""
        await service.make_endings(1)
        await service.stop()
        with service.audit.open("ab") as file:
            file.write(b"somebody was here\n")

        await service.start()
        await service.make_endings(1)

        raw = service.audit.read_bytes().splitlines()
        assert raw[1] == b"somebody was here"
        assert line_hash(raw[0]).encode() in raw[2]


class TestRotation:
    async def test_renamed_file_is_left_and_a_new_one_begun(self, service: Service) -> None:
        """After a rename lines go to the path, and the chain goes on across the files."""
        await service.make_endings(2)
        service.audit.rename(service.audit.with_name("audit.jsonl.1"))
        await service.make_endings(2)

        assert_whole([service.audit.with_name("audit.jsonl.1"), service.audit], 4)
        assert service.log.of(Event.JOURNAL_UNAVAILABLE) == []

    async def test_reopen_makes_the_file_at_once(self, service: Service) -> None:
        """SIGHUP after a rotation: the file is there again before anything ends."""
        await service.make_endings(1)
        service.audit.rename(service.audit.with_name("audit.jsonl.1"))
        await service.recorder.reopen()

        assert service.audit.read_bytes() == b""
        assert service.log.of(Event.JOURNAL_UNAVAILABLE) == []

    async def test_compressed_file_still_ends_the_chain(self, service: Service) -> None:
        """Rotated and compressed at once, with no delay: nothing was deleted, and nothing is said."""
        await service.make_endings(2)
        rotated = service.audit.with_name("audit.jsonl-20261122.gz")
        rotated.write_bytes(gzip.compress(service.audit.read_bytes()))
        service.audit.unlink()
        await service.make_endings(1)

        assert_whole([rotated, service.audit], 3)
        assert service.log.of(Event.JOURNAL_UNAVAILABLE) == []

    async def test_line_that_a_compressor_missed_is_written_again(self, service: Service) -> None:
        """The last line went into the file after the compressor had read it: it comes first in the new file."""
        await service.make_endings(2)
        until_now = service.audit.read_bytes()
        await service.make_endings(1)
        rotated = service.audit.with_name("audit.jsonl.1.gz")
        rotated.write_bytes(gzip.compress(until_now))
        service.audit.unlink()
        await service.make_endings(1)

        assert_whole([rotated, service.audit], 4)

    async def test_lines_lost_between_copy_and_truncate_are_written_again(self, service: Service) -> None:
        """copytruncate loses what was written after the copy; the journal has it."""
        await service.make_endings(2)
        copy = service.audit.with_name("audit.jsonl.1")
        shutil.copy(service.audit, copy)
        await service.make_endings(2)
        os.truncate(service.audit, 0)
        await service.make_endings(1)

        assert_whole([copy, service.audit], 5)

    async def test_the_chain_goes_on_where_the_newest_rotated_file_cannot_be_read(
        self, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rotated while nobody ran, and compressed in a way that is not known here: the journal says where the chain stands."""
        monkeypatch.setenv("PATH", "/nowhere")
        older, newest = tmp_path / "audit.jsonl.2", tmp_path / "audit.jsonl.1.zst"
        await service.make_endings(2)
        await service.stop()
        service.audit.rename(older)
        await service.start()
        await service.make_endings(2)
        await service.stop()
        content = service.audit.read_bytes()
        service.audit.rename(newest)
        newest.write_bytes(b"compressed")
        await service.start()
        await service.make_endings(2)

        newest.unlink()
        newest.with_suffix("").write_bytes(content)
        assert_whole([older, newest.with_suffix(""), service.audit], 6)

    @pytest.mark.parametrize("way", ["create", "copytruncate", "nocreate", "compress", "dateext"])
    async def test_real_logrotate(self, service: Service, tmp_path: Path, way: str) -> None:
        """Rotations by logrotate itself, lines before, between and after: one chain, every line once."""
        if shutil.which("logrotate") is None:
            pytest.skip("logrotate is not installed")
        forms = {
            "create": "create 0640\nnocompress",
            "copytruncate": "copytruncate\nnocompress",
            "nocreate": "nocreate\nnocompress",
            "compress": "create 0640\ncompress\nnodelaycompress",
            "dateext": "create 0640\nnocompress\ndateext",
        }
        tmp_path.chmod(0o755)
        configuration = tmp_path / "logrotate.conf"
        configuration.write_text(f"{service.audit} {{\nrotate 9\nmissingok\n{forms[way]}\n}}\n")
        rounds = 1 if way == "dateext" else 3  # one name a day
        for _ in range(rounds):
            await service.make_endings(2)
            rotate(configuration, tmp_path / "logrotate.state")
            await service.make_endings(1)

        files = [each for each in tmp_path.iterdir() if each.name.startswith("audit.jsonl")]
        files.sort(key=first_number)
        assert len(files) == rounds + 1
        assert_whole(files, 3 * rounds)
        assert service.log.of(Event.JOURNAL_UNAVAILABLE) == []


class TestDeletion:
    async def test_deletion_is_said_once_and_a_new_chain_begins(self, service: Service) -> None:
        """Somebody removed the file: said once, the next line says that a chain begins, and it goes on from there."""
        await service.make_endings(2)
        service.audit.unlink()
        await service.make_endings(2)
        await service.stop()
        await service.start()
        await service.make_endings(1)

        lines = lines_of(service.audit)
        assert [(line["seq"], line["prev"] and True, line.get("chain")) for line in lines] == [
            (3, None, "new"),
            (4, True, None),
            (5, True, None),
        ]
        assert len(service.log.of(Event.JOURNAL_UNAVAILABLE)) == 1
        assert len(service.told()) == 5

    async def test_deletion_with_old_files_beside_is_said(self, service: Service) -> None:
        """An older rotated file does not hide that the newest lines were removed."""
        await service.make_endings(2)
        service.audit.rename(service.audit.with_name("audit.jsonl.1"))
        for _ in range(2):
            await service.make_endings(1)
        service.audit.unlink()
        await service.make_endings(1)

        (line,) = lines_of(service.audit)
        assert (line["seq"], line["prev"], line["chain"]) == (5, None, "new")
        assert len(service.log.of(Event.JOURNAL_UNAVAILABLE)) == 1

    async def test_deletion_while_idle_is_noticed(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing needs to end for it to be noticed."""
        monkeypatch.setattr(outbox_module, "LOOK_SECONDS", 0.05)
        await service.make_endings(1)
        service.audit.unlink()

        await wait_until(lambda: service.log.of(Event.JOURNAL_UNAVAILABLE))
        await wait_until(service.audit.exists)

    async def test_deletion_while_stopped_is_said_once(self, service: Service) -> None:
        """The same between two runs, and the run after says nothing more."""
        await service.make_endings(2)
        await service.stop()
        service.audit.unlink()
        for _ in range(2):
            await service.start()
            await service.stop()
        await service.start()
        await service.make_endings(1)

        assert [(line["seq"], line["chain"]) for line in lines_of(service.audit)] == [(3, "new")]
        assert len(service.log.of(Event.JOURNAL_UNAVAILABLE)) == 1

    async def test_file_renamed_aside_while_stopped_is_no_deletion(self, service: Service) -> None:
        """Rotation needs no running daemon."""
        await service.make_endings(2)
        await service.stop()
        service.audit.rename(service.audit.with_name("audit.jsonl.1"))
        await service.start()
        await service.make_endings(1)

        assert_whole([service.audit.with_name("audit.jsonl.1"), service.audit], 3)
        assert service.log.of(Event.JOURNAL_UNAVAILABLE) == []


def rotate(configuration: Path, state: Path) -> None:
    done = subprocess.run(
        ["logrotate", "--force", "--state", str(state), str(configuration)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def first_number(path: Path) -> int:
    return int(json.loads(content_of(path).splitlines()[0])["seq"])
