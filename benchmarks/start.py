"""A start with very many known files and nothing to do, against `find -type f -printf` of the same tree.

    python -m benchmarks.start [--quick]

The first figure is what the files cost: from the process's start to the end of its first scan, less the same with an empty folder
(the interpreter and its libraries). The second is the whole.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Figure, Lines, at_most, daemon, interleaved, median_ratio, say, table, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"compressor": {"url": "http://127.0.0.1:9/1.0"}, "log": {"level": "debug"}}
FILES_A_DIRECTORY = 500
SIGN_BIT = 1 << 63


def first_scan(folder: Path) -> float:
    """Seconds from the process's start to the end of its first scan."""
    started = time.perf_counter()
    with daemon(folder, SETTINGS, WATCHER_COMPRESSOR__API_KEY="k") as (_, log):
        lines = Lines(log, b'"scan.finished"')
        wait_for(lambda: lines.reached(1), "the first scan", pause=0.002)
        taken = time.perf_counter() - started
        lines.close()
    return taken


def find(tree: Path) -> float:
    """Seconds of `find`."""
    started = time.perf_counter()
    subprocess.run(["find", tree, "-type", "f", "-printf", "%s %T@ %C@ %i %p\\n"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


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
    first_scan(folder)
    with closing(sqlite3.connect(folder / "state" / "journal.db")) as journal, journal:
        journal.executemany(
            "INSERT INTO files (folder, directory, name, size, mtime_ns, ctime_ns, inode) VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows(folder / "drop", count),
        )


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count, repeats = (20_000, 1) if quick else (100_000, 5)
    with tempfile.TemporaryDirectory() as name:
        full, empty = Path(name) / "full", Path(name) / "empty"
        full.mkdir()
        empty.mkdir()
        prepare(full, count)
        found = interleaved(
            repeats, full=lambda: first_scan(full), empty=lambda: first_scan(empty), find=lambda: find(full / "drop")
        )
        known = (full / "log.jsonl").read_text().count('"image.')
    if known:
        raise RuntimeError("the files were not known")
    for contender, seconds in found.items():
        say(f"  {contender}: {', '.join(f'{each:.2f}' for each in seconds)} s")
    files = [full - empty for full, empty in zip(found["full"], found["empty"], strict=True)]
    return [
        at_most(f"start with {count:,} known files, over an empty start / find", median_ratio(files, found["find"]), 3),
        Figure("the whole start, with interpreter and libraries / find", median_ratio(found["full"], found["find"])),
    ]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
