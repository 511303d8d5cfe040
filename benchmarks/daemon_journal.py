"""What durability costs the daemon: images a second, end to end, with the durable journal and with one in memory.

    python -m benchmarks.daemon_journal [--quick] [--folder DIR]

The same App does the same work twice, a process each, and all else is alike: the audit file is synced to the disk in both. Both
ask the same stand-in of the API. Runs are interleaved, and neighbours compared. The second figure compares the processor time
that an image costs: other work on the machine hardly touches it, while it may keep the disk busy. DIR should lie on the disk to
be measured; in memory (tmpfs) nothing is durable, and the figure says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import watcher.app
from benchmarks.common import (
    Figure,
    Lines,
    at_least,
    cpu_seconds,
    daemon,
    interleaved,
    median_ratio,
    photographs,
    say,
    table,
    wait_for,
)
from tests.support.standin import DEFAULT_KEY, StandinProcess
from watcher.assembly.parts import Context, Records
from watcher.assembly.records import start_records
from watcher.commands.run import open_log
from watcher.config.loading import load_settings, read_toml
from watcher.log.console import Tally
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.control import Control

BAR = 0.8
WARM_UP = 50
"""Images before the clock starts: connections are made, pools are filled."""


async def start_records_in_memory(context: Context) -> Records:
    """As the daemon does, but for the place of the journal; the audit file is as durable as ever."""
    settings = context.settings
    journal = SqliteJournal.open(
        ":memory:", events=context.events, clock=context.clock, keep=settings.keep, new_id=lambda: str(uuid.uuid4())
    )
    context.life.on_stop(journal.close)
    relay = OutboxRelay(journal, AuditFile(settings.audit_path), context.events)
    await relay.start()
    context.life.on_stop(relay.stop)
    return Records(journal, relay)


KINDS = {"durable": start_records, "memory": start_records_in_memory}


async def run(kind: str, config: Path) -> None:
    """Such a daemon, until SIGTERM."""
    settings = load_settings(read_toml(config), os.environ)
    watcher.app.start_records = KINDS[kind]
    control = Control()
    control.catch_signals()
    async with watcher.app.started(settings, open_log(settings, Tally()), control=control) as app:
        await app.run()


def images_a_second(kind: str, api: str, aside: Path, costs: dict[str, list[float]]) -> float:
    """From the arrival of the first file to the line about the last, in a daemon that is warm.

    `costs`: milliseconds of processor time that an image cost, by kind, a run each.
    """
    with tempfile.TemporaryDirectory(dir=aside.parent) as name:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = [Path(shutil.copy2(path, folder / "in")) for path in sorted(aside.iterdir())]
        command = (sys.executable, "-m", "benchmarks.daemon_journal", "--run", kind)
        with daemon(folder, {"compressor": {"url": api}}, command=command, WATCHER_COMPRESSOR__API_KEY=DEFAULT_KEY) as (
            child,
            log,
        ):
            lines = Lines(log, b'"image.stored"')
            move_in(paths[:WARM_UP], folder / "drop", lines, WARM_UP)
            started, before = time.perf_counter(), cpu_seconds(child.pid)
            move_in(paths[WARM_UP:], folder / "drop", lines, len(paths))
            taken = time.perf_counter() - started
            costs[kind].append(1_000 * (cpu_seconds(child.pid) - before) / (len(paths) - WARM_UP))
            lines.close()
    return (len(paths) - WARM_UP) / taken


def move_in(paths: list[Path], drop: Path, lines: Lines, stored: int) -> None:
    """Drop the files, and wait until so many have been stored in all."""
    for path in paths:
        path.rename(drop / path.name)
    wait_for(lambda: lines.reached(stored), "the last image")


def measure(quick: bool = False, folder: Path | None = None) -> list[Figure]:
    """The figures."""
    count, repeats = (200, 1) if quick else (1_000, 7)
    costs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(dir=folder) as name, StandinProcess() as standin:
        aside, api = Path(name) / "aside", standin.url
        photographs(aside, count + WARM_UP, 320, 200)
        found = interleaved(
            repeats,
            durable=lambda: images_a_second("durable", api, aside, costs),
            memory=lambda: images_a_second("memory", api, aside, costs),
        )
    for kind, rates in found.items():
        say(f"  {kind}: {', '.join(f'{rate:.0f}' for rate in rates)} images/s")
    say("  CPU ms an image: " + ", ".join(f"{kind} {statistics.median(values):.2f}" for kind, values in costs.items()))
    return [
        at_least("images/s, durable journal / in memory", median_ratio(found["durable"], found["memory"]), BAR),
        Figure("CPU an image: journal in memory / durable", median_ratio(costs["memory"], costs["durable"])),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured; default: the temporary folder")
    parser.add_argument("--run", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("config", nargs="?", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        asyncio.run(run(given.run, given.config))
        return
    sys.stdout.write(table(measure(given.quick, given.folder)))


if __name__ == "__main__":
    main()
