"""What the benchmarks share: figures with their bars, medians of interleaved runs, pictures, and the daemon as a process."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.daemon import COMMAND, clean_environment, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEED = 20_261_122
PATIENCE_SECONDS = 240.0


class Missing(Exception):
    """Something that a benchmark needs is not on this machine. The message says what."""


@dataclass(frozen=True)
class Figure:
    """One line of the result. `value` is None where it could not be measured, and `note` says why."""

    what: str
    value: float | None
    bar: str = ""
    holds: bool | None = None
    note: str = ""

    def cells(self) -> tuple[str, str, str, str]:
        """The line's cells: what, value, bar, verdict."""
        verdict = {True: "holds", False: "MISSED", None: ""}[self.holds]
        shown = "not measured" if self.value is None else f"{self.value:.3g}"
        return self.what, shown, self.bar, " ".join(filter(None, (verdict, f"({self.note})" if self.note else "")))


def at_least(what: str, value: float, bar: float, note: str = "") -> Figure:
    """A figure that should reach its bar."""
    return Figure(what, value, f">= {bar:g}", value >= bar, note)


def at_most(what: str, value: float, bar: float, note: str = "") -> Figure:
    """A figure that should not pass its bar."""
    return Figure(what, value, f"<= {bar:g}", value <= bar, note)


def not_measured(what: str, why: str) -> Figure:
    """A figure that cannot be had here."""
    return Figure(what, None, note=why)


def table(figures: Sequence[Figure]) -> str:
    """The figures as a table for people (and Markdown)."""
    rows = [("what", "measured", "bar", ""), *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"


def interleaved(repeats: int, **contenders: Callable[[], float]) -> dict[str, list[float]]:
    """Every contender's results, run in turns, so that whatever else the machine does hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats):
        names = list(contenders) if turn % 2 == 0 else list(reversed(contenders))
        for name in names:
            found[name].append(contenders[name]())
    return found


def median_ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios of runs that were neighbours."""
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def say(text: str) -> None:
    """Progress, for people."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def wait_for(condition: Callable[[], bool], what: str, pause: float = 0.005) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(pause)


class Lines:
    """A log file that grows; counts lines with a word in them, reading every byte once."""

    def __init__(self, path: Path, word: bytes) -> None:
        self._file = path.open("rb")
        self._word = word
        self._begun = b""
        self.count = 0

    def reached(self, count: int) -> bool:
        """Whether there are so many by now."""
        *whole, self._begun = (self._begun + self._file.read()).split(b"\n")
        self.count += sum(self._word in line for line in whole)
        return self.count >= count

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def daemon(
    folder: Path, settings: dict[str, Any], *, command: Sequence[str | Path] = (COMMAND, "run", "--config"), **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The installed command at work: its process and its log. `state` and `drop` lie in `folder`.

    Another `command` may be run in its place; the configuration's path is its last argument.
    """
    (folder / "drop").mkdir(exist_ok=True)
    table = {
        "state_dir": folder / "state",
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "store": {"id": "c", "bucket": "bench", "region": "eu-central-003"},
        "folders": [{"path": folder / "drop"}],
        **settings,
    }
    log = folder / "log.jsonl"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, write_config(folder / "config.toml", table)],
            cwd=Path(__file__).parents[1],
            stdout=output,
            env=clean_environment(**environment),
        )
    try:
        ready = Lines(log, b'"service.ready"')
        wait_for(lambda: process.poll() is not None or ready.reached(1), "the daemon's start")
        ready.close()
        if process.poll() is not None:
            raise RuntimeError(f"the daemon ended: {log.read_text()[-500:]}")
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def child(*arguments: str | Path, **options: Any) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A benchmark's helper process (`python -m ARGUMENTS`); gives it and the JSON line that it says first."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=clean_environment(),
        **options,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.terminate()
        process.wait(30)
        process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def photographs(folder: Path, count: int, width: int, height: int, *, first: int = 0) -> list[Path]:
    """JPEGs that differ, with the textures of a photograph; the same on every machine. `first` numbers the first of them."""
    import random

    from tests.support.pictures import jpeg

    folder.mkdir(parents=True, exist_ok=True)
    content, numbers = jpeg(width, height, quality=92), random.Random(SEED + first)  # noqa: S311 - sameness is wanted
    paths = [folder / f"{number:06d}.jpg" for number in range(first, first + count)]
    for path in paths:
        note = numbers.randbytes(16)
        path.write_bytes(content[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + content[2:])
    return paths
