"""All benchmarks, one after the other, and their figures beside the bars that docs/BENCHMARKS.md explains.

    python -m benchmarks [--quick] [NAME...]

Only ratios of runs that were interleaved on this machine, and differences to a yardstick beside it, are given: absolute figures
of a shared machine mean nothing. Exit status 0 whether bars hold or not: this measures, tests judge.
"""

from __future__ import annotations

import sys
import time

from benchmarks import (
    cluster,
    commands,
    daemon_journal,
    engine,
    growth,
    idle,
    journal,
    latency,
    memory,
    notifications,
    page,
    prune,
    serving,
    start,
    throughput,
)
from benchmarks.common import say, table

ALL = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "start": start.measure,
    "idle": idle.measure,
    "serving": serving.measure,
    "engine": engine.measure,
    "journal": journal.measure,
    "daemon_journal": daemon_journal.measure,
    "notifications": notifications.measure,
    "page": page.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "prune": prune.measure,
    "cluster": cluster.measure,
    "commands": commands.measure,
}


def main() -> None:
    """The command."""
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    names = [argument for argument in arguments if argument != "--quick"] or list(ALL)
    if unknown := [name for name in names if name not in ALL]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(ALL)}")
    figures, began = [], time.monotonic()
    for name in names:
        say(f"{name} ...")
        figures += ALL[name](quick)
    say(f"{time.monotonic() - began:.0f} s in all")
    sys.stdout.write(table(figures))


if __name__ == "__main__":
    main()
