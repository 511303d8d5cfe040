"""How the daemon's memory grows over very many images: resident bytes after the first ten thousand, and ten times as many later.

    python -m benchmarks.memory [--quick]

The pictures lie in portions and are deleted when they are stored, so that the folder stays as it was: what grows is the process.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Figure, Lines, at_most, daemon, photographs, say, table, wait_for
from tests.support.standin import DEFAULT_KEY, StandinProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTION = 1_000
MOST_MEGABYTES = 5


def resident(pid: int) -> float:
    """Megabytes that a process has in memory."""
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1_000


def after_portions(folder: Path, api: str, count: int) -> Iterator[float]:
    """Megabytes after each thousand images, up to `count`."""
    folders = [{"path": folder / "drop", "on_success": "delete"}]
    settings = {"compressor": {"url": api}, "folders": folders}
    with daemon(folder, settings, WATCHER_COMPRESSOR__API_KEY=DEFAULT_KEY) as (process, log):
        lines = Lines(log, b'"image.stored"')
        for stored in range(PORTION, count + 1, PORTION):
            for path in photographs(folder / "aside", PORTION, 32, 20, first=stored):
                path.rename(folder / "drop" / path.name)
            wait_for(lambda stored=stored: lines.reached(stored), "the last image of a portion")  # type: ignore[misc]
            yield resident(process.pid)
        lines.close()


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    first, last = (2_000, 4_000) if quick else (10_000, 100_000)
    with tempfile.TemporaryDirectory() as name, StandinProcess() as standin:
        found = list(after_portions(Path(name), standin.url, last))
    grown = found[-1] - found[first // PORTION - 1]
    say(f"  {found[first // PORTION - 1]:.1f} MB after {first:,} images, {found[-1]:.1f} MB after {last:,}")
    return [at_most(f"memory: MB that {last:,} images need more than {first:,}", grown, MOST_MEGABYTES)]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
