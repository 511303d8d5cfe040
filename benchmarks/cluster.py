"""What hosts that share a journal carry: three daemons on one PostgreSQL against one, and how many claims a second it gives out.

    python -m benchmarks.cluster [--quick] [--claims]

The API answers in 200 ms, every daemon has the same concurrency, and all of them watch one tree through paths of their own. The
server is Debian's, with its data on this machine's disk and fsync on. Runs are interleaved.

`--claims` measures the journal alone, without daemons and API: how many files a second are taken in, how many claims a second
are given out to one host and to three at once, and how many images a second go through the journal to their end.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import Figure, at_least, interleaved, median_ratio, not_measured, say, table, wait_for
from tests.support import postgres
from tests.support.cluster import Cluster
from tests.support.records import sighting, store_all
from tests.support.standin import Fault, StandinProcess

if TYPE_CHECKING:
    from watcher.model import Image
    from watcher.records.postgres.journal import PostgresJournal

BAR = 2.5
HOSTS = 3
CONCURRENCY = 4
ANSWER_SECONDS = 0.2
AT_ONCE = 16
CLAIMED_AT_ONCE = 32
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


# --- the journal alone ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JournalRates:
    """Of so many hosts together, a second."""

    hosts: int
    taken: float
    claims: float
    images: float


async def journal_rates(server: postgres.Postgres, hosts: int, images: int) -> JournalRates:
    """Hosts that see the same files: the first takes them, the others learn of them, then all of them claim and end them."""
    url = server.database()
    journals = [await postgres.open_postgres(url, host=f"host-{number}") for number in range(hosts)]
    seen = [sighting(b"%d.jpg" % number) for number in range(images)]
    began = time.monotonic()
    for journal in journals:
        await journal.take(seen)
    taken = images * hosts / (time.monotonic() - began)
    began = time.monotonic()
    claimed = await asyncio.gather(*(_claim_all(journal) for journal in journals))
    claims = sum(map(len, claimed)) / (time.monotonic() - began)
    began = time.monotonic()
    await asyncio.gather(*(_end_all(*each) for each in zip(journals, claimed, strict=True)))
    through = images / (time.monotonic() - began)
    for journal in journals:
        await journal.close()
    return JournalRates(hosts, taken, claims, through)


async def _claim_all(journal: PostgresJournal) -> list[Image]:
    held: list[Image] = []
    while found := await journal.due(1e12, CLAIMED_AT_ONCE, [image.id for image in held]):
        held += found
    return held


async def _end_all(journal: PostgresJournal, images: list[Image]) -> None:
    """With as many under way at once as a daemon has by default."""
    left = iter(images)

    async def work() -> None:
        for image in left:
            await store_all(journal, image)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def measure_claims(quick: bool = False) -> list[JournalRates]:
    """Of one host, and of three."""
    with postgres.running(fsync="on") as server:
        return [asyncio.run(journal_rates(server, hosts, 500 if quick else 2_000)) for hosts in (1, HOSTS)]


if __name__ == "__main__":
    began = time.monotonic()
    if "--claims" in sys.argv[1:]:
        for each in measure_claims("--quick" in sys.argv[1:]):
            words = f"{each.taken:.0f} files taken, {each.claims:.0f} claims, {each.images:.0f} images ended a second"
            sys.stdout.write(f"{each.hosts} host{'s' * (each.hosts > 1)}: {words}\n")
    else:
        sys.stdout.write(table(measure("--quick" in sys.argv[1:])))
    say(f"{time.monotonic() - began:.0f} s")
