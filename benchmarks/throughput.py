"""Images a second, end to end, against the least that could do the same, and against a shell pipe.

    python -m benchmarks.throughput [--quick]

The daemon (drop to `image.stored`, everything on), a bare asyncio loop that only serves the files and POSTs (benchmarks/bare.py;
over the same transport, and over plain httpx), and `inotifywait -m` piped to one curl a file. All ask the same stand-in of the
API, a process of its own that fetches every file; 16 requests in flight for who can. Runs are interleaved. The last figure
compares the processor time that an image costs: other work on the machine hardly touches it.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import (
    Figure,
    Lines,
    at_least,
    child,
    cpu_seconds,
    daemon,
    interleaved,
    median_ratio,
    not_measured,
    photographs,
    say,
    table,
    wait_for,
)
from tests.support.standin import DEFAULT_KEY, StandinProcess

if TYPE_CHECKING:
    from collections.abc import Callable

Costs = dict[str, list[float]]
"""Milliseconds of processor time that an image cost, by contender, a run each."""

AGAINST_PIPE = "images/s / inotifywait and curl"


def through_daemon(api: str, aside: Path, costs: Costs) -> float:
    """Images a second from the first file's arrival to the last one's line."""
    with tempfile.TemporaryDirectory(dir=aside.parent) as name:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = [Path(shutil.copy2(path, folder / "in")) for path in sorted(aside.iterdir())]
        with daemon(folder, {"compressor": {"url": api}}, WATCHER_COMPRESSOR__API_KEY=DEFAULT_KEY) as (process, log):
            before = cpu_seconds(process.pid)
            lines, started = Lines(log, b'"image.stored"'), time.perf_counter()
            for path in paths:
                path.rename(folder / "drop" / path.name)
            wait_for(lambda: lines.reached(len(paths)), "the last image")
            taken = time.perf_counter() - started
            costs["daemon"].append(1_000 * (cpu_seconds(process.pid) - before) / len(paths))
            lines.close()
    return len(paths) / taken


def through_bare_loop(api: str, aside: Path, transport: str, costs: Costs) -> float:
    """Images a second of a loop that knows its files beforehand."""
    with child("benchmarks.bare", aside, api, "--key", DEFAULT_KEY, "--transport", transport) as (process, _):
        assert process.stdin is not None
        assert process.stdout is not None
        before, count = cpu_seconds(process.pid), len(list(aside.iterdir()))
        process.stdin.write("go\n")
        process.stdin.flush()
        taken = float(process.stdout.readline())
        costs[transport].append(1_000 * (cpu_seconds(process.pid) - before) / count)
    return count / taken


def through_pipe(api: str, aside: Path, standin: StandinProcess, count: int) -> float:
    """Images a second of `inotifywait -m | while read f; do curl; done`; files are served by the bare loop."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=aside.parent)))
        drop = folder / "drop"
        drop.mkdir()
        files = [Path(shutil.copy2(path, folder)) for path in sorted(aside.iterdir())[:count]]
        _, said = stack.enter_context(child("benchmarks.bare", drop, api, "--key", DEFAULT_KEY))
        script = (
            f'inotifywait -m -q -e close_write,moved_to --format %f "{drop}" | while read -r name; do '
            f'curl -s -o /dev/null -u {DEFAULT_KEY}: -H "Content-Type: application/json" '
            f'-d "{{\\"url\\": \\"{said["serving"]}/$name\\"}}" {api}/fetch; done'
        )
        pipe = subprocess.Popen(["bash", "-c", script], start_new_session=True)
        stack.callback(pipe.wait, 10)
        stack.callback(subprocess.run, ["kill", "--", f"-{pipe.pid}"], check=False)
        time.sleep(0.5)
        before, started = standin.report()["calls"].get("fetch", 0), time.perf_counter()
        for file in files:
            file.rename(drop / file.name)
        wait_for(lambda: standin.report()["calls"].get("fetch", 0) - before >= count, "the pipe", pause=0.05)
        return count / (time.perf_counter() - started)


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    count, repeats, few = (200, 1, 30) if quick else (1_000, 3, 60)
    costs: Costs = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, StandinProcess() as standin:
        aside, api = Path(name) / "aside", standin.url
        photographs(aside, count, 320, 200)
        contenders: dict[str, Callable[[], float]] = {
            "daemon": lambda: through_daemon(api, aside, costs),
            "bare": lambda: through_bare_loop(api, aside, "aiohttp", costs),
            "plain": lambda: through_bare_loop(api, aside, "httpx", costs),
        }
        if has_pipe := all(map(shutil.which, ("inotifywait", "curl"))):
            contenders["pipe"] = lambda: through_pipe(api, aside, standin, few)
        found = interleaved(repeats, **contenders)
    for contender, rates in found.items():
        say(f"  {contender}: {', '.join(f'{rate:.0f}' for rate in rates)} images/s")
    figures = [
        at_least("images/s / bare loop, same transport", median_ratio(found["daemon"], found["bare"]), 0.7),
        at_least("images/s / bare loop, plain httpx", median_ratio(found["daemon"], found["plain"]), 1.5),
    ]
    cost = Figure("CPU an image: bare loop / daemon", median_ratio(costs["aiohttp"], costs["daemon"]))
    say("  CPU ms an image: " + ", ".join(f"{who} {statistics.median(values):.2f}" for who, values in costs.items()))
    if not has_pipe:
        return [*figures, not_measured(AGAINST_PIPE, "inotifywait or curl is missing: apt install inotify-tools curl"), cost]
    return [*figures, at_least(AGAINST_PIPE, median_ratio(found["daemon"], found["pipe"]), 5), cost]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
