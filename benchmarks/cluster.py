"""What hosts that share a journal carry: three daemons on one PostgreSQL against one, and how many claims a second it gives out.

    python -m benchmarks.cluster [--quick]

The API answers in 200 ms, every daemon has the same concurrency, and all of them watch one tree through paths of their own. The
server is Debian's, with its data on this machine's disk and fsync on. Runs are interleaved.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.common import Figure, at_least, interleaved, median_ratio, not_measured, say, table, wait_for
from tests.support import postgres
from tests.support.cluster import Cluster
from tests.support.standin import Fault, StandinProcess

BAR = 2.5
HOSTS = 3
CONCURRENCY = 4
ANSWER_SECONDS = 0.2
SECONDS = 10.0
"""So long a run takes where every request waits for nothing but its answer."""


def images_a_second(server: postgres.Postgres, hosts: int, seconds: float) -> float:
    """How many images so many daemons store in a second, all of them dropped before."""
    count = int(hosts * CONCURRENCY / ANSWER_SECONDS * seconds)
    with ExitStack() as stack:
        standin = stack.enter_context(StandinProcess())
        standin.set_faults(Fault("delay", seconds=ANSWER_SECONDS))
        path = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = Cluster(path, server, standin, hosts, compressor={"concurrency": CONCURRENCY})
        stack.callback(cluster.stop)
        for host in cluster.hosts:
            host.start()
        cluster.drop(count)
        wait_for(lambda: len(cluster.ended()) >= count, "the endings", pause=0.25)
        cluster.stop()
        times = sorted(_at(line) for host in cluster.hosts for line in host.audit())
    rate = (len(times) - 1) / (times[-1] - times[0])
    say(f"  {hosts} host{'s' if hosts > 1 else ''}: {rate:.1f} images/s")
    return rate


def _at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def measure(quick: bool = False) -> list[Figure]:
    """Three daemons against one."""
    what = f"{HOSTS} daemons on one PostgreSQL journal against one, API that answers in {ANSWER_SECONDS * 1000:.0f} ms"
    if postgres.programs() is None:
        return [not_measured(what, "no PostgreSQL server is installed")]
    seconds, repeats = (SECONDS / 2, 1) if quick else (SECONDS, 3)
    with postgres.running(fsync="on") as server:
        rates = interleaved(
            repeats,
            three=lambda: images_a_second(server, HOSTS, seconds),
            one=lambda: images_a_second(server, 1, seconds),
        )
    return [at_least(what, median_ratio(rates["three"], rates["one"]), BAR)]


if __name__ == "__main__":
    began = time.monotonic()
    sys.stdout.write(table(measure("--quick" in sys.argv[1:])))
    say(f"{time.monotonic() - began:.0f} s")
