"""What the page costs: processor time of one page over a large journal, and images a second with a hundred open pages.

    python -m benchmarks.page [--quick] [--journal FILE]

The daemon works on a journal of a million images; FILE is such a journal made before (it grows). It delivers the same pictures
with nobody looking, and with a hundred pages open, whose reader is a process of its own. Runs are interleaved, and neighbours
compared, also by the processor time that an image cost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import (
    Figure,
    Lines,
    at_least,
    at_most,
    child,
    cpu_seconds,
    daemon,
    interleaved,
    median_ratio,
    photographs,
    say,
    table,
    wait_for,
)
from tests.support.big_journal import fill
from tests.support.standin import DEFAULT_KEY, StandinProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = 100
ASKED = 10
MOST_CPU_SECONDS = 0.3


@dataclass
class Runs:
    """One daemon after the other on the same state. `costs` are milliseconds of processor time an image, a run each."""

    folder: Path
    api: str
    count: int
    costs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    page_costs: list[float] = field(default_factory=list)
    done: int = 0

    def alone(self) -> float:
        """Images a second while nobody looks; then what a page costs that is worked out anew."""
        with self._daemon() as (pid, log, address):
            rate = self._deliver("alone", pid, log)
            urllib.request.urlopen(address).read()
            before = cpu_seconds(pid)
            for _ in range(ASKED):
                time.sleep(1.05)
                urllib.request.urlopen(address).read()
            self.page_costs.append((cpu_seconds(pid) - before) / ASKED)
        return rate

    def watched(self) -> float:
        """Images a second with open pages."""
        with self._daemon() as (pid, log, address), child("benchmarks.lookers", address, str(PAGES)):
            return self._deliver("watched", pid, log)

    @contextmanager
    def _daemon(self) -> Iterator[tuple[int, Path, str]]:
        settings = {"compressor": {"url": self.api}, "admin": {"listen": "127.0.0.1:0"}}
        with daemon(self.folder, settings, WATCHER_COMPRESSOR__API_KEY=DEFAULT_KEY) as (process, log):
            ready = next(line for line in log.read_text().splitlines() if '"service.ready"' in line)
            yield process.pid, log, json.loads(ready)["admin_url"]

    def _deliver(self, who: str, pid: int, log: Path) -> float:
        """Images a second from the first file's arrival to the last one's line."""
        self.done += 1
        paths = photographs(self.folder / f"aside-{self.done}", self.count, 320, 200)
        before, lines, started = cpu_seconds(pid), Lines(log, b'"image.stored"'), time.perf_counter()
        for path in paths:
            path.rename(self.folder / "drop" / f"{self.done}-{path.name}")
        wait_for(lambda: lines.reached(self.count), "the last image")
        taken = time.perf_counter() - started
        self.costs[who].append(1_000 * (cpu_seconds(pid) - before) / self.count)
        lines.close()
        return self.count / taken


def measure(quick: bool = False, journal: Path | None = None) -> list[Figure]:
    """The figures."""
    size, count, repeats = (20_000, 200, 1) if quick else (1_000_000, 1_000, 3)
    with tempfile.TemporaryDirectory() as name, StandinProcess() as standin:
        folder = Path(name)
        (folder / "state").mkdir()
        if journal is None:
            asyncio.run(fill(folder / "state" / "journal.db", size, time.time()))
        else:
            shutil.move(journal, folder / "state" / "journal.db")
        runs = Runs(folder, standin.url, count)
        try:
            found = interleaved(repeats, alone=runs.alone, watched=runs.watched)
        finally:
            if journal is not None:
                shutil.move(folder / "state" / "journal.db", journal)
    for who, rates in found.items():
        cpu = statistics.median(runs.costs[who])
        say(f"  {who}: {', '.join(f'{rate:.0f}' for rate in rates)} images/s, {cpu:.2f} ms of CPU an image")
    cost = median_ratio(runs.costs["watched"], runs.costs["alone"])
    return [
        at_most("page over 10^6 images, seconds of CPU", statistics.median(runs.page_costs), MOST_CPU_SECONDS),
        at_least("images/s with 100 open pages / with none", median_ratio(found["watched"], found["alone"]), 0.95),
        Figure("CPU an image: with 100 open pages / with none", cost),
    ]


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--journal", type=Path)
    chosen = options.parse_args()
    sys.stdout.write(table(measure(chosen.quick, chosen.journal)))
