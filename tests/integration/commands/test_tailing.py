"""`tail` and `audit verify` on real files that are rotated, truncated and compressed."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands.conftest import configure
from watcher.commands.tail import Follower, tail_audit
from watcher.commands.verify import verify_audit
from watcher.config.schema import Settings
from watcher.records.chain import compose, line_hash

Captured = pytest.CaptureFixture[str]


class Writer:
    """Writes a chain of endings, as the daemon does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = 0
        self._hash: str | None = None

    def write(self, count: int = 1) -> list[int]:
        """Append so many lines; their numbers."""
        numbers = []
        for _ in range(count):
            self.seq += 1
            record = {
                "timestamp": "2026-11-22T10:42:07.123456Z",
                "event": "image.stored" if self.seq % 2 else "image.failed",
                "id": f"image-{self.seq}",
                "file": f"/srv/drop/{self.seq}.jpg",
                "rendition": None,
                **(
                    {"url": "https://b/k", "input": {"size": 2_400_000}, "output": {"size": 214_000}, "seconds": 0.84}
                    if self.seq % 2
                    else {"reason": "rejected", "message": "no\x1b[31m", "hint": "try"}
                ),
            }
            line = compose(record, self.seq, self._hash)
            self._hash = line_hash(line)
            with self.path.open("ab") as file:
                file.write(line + b"\n")
            numbers.append(self.seq)
        return numbers


@pytest.fixture
def audit(settings: Settings) -> Writer:
    settings.state_dir.mkdir()
    return Writer(settings.audit_path)


@pytest.fixture
def follower(settings: Settings) -> Iterator[Follower]:
    following = Follower(settings.audit_path)
    yield following
    following.close()


def numbers(lines: Iterator[bytes] | list[bytes]) -> list[int]:
    return [json.loads(line)["seq"] for line in lines]


def test_the_last_lines_come_first_then_each_new_one_once(audit: Writer, follower: Follower) -> None:
    """Nothing twice, nothing left out, and never a line that is not whole yet."""
    audit.write(20)

    assert numbers(follower.last(3)) == [18, 19, 20]
    assert list(follower.new()) == []
    audit.write(2)
    whole = compose({"event": "x"}, 23, None)
    with audit.path.open("ab") as file:
        file.write(whole[:10])
    assert numbers(follower.new()) == [21, 22]
    with audit.path.open("ab") as file:
        file.write(whole[10:] + b"\n")
    assert numbers(follower.new()) == [23]


@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_so_many_lines_as_asked_for(audit: Writer, follower: Follower, count: int) -> None:
    """0 is none, more than there are is all."""
    audit.write(5)

    assert len(follower.last(count)) == min(count, 5)
    audit.write()
    assert numbers(follower.new()) == [6]


def test_long_files_are_read_from_their_end(audit: Writer, follower: Follower) -> None:
    """More lines than one block of the file holds."""
    audit.write(1_200)

    assert numbers(follower.last(1_000)) == list(range(201, 1_201))


def test_it_goes_on_across_a_rotation(audit: Writer, follower: Follower) -> None:
    """Lines written to the old file after the last look, before and after its rename, and then those of the new one."""
    audit.write(2)
    follower.last(10)
    audit.write()
    audit.path.rename(f"{audit.path}.1")
    old = audit.path
    audit.path = Path(f"{old}.1")
    audit.write()
    audit.path = old
    assert numbers(follower.new()) == [3, 4]
    audit.write(2)
    assert numbers(follower.new()) == [5, 6]
    assert list(follower.new()) == []


def test_two_rotations_between_two_looks_lose_nothing(audit: Writer, follower: Follower) -> None:
    """A file that came and went, compressed even, is read where logrotate put it."""
    audit.write(2)
    follower.last(10)
    audit.path.rename(f"{audit.path}.1")
    audit.write(3)
    Path(f"{audit.path}.1").rename(f"{audit.path}.2")
    audit.path.rename(f"{audit.path}.1")
    Path(f"{audit.path}.1.gz").write_bytes(gzip.compress(Path(f"{audit.path}.1").read_bytes()))
    Path(f"{audit.path}.1").unlink()
    audit.write(1)

    assert [*numbers(follower.new()), *numbers(follower.new())] == [3, 4, 5, 6]


def test_a_copy_that_is_truncated_loses_nothing(audit: Writer, follower: Follower) -> None:
    """logrotate's copytruncate: lines that came after the last look are in the copy."""
    audit.write(4)
    follower.last(10)
    audit.write(2)
    Path(f"{audit.path}.1").write_bytes(audit.path.read_bytes())
    os.truncate(audit.path, 0)
    first = numbers(follower.new())
    audit.write(1)

    assert [*first, *numbers(follower.new()), *numbers(follower.new())] == [5, 6, 7]


def test_right_after_a_rotation_the_last_lines_are_those_of_the_old_file(audit: Writer, follower: Follower) -> None:
    """Who asks for ten lines gets ten, wherever they lie."""
    audit.write(8)
    audit.path.rename(f"{audit.path}-20261122")
    audit.write(3)

    assert numbers(follower.last(5)) == [7, 8, 9, 10, 11]


def test_a_file_that_is_not_there_yet_is_waited_for(settings: Settings, follower: Follower) -> None:
    """The first ending makes it, and is shown."""
    assert follower.last(10) == []
    assert list(follower.new()) == []
    settings.state_dir.mkdir()
    Writer(settings.audit_path).write(2)
    assert numbers(follower.new()) == [1, 2]


def test_people_get_one_readable_line_an_ending(audit: Writer, settings: Settings, capsys: Captured) -> None:
    """When, how, which file, where to or why not, what it saved; no escapes, however the message tries."""
    audit.write(2)
    assert tail_audit(settings, lines=10, form="people", follow=False) == 0

    assert capsys.readouterr().out.splitlines() == [
        "2026-11-22 10:42:07  stored      /srv/drop/1.jpg  2.4 MB -> 214.0 kB  840 ms  https://b/k",
        "2026-11-22 10:42:07  failed      /srv/drop/2.jpg  rejected: no\\x1b[31m (try)",
    ]


def test_programs_get_the_raw_lines(audit: Writer, settings: Settings, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """--json is the file's own bytes."""
    audit.write(3)
    assert tail_audit(settings, lines=2, form="json", follow=False) == 0

    assert capfdbinary.readouterr().out == b"".join(audit.path.read_bytes().splitlines(keepends=True)[1:])


# --- audit verify -----------------------------------------------------------------------------------------------------------


def test_a_sound_file_is_said_to_be_so(audit: Writer, settings: Settings, capsys: Captured) -> None:
    """Exit status 0, how many lines, which numbers, which files."""
    audit.write(3)
    assert verify_audit(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sound"], found["lines"], found["first_seq"], found["last_seq"]) == (True, 3, 1, 3)
    assert found["files"] == [str(settings.audit_path)]

    assert verify_audit(settings, as_json=False) == 0
    assert "3 lines, numbers 1 to 3: in order, none missing, none twice, none changed" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["removed", "changed", "doubled", "swapped"])
def test_each_damage_is_named_with_file_and_line(audit: Writer, settings: Settings, capsys: Captured, damage: str) -> None:
    """Exit status 1, and where to look."""
    audit.write(5)
    lines = audit.path.read_bytes().splitlines(keepends=True)
    if damage == "removed":
        del lines[2]
    elif damage == "changed":
        lines[2] = lines[2].replace(b"3.jpg", b"9.jpg")
    elif damage == "doubled":
        lines.insert(3, lines[2])
    else:
        lines[2], lines[3] = lines[3], lines[2]
    audit.path.write_bytes(b"".join(lines))

    assert verify_audit(settings, as_json=False) == 1
    output = capsys.readouterr().out
    assert "problem   audit.jsonl, line " in output
    assert "NOT SOUND" in output
    assert verify_audit(settings, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["problems"]


def test_before_the_first_ending_there_is_nothing_to_find(settings: Settings, capsys: Captured) -> None:
    """No file and no journal: nothing is missing."""
    assert verify_audit(settings, as_json=False) == 0
    assert "there is no audit file" in capsys.readouterr().out


def test_the_audit_file_may_lie_elsewhere(tmp_path: Path, capsys: Captured) -> None:
    """[log] audit is followed."""
    place = tmp_path / "logs"
    place.mkdir()
    Writer(place / "a.jsonl").write(2)
    settings = configure(tmp_path, log={"audit": str(place / "a.jsonl")})
    assert verify_audit(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == 2
