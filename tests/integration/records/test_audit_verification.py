"""`audit verify` finds each manipulation, and nothing where there is none."""

import gzip
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.publishing import RecordedLog
from tests.support.records import open_journal, rule, sighting, store_all, take_one
from watcher.records import audit_verification as verification
from watcher.records.audit_file import AuditFile
from watcher.records.audit_verification import Verification, verify
from watcher.records.outbox import OutboxRelay
from watcher.records.queries import OutboxCursor
from watcher.records.views import JournalViews

Lines = list[bytes]


@pytest.fixture
async def audit(tmp_path: Path) -> Path:
    """An audit file of eight lines with the journal that wrote it, rotated twice: lines 1-2 compressed, 3-4, and 5-8."""
    journal = open_journal(tmp_path / "journal.db")
    path = tmp_path / "audit.jsonl"
    recorder = OutboxRelay(journal, AuditFile(path), RecordedLog())
    await recorder.start()
    for number in range(4):
        await store_all(journal, await take_one(journal, sighting(b"%d.jpg" % number, under=rule("thumb"))))
        await recorder.flush()
        if number == 0:
            path.with_name("audit.jsonl.2.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        if number == 1:
            path.rename(path.with_name("audit.jsonl.1"))
    await recorder.stop()
    await journal.close()
    return path


def check(path: Path) -> Verification:
    with JournalViews.open(path.with_name("journal.db")) as journal:
        return verify(path, journal)


def test_untouched_files_are_sound(audit: Path) -> None:
    """Across rotated and compressed files, with and without the journal, there is nothing to find."""
    for found in (check(audit), verify(audit, None)):
        assert (
            found.problems,
            found.notes,
            found.lines,
            found.first_seq,
            found.last_seq,
            len(found.files),
        ) == ((), (), 8, 1, 8, 3)
        assert found.sound


def changed(lines: Lines) -> Lines:
    return [lines[0].replace(b"saved_bytes", b"saved_bites"), *lines[1:]]


def restyled(lines: Lines) -> Lines:
    """The same JSON value in other bytes."""
    return [json.dumps(json.loads(lines[0])).encode() + b"\n", *lines[1:]]


def forged(lines: Lines) -> Lines:
    """A line between two others, with the right hash of the one before it."""
    line = json.loads(lines[1])
    return [lines[0], json.dumps({**line, "id": "forged"}).encode() + b"\n", *lines[1:]]


@pytest.mark.parametrize(
    ("manipulate", "words"),
    [
        (lambda lines: [lines[0], *lines[2:]], "lines between were removed"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "moved or written twice"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], "is there twice"),
        (changed, "that line was changed"),
        (restyled, "that line was changed"),
        (forged, "is there twice"),
        (lambda lines: [*lines, b"hello\n"], "is no line of ours"),
        (lambda lines: [*lines[:3], lines[3][:-10]], "is cut off"),
        (lambda lines: [*lines[:3], lines[3][:-1]], "is cut off"),
    ],
    ids=["removed", "reordered", "duplicated", "changed", "restyled", "added", "foreign", "torn", "no-line-feed"],
)
def test_manipulation_is_found_without_the_journal(audit: Path, manipulate: Callable[[Lines], Lines], words: str) -> None:
    """The chain alone tells."""
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join(manipulate(lines)))

    problems = verify(audit, None).problems

    assert any(words in problem for problem in problems), problems


def test_problem_names_file_and_line(audit: Path) -> None:
    """Somebody has to go and look."""
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join([lines[0], *lines[2:]]))

    (problem, *_) = verify(audit, None).problems

    assert problem.startswith("audit.jsonl, line 2: number 5 is followed by 7")


def test_removed_rotated_file_in_the_middle_is_found(audit: Path) -> None:
    """A file missing between two others is lines missing."""
    audit.with_name("audit.jsonl.1").unlink()

    (problem,) = verify(audit, None).problems

    assert "number 2 is followed by 5" in problem


def test_oldest_files_may_be_gone(audit: Path) -> None:
    """What rotation threw away is a note, no problem, with the journal beside it as well."""
    audit.with_name("audit.jsonl.2.gz").unlink()

    found = check(audit)

    assert (found.problems, found.first_seq) == ((), 3)
    assert "older files are not here" in found.notes[0]


def test_damaged_compressed_file_is_a_problem(audit: Path) -> None:
    """A rotated file that cannot be read is said, with its name."""
    rotated = audit.with_name("audit.jsonl.2.gz")
    rotated.write_bytes(rotated.read_bytes()[:-20])

    assert any(problem.startswith("audit.jsonl.2.gz: cannot be read") for problem in check(audit).problems)


@pytest.mark.parametrize("at_once", [1, 500])
def test_what_can_be_read_of_a_damaged_file_is_compared(audit: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines before the damage count as read: only those behind it are missing."""
    monkeypatch.setattr(verification, "AT_ONCE", at_once)
    oldest = audit.with_name("audit.jsonl.2.gz")
    oldest.write_bytes(oldest.read_bytes()[:-8])  # the check sum and the length at the end are gone

    found = check(audit)

    assert (found.lines, found.first_seq, len(found.problems)) == (8, 1, 1)
    assert "audit.jsonl.2.gz: cannot be read to its end" in found.problems[0]


@pytest.mark.parametrize(
    ("suffix", "says"), [(".zst", "the program zstd is not here; install it"), (".lz4", "its compression is not known here")]
)
def test_a_compression_that_is_not_known_is_said_and_nobody_accused(
    audit: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, says: str
) -> None:
    """Its lines are not missing and were not deleted: they cannot be read."""
    monkeypatch.setenv("PATH", "/nowhere")
    audit.with_name("audit.jsonl.2.gz").rename(audit.with_name(f"audit.jsonl.2{suffix}"))

    found = check(audit)

    assert [problem.partition(":")[0] for problem in found.problems] == [f"audit.jsonl.2{suffix}"]
    assert f"cannot be read: {says}" in found.problems[0]
    assert "deleted" not in str(found)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs zstd (a Debian package)")
def test_zstandard_is_read_with_its_program(audit: Path) -> None:
    """As the other kinds; one that is damaged is said."""
    before = check(audit)
    oldest = audit.with_name("audit.jsonl.2.gz")
    plain = gzip.decompress(oldest.read_bytes())
    oldest.unlink()
    zst = audit.with_name("audit.jsonl.2.zst")
    zst.write_bytes(subprocess.run(["zstd", "-cq"], input=plain, capture_output=True, check=True).stdout)
    found = check(audit)
    assert (found.problems, found.notes, found.lines) == (before.problems, before.notes, before.lines)

    zst.write_bytes(zst.read_bytes()[:-20])
    assert "audit.jsonl.2.zst: cannot be read to its end: " in check(audit).problems[0]


def test_lines_that_are_written_meanwhile_are_not_missing(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon goes on: what it has noted as written after the files were looked for is no line that somebody took away."""
    content = audit.read_bytes()
    audit.write_bytes(b"")
    listed = verification.audit_files

    def listed_before_it_was_written(path: Path) -> list[Path]:
        found = listed(path)
        audit.write_bytes(content)
        return found

    monkeypatch.setattr(verification, "audit_files", listed_before_it_was_written)

    with JournalViews.open(audit.with_name("journal.db")) as journal:
        found = verify(audit, Behind(journal, 4))

    assert (found.problems, found.last_seq) == ((), 4)
    assert found.notes == ("not written yet, the daemon will do it: 5-8",)


class Behind:
    """A journal whose cursor moves on while the audit file is checked."""

    def __init__(self, journal: JournalViews, audited: int) -> None:
        self._journal = journal
        self._audited = audited

    def outbox_cursor(self) -> OutboxCursor:
        cursor = replace(self._journal.outbox_cursor(), audited=self._audited)
        self._audited = 8
        return cursor

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)


@pytest.mark.parametrize("by", ["renaming", "copying"])
def test_files_that_are_rotated_meanwhile_are_checked_again(audit: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that met the files half rotated says nothing of it; what is really wrong is found all the same."""
    listed, turns = verification.audit_files, [1]

    def rotated_after_it_was_listed(path: Path) -> list[Path]:
        found = listed(path)
        if turns and turns.pop():
            older = audit.with_name("audit.jsonl.1")
            older.rename(audit.with_name("audit.jsonl.3"))
            if by == "renaming":
                audit.rename(older)
            else:
                older.write_bytes(audit.read_bytes())
                audit.write_bytes(b"")
        return found

    monkeypatch.setattr(verification, "audit_files", rotated_after_it_was_listed)
    assert (check(audit).problems, check(audit).lines) == ((), 8)

    audit.with_name("audit.jsonl.3").unlink()
    assert check(audit).problems


def test_lines_missing_at_the_end_are_found_with_the_journal(audit: Path) -> None:
    """The chain cannot know what would have followed; the journal does."""
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join(lines[:2]))

    assert verify(audit, None).sound
    assert check(audit).problems == ("missing lines, by their number: 7-8",)


@pytest.mark.parametrize("at_once", [1, 3, 500])
def test_rewritten_chain_is_found_with_the_journal(audit: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who rehashes every line after his change is told by the journal, however many lines it is asked about together."""
    monkeypatch.setattr(verification, "AT_ONCE", at_once)
    from watcher.records.chain import compose, line_hash

    rewritten: Lines = []
    prev = json.loads(audit.read_bytes().splitlines()[0])["prev"]
    for line in map(json.loads, audit.read_bytes().splitlines()):
        seq = line.pop("seq")
        line.pop("prev")
        rewritten.append(compose({**line, "saved_bytes": 0}, seq, prev))
        prev = line_hash(rewritten[-1])
    audit.write_bytes(b"\n".join(rewritten) + b"\n")

    assert verify(audit, None).sound
    assert [
        f"number {number} is not what the journal says" in problem
        for number, problem in zip(range(5, 9), check(audit).problems, strict=True)
    ] == [True] * 4


def test_line_the_journal_never_wrote_is_found(audit: Path) -> None:
    """A well-made line appended by somebody else."""
    from watcher.records.chain import compose, line_hash

    last = audit.read_bytes().splitlines()[-1]
    with audit.open("ab") as file:
        file.write(compose({"event": "image.stored", "id": "forged", "rendition": None}, 9, line_hash(last)) + b"\n")

    (problem,) = check(audit).problems

    assert "the journal knows nothing of number 9" in problem


async def test_ended_output_without_a_line_is_found(audit: Path) -> None:
    """An output that has ended and has no ending written: the database allows it to nobody but a hand."""
    import sqlite3

    connection = sqlite3.connect(audit.with_name("journal.db"))
    connection.execute("DELETE FROM endings WHERE seq = 8")
    connection.commit()
    connection.close()

    assert any("has ended and has no line" in problem for problem in check(audit).problems)


async def test_endings_not_written_yet_are_a_note(audit: Path) -> None:
    """The daemon is a moment behind, or its audit disk is full: nothing is wrong with the file."""
    journal = open_journal(audit.with_name("journal.db"))
    await store_all(journal, await take_one(journal, sighting(b"new.jpg")))
    await journal.close()

    found = check(audit)

    assert (found.problems, found.notes) == ((), ("not written yet, the daemon will do it: 9",))


async def test_new_chain_after_a_deletion_is_a_note(audit: Path) -> None:
    """It was said when it happened; the lines since then are sound."""
    for each in audit.parent.glob("audit.jsonl*"):
        each.unlink()
    journal = open_journal(audit.with_name("journal.db"))
    recorder = OutboxRelay(journal, AuditFile(audit), RecordedLog())
    await recorder.start()
    await store_all(journal, await take_one(journal, sighting(b"new.jpg")))
    await recorder.stop()
    await journal.close()

    found = check(audit)

    assert (found.problems, found.first_seq, found.lines) == ((), 9, 1)
    assert "a new chain begins at number 9" in found.notes[0]


def test_no_file_at_all(tmp_path: Path) -> None:
    """Before anything has ended there is nothing to complain of."""
    found = verify(tmp_path / "audit.jsonl", None)

    assert (found.problems, found.notes, found.lines, found.first_seq) == ((), (), 0, None)
