"""What it costs to watch very many directories in which nothing happens, in percent of one processor core.

python -m benchmarks.idle [--quick]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import Figure, Lines, at_most, cpu_seconds, daemon, not_measured, table, wait_for

SETTINGS = {"compressor": {"url": "http://127.0.0.1:9/1.0"}, "log": {"level": "debug"}}
LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")


def measure(quick: bool = False) -> list[Figure]:
    """The figure."""
    count, seconds = (2_000, 10.0) if quick else (20_000, 60.0)
    what = f"idle CPU, % of a core, {count:,} directories"
    if int(LIMIT.read_text()) < count * 1.2:
        return [not_measured(what, f"{LIMIT} is too low here")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            (folder / "drop" / f"{number // 200:03d}" / f"{number:05d}").mkdir(parents=True)
        with daemon(folder, SETTINGS, WATCHER_COMPRESSOR__API_KEY="k") as (process, log):
            lines = Lines(log, b'"scan.finished"')
            wait_for(lambda: lines.reached(1), "the first scan")
            lines.close()
            time.sleep(3.0)  # whatever follows a start is over then
            before, started = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            used = (cpu_seconds(process.pid) - before) / (time.monotonic() - started)
            lost = '"polling"' in log.read_text()
    if lost:
        return [not_measured(what, "the folder is polled here: not enough inotify watches")]
    return [at_most(what, 100 * used, 0.2, f"over {seconds:.0f} s")]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
