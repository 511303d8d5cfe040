"""A start with very many known files and nothing to do, against `find -type f -printf` of the same tree.

    python -m benchmarks.start [--quick]

By the clock: what the daemon says that its first scan took. By processor time, which other work on the machine hardly touches:
everything until the end of that scan, less the same with an empty folder (the interpreter and its libraries).
"""

from __future__ import annotations

import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Figure, Lines, at_most, cpu_seconds, daemon, median_ratio, say, table, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"compressor": {"url": "http://127.0.0.1:9/1.0"}, "log": {"level": "debug"}}
FILES_A_DIRECTORY = 500
SIGN_BIT = 1 << 63


@dataclass
class Spent:
    """Seconds that runs took, by the clock and of processor time."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def first_scan(folder: Path, spent: Spent) -> None:
    """A start: by the clock what its first scan took, of processor time everything until the scan's end."""
    with daemon(folder, SETTINGS, WATCHER_COMPRESSOR__API_KEY="k") as (process, log):
        lines = Lines(log, b'"scan.finished"')
        wait_for(lambda: lines.reached(1), "the first scan", pause=0.002)
        spent.processor.append(cpu_seconds(process.pid))
        lines.close()
        told = [json.loads(line) for line in log.read_bytes().splitlines()]
    spent.clock.append(next(line["seconds"] for line in told if line["event"] == "scan.finished"))


def find(tree: Path, spent: Spent) -> None:
    """The same walk by `find`."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(["find", tree, "-type", "f", "-printf", "%s %T@ %C@ %i %p\\n"], stdout=subprocess.DEVNULL, check=True)
    spent.clock.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def rows(tree: Path, count: int) -> Iterator[tuple[object, ...]]:
    """Make the files, and say of each what the journal keeps of a known one."""
    for number in range(count):
        path = tree / f"{number // FILES_A_DIRECTORY:05d}" / f"{number:08d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"known")
        facts = path.stat()
        inode = facts.st_ino - (facts.st_ino & SIGN_BIT) * 2
        yield "drop", path.parent.name.encode(), path.name.encode(), 5, facts.st_mtime_ns, facts.st_ctime_ns, inode


def prepare(folder: Path, count: int) -> None:
    """A folder with so many files, and a journal that knows them all."""
    first_scan(folder, Spent())
    with closing(sqlite3.connect(folder / "state" / "journal.db")) as journal, journal:
        journal.executemany(
            "INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode) VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows(folder / "drop", count),
        )


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count, repeats = (20_000, 1) if quick else (100_000, 3)
    full, empty, walk = Spent(), Spent(), Spent()
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name) / "full", Path(name) / "empty"
        for folder in folders:
            folder.mkdir()
        prepare(folders[0], count)
        for _ in range(repeats):
            first_scan(folders[0], full)
            find(folders[0] / "drop", walk)
            first_scan(folders[1], empty)
        if '"image.' in (folders[0] / "log.jsonl").read_text():
            raise RuntimeError("the files were not known")
    say(f"  scan {statistics.median(full.clock):.2f} s, find {statistics.median(walk.clock):.2f} s")
    files = [one - other for one, other in zip(full.processor, empty.processor, strict=True)]
    what = f"start with {count:,} known files / find"
    return [
        at_most(f"{what}, the scan by the clock", median_ratio(full.clock, walk.clock), 3),
        at_most(f"{what}, CPU over an empty start", median_ratio(files, walk.processor), 3),
    ]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
