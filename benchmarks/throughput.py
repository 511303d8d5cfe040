"""Images a second, end to end, against the least that could do the same, and against a shell pipe.

    python -m benchmarks.throughput [--quick]

The daemon (drop to `image.stored`, everything on), a bare asyncio loop that only serves the files and POSTs (benchmarks/bare.py;
over the same transport, and over plain httpx; on the same event loop as the daemon), and `inotifywait -m` piped to curl, one file
after the other and sixteen at once (`xargs -P16`). All ask the same stand-in of the API, a process of its own that fetches every
file; 16 requests in flight for who can. Runs are interleaved. The last figure compares the processor time that an image costs:
other work on the machine hardly touches it.
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
    at_most,
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

ONE_BY_ONE = "while read -r name; do {curl}; done", "$name"
SIXTEEN_AT_ONCE = "xargs -P16 -I% {curl}", "%"
"""What is done with the names, and how a name is written in it."""
AGAINST_PIPE = "images/s / inotifywait and curl"
AGAINST_XARGS = "images/s / inotifywait, xargs -P16 and curl"


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


def through_pipe(api: str, aside: Path, standin: StandinProcess, count: int, form: tuple[str, str]) -> float:
    """Images a second of `inotifywait -m` piped to curl in this form; files are served by the bare loop."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=aside.parent)))
        drop = folder / "drop"
        drop.mkdir()
        files = [Path(shutil.copy2(path, folder)) for path in sorted(aside.iterdir())[:count]]
        _, said = stack.enter_context(child("benchmarks.bare", drop, api, "--key", DEFAULT_KEY))
        curl = (
            f'curl -s -o /dev/null -u {DEFAULT_KEY}: -H "Content-Type: application/json" '
            f'-d "{{\\"url\\": \\"{said["serving"]}/{form[1]}\\"}}" {api}/fetch'
        )
        script = f'inotifywait -m -q -e close_write,moved_to --format %f "{drop}" | {form[0].format(curl=curl)}'
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
    count, repeats, few, some = (200, 1, 30, 60) if quick else (1_000, 5, 60, 300)
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
            contenders["pipe"] = lambda: through_pipe(api, aside, standin, few, ONE_BY_ONE)
            contenders["xargs"] = lambda: through_pipe(api, aside, standin, some, SIXTEEN_AT_ONCE)
        found = interleaved(repeats, **contenders)
    for contender, rates in found.items():
        say(f"  {contender}: {', '.join(f'{rate:.0f}' for rate in rates)} images/s")
    figures = [
        at_least("images/s / bare loop, same transport", median_ratio(found["daemon"], found["bare"]), 0.7),
        at_least("images/s / bare loop, plain httpx", median_ratio(found["daemon"], found["plain"]), 1.8),
        at_most("CPU an image: daemon / bare loop", median_ratio(costs["daemon"], costs["aiohttp"]), 1.6),
    ]
    say("  CPU ms an image: " + ", ".join(f"{who} {statistics.median(values):.2f}" for who, values in costs.items()))
    if not has_pipe:
        why = "inotifywait or curl is missing: apt install inotify-tools curl"
        return [*figures, *(not_measured(each, why) for each in (AGAINST_PIPE, AGAINST_XARGS))]
    one_by_one, at_once = (median_ratio(found["daemon"], found[each]) for each in ("pipe", "xargs"))
    return [*figures, at_least(AGAINST_PIPE, one_by_one, 5), at_least(AGAINST_XARGS, at_once, 3)]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
