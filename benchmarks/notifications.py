"""What notifications cost, and how fast a receiver that was down gets what it is owed.

    python -m benchmarks.notifications [--quick]

Images a second end to end, to the last line of `image.stored`, of the same daemon with one healthy receiver and without one, in
turns. The receiver is a process of its own, as receivers are; so is the stand-in of the API. Then a receiver that is down while
10,000 images end, and comes back: the time from its first to its last notification, and whether all came once and in order.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.common import (
    Figure,
    Lines,
    at_least,
    child,
    cpu_seconds,
    daemon,
    interleaved,
    median_ratio,
    photographs,
    say,
    table,
)
from benchmarks.common import wait_for as until
from tests.support.standin import DEFAULT_KEY, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}


def told(url: str) -> dict[str, Any]:
    """What the receiver says of itself."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def through(api: str, aside: Path, costs: list[float], url: str = "", lags: list[float] | None = None) -> float:
    """Images a second of a daemon, with a receiver at `url` where there is one.

    Notes how long after the last image the last notification came.
    """
    notify = {"cms": {"url": url}} if url else {}
    with tempfile.TemporaryDirectory(dir=aside.parent) as name:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = [Path(shutil.copy2(path, folder / "in")) for path in sorted(aside.iterdir())]
        with daemon(folder, {"compressor": {"url": api}, "notify": notify}, **KEY) as (process, log):
            before = cpu_seconds(process.pid)
            lines, started = Lines(log, b'"image.stored"'), time.perf_counter()
            for path in paths:
                path.rename(folder / "drop" / path.name)
            until(lambda: lines.reached(len(paths)), "the last image")
            taken = time.perf_counter() - started
            costs.append(1_000 * (cpu_seconds(process.pid) - before) / len(paths))
            lines.close()
            if lags is not None:
                ended = time.time()
                until(lambda: told(url)["count"] >= len(paths), "the last notification", pause=0.02)
                lags.append(max(0.0, told(url)["last"] - ended))
    return len(paths) / taken


def with_receiver(api: str, aside: Path, costs: list[float], lags: list[float]) -> float:
    """The same with one healthy receiver."""
    with child("benchmarks.receiver") as (_, said):
        return through(api, aside, costs, said["url"], lags)


def backlog(api: str, folder: Path, count: int) -> tuple[float, bool]:
    """Seconds that a receiver which was down needs for `count` endings once it is back, and whether they came once, in order."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    aside = folder / "many"
    paths = photographs(aside, count, 16, 10)
    settings = {"compressor": {"url": api}, "notify": {"cms": {"url": f"http://127.0.0.1:{port}/"}}}
    with daemon(folder, settings, **KEY) as (_, log):
        lines = Lines(log, b'"image.stored"')
        for path in paths:
            path.rename(folder / "drop" / path.name)
        until(lambda: lines.reached(count), "the last image", pause=0.05)
        lines.close()
    with child("benchmarks.receiver", str(port)) as (_, said), daemon(folder, settings, **KEY):
        until(lambda: told(said["url"])["count"] >= count, "the last notification", pause=0.1)
        found = told(said["url"])
    return found["last"] - found["first"], found["in_order"] and found["count"] == count


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count, repeats, many = (200, 1, 500) if quick else (1_000, 5, 10_000)
    plain_costs, told_costs, lags = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as name, StandinProcess() as standin:
        aside, api = Path(name) / "aside", standin.url
        photographs(aside, count, 320, 200)
        found = interleaved(
            repeats,
            plain=lambda: through(api, aside, plain_costs),
            told=lambda: with_receiver(api, aside, told_costs, lags),
        )
        place = Path(name) / "backlog"
        place.mkdir()
        seconds, whole = backlog(api, place, many)
    for contender, rates in found.items():
        say(f"  {contender}: {', '.join(f'{rate:.0f}' for rate in rates)} images/s")
    say(f"  the last notification came {statistics.median(lags):.2f} s after the last image")
    order = "each once, in order" if whole else "NOT each once in order"
    return [
        at_least("images/s with one healthy receiver / without", median_ratio(found["told"], found["plain"]), 0.95),
        Figure("CPU an image of the daemon: without / with a receiver", median_ratio(plain_costs, told_costs)),
        Figure(f"{many:,} endings to a receiver that was down, s", seconds, holds=None if whole else False, note=order),
    ]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
