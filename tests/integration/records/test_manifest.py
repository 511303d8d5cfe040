"""Manifests on a real disk: whole at every moment, right, and no burden to anybody else."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.publishing import MovedClock, RecordedLog
from tests.support.records import open_journal, rule
from watcher.errors import Unavailable
from watcher.model import Event, PublishedObject
from watcher.records import manifest as module
from watcher.records.bell import FolderBells
from watcher.records.manifest import Making, Manifest


class Shelf:
    """A journal's pages, from memory."""

    def __init__(self, *names: str) -> None:
        self.objects_changed = FolderBells()
        self.names = list(names)
        self.asked = 0

    async def published_page(self, folder: str, after: bytes | None, limit: int) -> tuple[list[PublishedObject], bytes | None]:
        self.asked += 1
        left = [name for name in sorted(self.names) if name.encode() > (after or b"")]
        page = left[:limit]
        return [published(name) for name in page], page[-1].encode() if len(left) > limit else None

    def add(self, *names: str) -> None:
        self.names += names
        self.objects_changed.ring("products")


def published(name: str, rendition: str | None = None) -> PublishedObject:
    facts = {
        "url": f"https://b.example/{name}",
        "at": "2026-11-22T10:42:00.000000Z",
        "output": {"size": 9, "width": 4, "height": 3},
    }
    return PublishedObject("products", name.encode("utf-8", "surrogateescape"), rendition, "b", name, facts)


def manifest_at(path: Path, shelf: Any, log: RecordedLog | None = None) -> Manifest:
    return Manifest(path, rule(root=path.parent), shelf, log or RecordedLog(), MovedClock())


async def test_json_maps_each_file_to_its_outputs(tmp_path: Path) -> None:
    """Readable for everybody, one file a line, nothing else left beside it; empty is whole as well."""
    path = tmp_path / "site.json"
    shelf = Shelf()
    manifest = manifest_at(path, shelf)
    await manifest.write()
    assert json.loads(path.read_text()) == {}

    shelf.names = ["b/ä.jpg", 'a "quoted".jpg']
    before = os.umask(0o077)
    try:
        await manifest.write()
    finally:
        os.umask(before)
    found = json.loads(path.read_text())
    assert list(found) == ['a "quoted".jpg', "b/ä.jpg"]
    (output,) = found["b/ä.jpg"]
    assert (output["url"], output["rendition"], output["width"], output["height"], output["size"]) == (
        "https://b.example/b/ä.jpg",
        None,
        4,
        3,
        9,
    )
    assert {"link", "key", "sha1", "at", "input"} <= set(output)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["site.json"]


async def test_csv_has_a_row_for_each_output(tmp_path: Path) -> None:
    """With a header row, also where there is nothing."""
    path = tmp_path / "site.csv"
    shelf = Shelf()
    await manifest_at(path, shelf).write()
    assert list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))) == []
    shelf.names = ["a,b.jpg", "line\nfeed.jpg"]
    await manifest_at(path, shelf).write()

    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert [(row["file"], row["width"]) for row in rows] == [("a,b.jpg", "4"), ("line\nfeed.jpg", "4")]


async def test_names_that_are_no_utf_8_are_exact_too(tmp_path: Path) -> None:
    """Shown as the log shows them, with `file_base64`."""
    path = tmp_path / "site.json"
    making = Making(path, csv=False)
    making.begin()
    making.add(rule(root=tmp_path), [published("caf\udce9.jpg")])
    making.put_in_place("")

    ((name, (output,)),) = json.loads(path.read_text()).items()
    assert (name, output["file_base64"]) == ("caf\\xe9.jpg", "Y2Fm6S5qcGc=")


async def test_pages_and_renditions_fit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pages make one file, in order; what the rule has no output for any more is left out."""
    monkeypatch.setattr(module, "PAGE", 7)
    shelf = Shelf(*(f"{number:03}.jpg" for number in range(50)))
    path = tmp_path / "site.json"
    await manifest_at(path, shelf).write()
    assert list(json.loads(path.read_text())) == shelf.names
    assert shelf.asked == 8

    making = Making(path, csv=False)
    making.begin()
    making.add(rule("thumb", root=tmp_path), [published("a.jpg"), published("a.jpg", "old"), published("b.jpg", "old")])
    making.put_in_place("")
    assert list(json.loads(path.read_text())) == ["a.jpg"]


async def test_written_at_once_then_at_changes_and_what_is_the_same_stays(tmp_path: Path) -> None:
    """A ring for this folder writes it; where nothing is other, the file is not touched, unless somebody took it away."""
    path, shelf = tmp_path / "site.json", Shelf("a.jpg")
    manifest = manifest_at(path, shelf)
    task = asyncio.create_task(manifest.run())
    await until(path.exists)
    inode = path.stat().st_ino
    shelf.objects_changed.ring("other")
    shelf.objects_changed.ring("products")
    await until(lambda: shelf.asked == 2)
    await asyncio.sleep(0.05)
    assert path.stat().st_ino == inode
    shelf.add("b.jpg")
    await until(lambda: "b.jpg" in json.loads(path.read_text()))
    path.unlink()
    shelf.objects_changed.ring("products")
    await until(path.exists)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Beside the manifest, and nothing else."""
    for name in (".site.json.0a1b2c3d.tmp", ".other.json.0a1b2c3d.tmp", "site.json.tmp"):
        (tmp_path / name).touch()
    await manifest_at(tmp_path / "site.json", Shelf("a.jpg")).write()

    assert sorted(os.listdir(tmp_path)) == [".other.json.0a1b2c3d.tmp", "site.json", "site.json.tmp"]


async def test_a_write_that_was_called_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    """As at a reload: the first is given up wherever it is, the second is whole, and no trouble is said."""
    log, path = RecordedLog(), tmp_path / "site.json"
    for _ in range(20):
        first = manifest_at(path, Shelf("a.jpg"), log)
        task = asyncio.create_task(first.run())
        await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await first.finish(0.0)
        await manifest_at(path, Shelf("a.jpg", "b.jpg"), log).write()
        assert list(json.loads(path.read_text())) == ["a.jpg", "b.jpg"]
    assert not log.of(Event.JOURNAL_UNAVAILABLE)
    await until(lambda: os.listdir(tmp_path) == ["site.json"])


async def test_a_stop_writes_what_ended_last(tmp_path: Path) -> None:
    """Also where the task was called off in the middle; without a change nothing is written."""
    path, shelf = tmp_path / "site.json", Shelf("a.jpg")
    manifest = manifest_at(path, shelf)
    await manifest.finish(5.0)
    assert list(json.loads(path.read_text())) == ["a.jpg"]
    path.unlink()
    await manifest.finish(5.0)
    assert not path.exists()


async def test_trouble_is_said_once_and_passes(tmp_path: Path) -> None:
    """The folder is missing, then it is there: one line each, and nothing left lying about."""
    path, log = tmp_path / "later" / "site.json", RecordedLog()
    task = asyncio.create_task(manifest_at(path, Shelf("a.jpg"), log).run())
    await until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))
    await asyncio.sleep(0.1)
    (said,) = log.of(Event.JOURNAL_UNAVAILABLE)
    assert (said["what"], said["folder"]) == ("manifest", "products")
    assert "No such file or directory" in said["message"]
    assert str(path.parent) in said["hint"]
    path.parent.mkdir()
    await until(lambda: log.of(Event.JOURNAL_RECOVERED))
    assert json.loads(path.read_text())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_journal_that_cannot_be_asked_is_waited_for(tmp_path: Path) -> None:
    """A database that is away for a while ends no daemon."""

    class Away(Shelf):
        async def published_page(self, folder: str, after: bytes | None, limit: int) -> Any:
            if not self.asked:
                self.asked += 1
                raise Unavailable("the database is away")
            return await super().published_page(folder, after, limit)

    log = RecordedLog()
    task = asyncio.create_task(manifest_at(tmp_path / "site.json", Away("a.jpg"), log).run())
    await until(lambda: log.of(Event.JOURNAL_RECOVERED))
    assert "the database is away" in log.of(Event.JOURNAL_UNAVAILABLE)[0]["message"]
    assert list(json.loads((tmp_path / "site.json").read_text())) == ["a.jpg"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_disk_that_hangs_is_said_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second call is made while the first hangs; when it comes back, the manifest is written."""
    hangs, calls = threading.Event(), []

    def begin(making: Making, real: Any = Making.begin) -> None:
        calls.append(making)
        assert hangs.wait(20)
        real(making)

    monkeypatch.setattr(Making, "begin", begin)
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    path, log = tmp_path / "site.json", RecordedLog()
    task = asyncio.create_task(manifest_at(path, Shelf("a.jpg"), log).run())
    await until(lambda: log.of(Event.JOURNAL_UNAVAILABLE))
    await asyncio.sleep(0.3)
    assert len(calls) == 1
    assert "does not answer" in log.of(Event.JOURNAL_UNAVAILABLE)[0]["message"]
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 10.0)
    hangs.set()
    await until(lambda: log.of(Event.JOURNAL_RECOVERED))
    assert list(json.loads(path.read_text())) == ["a.jpg"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


READER = """
import json, os, pathlib, sys, time
path, reads, broken, last = pathlib.Path(sys.argv[1]), 0, 0, None
while not pathlib.Path(sys.argv[2]).exists():
    found = os.stat(path)
    if last == (last := (found.st_ino, found.st_size, found.st_mtime_ns)):
        time.sleep(0.0005)
        continue
    try:
        json.loads(path.read_text())
    except ValueError:
        broken += 1
    reads += 1
print(reads, broken)
"""


@pytest.mark.parametrize("count", [20_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_many_files_stall_nobody(tmp_path: Path, count: int) -> None:
    """The loop goes on (the watch of these tests sees to it), questions to the journal are answered between the pages, and a
    reader never sees half of it."""
    journal = open_journal(tmp_path / "journal.db")
    facts = json.dumps({"url": "https://b.example/x", "at": "2026", "output": {"size": 9, "width": 4, "height": 3}, "input": {}})
    rows = [("b", f"k/{number}", "products", b"%06d.jpg" % number, facts) for number in range(count)]

    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.executemany(
            "INSERT INTO objects (bucket, key, folder, relative, sha1, at, published) VALUES (?, ?, ?, ?, '', 0, ?)", rows
        )
        connection.executemany(
            "INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode) VALUES (?, x'', ?, 1, 1, 1, 1)",
            [(row[2], row[3]) for row in rows],
        )

    connection.close()
    path = tmp_path / "site.json"
    manifest = manifest_at(path, journal)
    await manifest.write()
    over = tmp_path / "over"
    reader = subprocess.Popen([sys.executable, "-c", READER, path, over], stdout=subprocess.PIPE, text=True)
    slowest, began = 0.0, time.monotonic()
    writing = asyncio.create_task(manifest.write())
    while not writing.done():
        asked = time.monotonic()
        await journal.pauses.paused()
        slowest = max(slowest, time.monotonic() - asked)
        await asyncio.sleep(0.01)
    await writing
    took = time.monotonic() - began
    over.touch()
    said, _ = await asyncio.to_thread(reader.communicate, timeout=60)
    await journal.close()

    assert len(json.loads(path.read_text())) == count
    reads, broken = map(int, said.split())
    assert reads
    assert not broken
    assert slowest < max(1.0, took / 5), (slowest, took)
    print(f"{count} files: {took:.1f} s, slowest question {slowest * 1000:.0f} ms")


async def until(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.01)
