"""What durability costs: the changes of many images' journeys in the durable journal, against the same in memory.

    python -m benchmarks.journal [--images 4000] [--in-flight 64] [--repeats 5] [--folder DIR]

Runs are interleaved, so that a busy machine hits both alike; the medians of rates and CPU, and their ratio, are printed. The
journal alone is measured here: in the daemon it is one part among many, so that its ratio there is nearer to one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import Figure
from watcher.clock import SystemClock
from watcher.model import (
    Ending,
    Event,
    FileRef,
    Format,
    Image,
    Observation,
    OutputRule,
    Rule,
    Sighting,
    SourceFacts,
    StoredObject,
    Ticket,
)
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.sqlite_journal import SqliteJournal

RULE = Rule("bench", Path("/srv/bench"), (OutputRule(None, {}, {"id": "c", "bucket": "b", "region": "r", "path": "{name}"}),))
FACTS = SourceFacts("photo.jpg", "a" * 40, 1_000, Format.JPEG)
CHANGES_AN_IMAGE = 4
"""hashed, requested, end, finish; taking is done in bulk before the clock starts."""


class Silent:
    """Writes no log."""

    def event(self, event: Event, **fields: Any) -> None:
        """Nothing."""


async def journey(journal: SqliteJournal, image: Image) -> None:
    """One image from its turn to its ending."""
    now, key = time.time(), image.file.relative_text
    await journal.hashed(image.id, FACTS, Ticket("t" * 43, "s" * 43, now + 3600))
    await journal.requested(image.id, None, ("b", key), now)
    record = {
        "event": "image.stored",
        "id": image.id,
        "rendition": None,
        "url": "https://example.com/" + key,
        "filler": "x" * 600,
        "folder": "bench",
        "seconds": 0.5,
        "output": {"size": 20_000},
        "saved_bytes": 80_000,
    }
    stored = StoredObject("b", key, "bench", image.file.relative, FACTS.sha1, "rule", "0" * 40)
    await journal.end(image.id, None, Ending(Event.IMAGE_STORED, record, stored), now)
    await journal.finish(image.id, "kept", now)


async def run(path: Path | str, audit: Path, images: int, in_flight: int) -> tuple[float, float]:
    """(images a second, milliseconds of CPU an image) with the audit file written beside."""
    numbers = itertools.count()
    journal = SqliteJournal.open(path, events=Silent(), clock=SystemClock(), keep=1e9, new_id=lambda: f"{next(numbers):032x}")
    recorder = OutboxRelay(journal, AuditFile(audit), Silent())
    await recorder.start()
    await journal.take(
        [Sighting(FileRef("bench", RULE.root, b"%d.jpg" % n), Observation(1, n, n, n), RULE, 1.0) for n in range(images)]
    )
    todo = iter(await journal.due(time.time(), images, ()))

    async def work() -> None:
        for image in todo:
            await journey(journal, image)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    await recorder.flush()
    taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    await recorder.stop()
    await journal.close()
    return images / taken, 1_000 * cpu / images


def compared(images: int, in_flight: int, repeats: int, folder: Path | None) -> dict[str, list[float]]:
    """Medians of rate and CPU, durable and in memory."""
    results: dict[str, list[tuple[float, float]]] = {"durable": [], "memory": []}
    for _ in range(repeats):
        for name, found in results.items():
            with tempfile.TemporaryDirectory(dir=folder) as place:
                path = Path(place) / "journal.db" if name == "durable" else ":memory:"
                audit = Path(place) / "audit.jsonl"
                found.append(asyncio.run(run(path, audit, images, in_flight)))
    return {name: [statistics.median(each) for each in zip(*found, strict=True)] for name, found in results.items()}


def measure(quick: bool = False) -> list[Figure]:
    """The figure: what of the rate is left where every change is durable."""
    medians = compared(500, 64, 1, None) if quick else compared(2_000, 64, 3, None)
    return [Figure("journal and audit file, durable / in memory, images/s", medians["durable"][0] / medians["memory"][0])]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured; default: the temporary folder")
    options = parser.parse_args()
    medians = compared(options.images, options.in_flight, options.repeats, options.folder)
    for name, (rate, cpu) in medians.items():
        changes = CHANGES_AN_IMAGE * rate
        sys.stdout.write(f"{name:8} {rate:8.0f} images/s {changes:8.0f} changes/s {cpu:8.3f} ms CPU an image\n")
    sys.stdout.write(f"durable / memory: {medians['durable'][0] / medians['memory'][0]:.2f} of the rate\n")


if __name__ == "__main__":
    main()
