"""What commands cost, in seconds of processor time, and what installing the core takes.

    python -m benchmarks.commands [--quick]

`--help` and `status` are what people wait for at the prompt; `list` and `audit verify` walk through a journal and an audit file
of 100,000 images. The core is installed by pip from a wheel of this tree into an environment of its own, without extras.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import Figure, at_most, not_measured, say, table
from tests.support.big_journal import BUCKET, FOLDERS, fill
from tests.support.daemon import COMMAND, clean_environment, write_config
from watcher.records.audit_file import AuditFile
from watcher.records.queries import NumberedEnding

if TYPE_CHECKING:
    from collections.abc import Sequence

REPEATS = 5
NOBODY_RUNS = 3
"""What `status` ends with where no daemon runs, as here."""
MEBIBYTE = 1 << 20
TREE = Path(__file__).parents[1]


def configure(folder: Path) -> Path:
    """A configuration with the folders of the large journal."""
    settings: dict[str, Any] = {
        "state_dir": folder / "state",
        "compressor": {"url": "http://127.0.0.1:9/1.0"},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "store": {"id": "c", "bucket": BUCKET, "region": "eu-central-003"},
        "folders": [{"name": name, "path": folder / name} for name in FOLDERS],
    }
    for name in ("state", *FOLDERS):
        (folder / name).mkdir()
    return write_config(folder / "config.toml", settings)


def write_audit(state: Path) -> None:
    """The audit file of the journal's endings, chained as the daemon does."""
    audit = AuditFile(state / "audit.jsonl")
    audit.resume()
    with closing(sqlite3.connect(state / "journal.db")) as journal:
        rows = journal.execute("SELECT seq, image_id, rendition, record FROM endings ORDER BY seq")
        while lines := rows.fetchmany(10_000):
            audit.append([NumberedEnding(*ending, json.loads(record)) for *ending, record in lines])
    audit.close()


def processor_seconds(command: Sequence[str | Path]) -> float:
    """What the command uses until its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = clean_environment(WATCHER_COMPRESSOR__API_KEY="k")
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode not in (0, NOBODY_RUNS):
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_commands(folder: Path, images: int) -> list[Figure]:
    """The medians of a few runs each."""
    config = configure(folder)
    asyncio.run(fill(folder / "state" / "journal.db", images, time.time()))
    write_audit(folder / "state")
    asked: list[tuple[str, list[str | Path], float]] = [
        ("--help", ["--help"], 0.3),
        ("status", ["status", "--config", config], 0.4),
        (f"list --limit 0 --json, {images:,} images", ["list", "--limit", "0", "--json", "--config", config], 2.0),
        (f"audit verify, {images:,} lines", ["audit", "verify", "--config", config], 3.0),
    ]
    figures = []
    for what, arguments, bar in asked:
        spent = [processor_seconds([COMMAND, *arguments]) for _ in range(REPEATS)]
        figures.append(at_most(f"{what}, seconds of CPU", statistics.median(spent), bar))
    return figures


def measure_install(folder: Path) -> list[Figure]:
    """Packages and size of an environment with the core alone."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, TREE]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "core", with_pip=True)
    pip = [folder / "core/bin/python", "-m", "pip", "--disable-pip-version-check"]
    installed = subprocess.run([*pip, "install", "--quiet", *folder.glob("*.whl")], check=False, capture_output=True, text=True)
    if installed.returncode:
        return [not_measured("core alone, packages", installed.stderr.strip().splitlines()[-1])]
    packages = json.loads(subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True).stdout)
    names = {package["name"] for package in packages} - {"pip", "setuptools"}
    size = sum(path.lstat().st_size for path in (folder / "core/lib").rglob("*") if not path.is_dir())
    return [Figure("core alone, packages", len(names)), Figure("core alone, MiB with pip", size / MEBIBYTE)]


def measure(quick: bool = False) -> list[Figure]:
    """The figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*measure_commands(folder, 10_000 if quick else 100_000), *measure_install(folder)]


def main() -> None:
    """Measure and print."""
    say("commands ...")
    sys.stdout.write(table(measure("--quick" in sys.argv[1:])))


if __name__ == "__main__":
    main()
