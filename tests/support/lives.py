"""Many short lives of the daemon, cheap enough to end dozens of them: a process that has imported everything forks each life.

    with Nursery() as nursery:
        life = nursery.begin("run", "--config", path, log=tmp_path / "log.jsonl")
        life.wait_for("service.ready")
        life.kill()

Their standard output is appended to `log`, which may be shared by all of them; standard error goes beside it (`log` + ".err").
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.support.crashing import Crash
from tests.support.daemon import PATIENCE_SECONDS, clean_environment
from tests.support.forks import Forked, fork


def read_lines(log: Path, start: int = 0) -> list[dict[str, Any]]:
    """The whole lines of a log from byte `start` on; a line that a kill cut short is left out."""
    return _read_on(log, start)[0]


def _read_on(log: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """The same, and where the next line begins."""
    if not log.exists():
        return [], start
    with log.open("rb") as file:
        file.seek(start)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    found = []
    for raw in whole.splitlines():
        try:
            found.append(json.loads(raw))
        except ValueError:
            continue  # the end of one life's torn line and the beginning of the next life's
    return found, start + len(whole)


class Life:
    """One run of the command."""

    def __init__(self, process: Forked, log: Path, start: int) -> None:
        self.pid = process.pid
        self.log = log
        self._process = process
        self._lines: list[dict[str, Any]] = []
        self._next = start

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far, of which each line is read once."""
        found, self._next = _read_on(self.log, self._next)
        self._lines += found
        return list(self._lines)

    def errors(self) -> str:
        """What all lives of this log wrote to standard error."""
        path = errors_beside(self.log)
        return path.read_text() if path.exists() else ""

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Its lines of this event whose fields have these values."""
        found = [line for line in self.lines() if line["event"] == event]
        return [line for line in found if all(line.get(key) == value for key, value in fields.items())]

    def wait_for(self, event: str, count: int = 1, seconds: float = PATIENCE_SECONDS, **fields: Any) -> list[dict[str, Any]]:
        """Wait until it has logged so many lines of the event; gives them."""
        deadline = time.monotonic() + seconds
        while len(found := self.events(event, **fields)) < count:
            status = self.poll()
            assert status is None, f"ended with {status} before {event}: {self.errors()} {self.lines()[-5:]}"
            assert time.monotonic() < deadline, f"{len(found)} of {count} {event} in {seconds} s: {self.lines()[-5:]}"
            time.sleep(0.02)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status, when it has ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s: {self.lines()[-5:]} {self.errors()}") from None

    def kill(self) -> int:
        """SIGKILL; gives the exit status."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()


class Nursery:
    """Where lives are begun. Whatever still runs at its end is killed."""

    def __init__(self) -> None:
        self._lives: list[Life] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._lives:
            if life.poll() is None:
                life.kill()

    def begin(
        self, *arguments: str | Path, log: Path, crash: Crash | None = None, environment: dict[str, str] | None = None
    ) -> Life:
        """A life of the command with these arguments, and how it is to end."""
        start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as lines, errors_beside(log).open("ab") as errors:
            process = fork(
                arguments,
                environment=clean_environment(**(environment or {})),
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=errors,
                crash=crash,
            )
        life = Life(process, log, start)
        self._lives.append(life)
        return life


def errors_beside(log: Path) -> Path:
    """Where the standard error of all lives of this log goes."""
    return log.with_suffix(log.suffix + ".err")
