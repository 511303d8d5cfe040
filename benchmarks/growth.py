"""How an image's cost grows: with more requests in flight, and with more images in the journal. Writes the plot docs/growth.svg.

    python -m benchmarks.growth [--quick] [--svg FILE]

The daemon delivers the same pictures each time, warm; what is compared is its processor time an image, in one run, to that of the
first of its row: 1 request in flight, 1,000 journalled images. Other work on the machine hardly touches it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Figure, Lines, at_most, cpu_seconds, daemon, photographs, say, table, wait_for
from tests.support.big_journal import fill
from tests.support.standin import DEFAULT_KEY, StandinProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

IN_FLIGHT = (1, 10, 100, 1_000)
JOURNALLED = (1_000, 10_000, 100_000, 1_000_000)
PLOT = Path(__file__).parents[1] / "docs" / "growth.svg"
WARM_UP = 50
MOST = 1.2
_SIZE, _LEFT, _BOTTOM, _PITCH = (640, 260), 60, 210, 70


def cost(folder: Path, api: str, count: int, concurrency: int) -> float:
    """Milliseconds of the daemon's processor time an image."""
    paths = photographs(folder / "aside", count + WARM_UP, 320, 200)
    settings = {"compressor": {"url": api, "concurrency": concurrency}}
    with daemon(folder, settings, WATCHER_COMPRESSOR__API_KEY=DEFAULT_KEY) as (process, log):
        lines, before = Lines(log, b'"image.stored"'), 0.0
        for some, stored in ((paths[:WARM_UP], WARM_UP), (paths[WARM_UP:], len(paths))):
            before = cpu_seconds(process.pid)
            for path in some:
                path.rename(folder / "drop" / path.name)
            wait_for(lambda stored=stored: lines.reached(stored), "the last image")  # type: ignore[misc]
        lines.close()
        return 1_000 * (cpu_seconds(process.pid) - before) / count


def by_flight(api: str, count: int) -> list[float]:
    """The cost at each number of requests in flight."""
    found = []
    for concurrency in IN_FLIGHT:
        with tempfile.TemporaryDirectory() as name:
            found.append(cost(Path(name), api, count, concurrency))
        say(f"  {concurrency} in flight: {found[-1]:.2f} ms of CPU an image")
    return found


def by_journal(api: str, count: int, sizes: Sequence[int]) -> list[float]:
    """The cost with each number of images in the journal."""
    found = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "state").mkdir()
            asyncio.run(fill(Path(name) / "state" / "journal.db", size, time.time()))
            found.append(cost(Path(name), api, count, 16))
        say(f"  {size} journalled: {found[-1]:.2f} ms of CPU an image")
    return found


def plot(rows: Sequence[tuple[str, Sequence[int], Sequence[float]]]) -> str:
    """Each row's costs over the powers of ten, the first of it being 1."""
    top = max(2.0, math.ceil(max(value / values[0] for _, _, values in rows for value in values)))
    width, height = _SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Processor time an image, against the first of each row</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]

    def y_of(ratio: float) -> float:
        return _BOTTOM - ratio / top * (_BOTTOM - 20)

    for step in range(int(top) + 1):
        parts.append(f'<path d="M{_LEFT - 20} {y_of(step):.0f}H{width - 20}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 28}" y="{y_of(step) + 4:.0f}" text-anchor="end">{step}</text>')
    for place, (title, sizes, values) in enumerate(rows):
        left = _LEFT + place * (len(IN_FLIGHT) * _PITCH + 20)
        points = [(left + index * _PITCH, y_of(value / values[0])) for index, value in enumerate(values)]
        line = "L".join(f"{x:.0f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>')
        for (x, y), size, value in zip(points, sizes, values, strict=True):
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.1f}" r="3" fill="#1f6feb"/>')
            parts.append(f'<text x="{x:.0f}" y="{y - 8:.1f}" text-anchor="middle">{value / values[0]:.2f}</text>')
            parts.append(f'<text x="{x:.0f}" y="{_BOTTOM + 16}" text-anchor="middle">{size:,}</text>')
        parts.append(f'<text x="{left + 1.5 * _PITCH:.0f}" y="{_BOTTOM + 36}" text-anchor="middle">{title}</text>')
    return "\n".join([*parts, "</svg>", ""])


def measure(quick: bool = False, svg: Path | None = None) -> list[Figure]:
    """The figures; the plot is written to `svg`, where it is given."""
    count, sizes = (150, JOURNALLED[:2]) if quick else (600, JOURNALLED)
    with StandinProcess() as standin:
        flight, journal = by_flight(standin.url, count), by_journal(standin.url, count, sizes)
    if svg is not None:
        svg.write_text(plot([("requests in flight", IN_FLIGHT, flight), ("images in the journal", sizes, journal)]))
    return [
        Figure("CPU an image: 1,000 in flight / 1", flight[-1] / flight[0]),
        at_most(f"CPU an image: {sizes[-1]:,} journalled / 1,000", journal[-1] / journal[0], MOST),
    ]


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--svg", type=Path, default=PLOT)
    chosen = options.parse_args()
    sys.stdout.write(table(measure(chosen.quick, chosen.svg)))
