"""Many short lives of the daemon, cheap enough to end dozens of them: a process that has imported everything forks each life.

    with Nursery() as nursery:
        life = nursery.begin("run", "--config", path, log=tmp_path / "log.jsonl")
        life.wait_for("service.ready")
        life.kill()

What runs is the installed command's own `main`, with the arguments given; only the start of the interpreter is saved. The lives'
standard output is appended to `log`, which may be shared by all of them; standard error goes beside it (`log` + ".err").
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from tests.support.crashing import Crash
from tests.support.daemon import PATIENCE_SECONDS, clean_environment

ROOT = Path(__file__).parents[2]


def read_lines(log: Path, start: int = 0) -> list[dict[str, Any]]:
    """The whole lines of a log from byte `start` on; a line that a kill cut short is left out."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(start)
        content = file.read()
    found = []
    for raw in content.splitlines(keepends=True):
        if raw.endswith(b"\n"):
            try:
                found.append(json.loads(raw))
            except ValueError:
                continue  # the end of one life's torn line and the beginning of the next life's
    return found


class Life:
    """One run of the command."""

    def __init__(self, nursery: Nursery, pid: int, log: Path, start: int) -> None:
        self.pid = pid
        self.log = log
        self._nursery = nursery
        self._start = start
        self._status: int | None = None

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        return read_lines(self.log, self._start)

    def errors(self) -> str:
        """What all lives of this log wrote to standard error."""
        path = self.log.with_suffix(self.log.suffix + ".err")
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
        if self._status is None:
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        return self._ask(0.0)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status, when it has ended."""
        status = self._ask(seconds)
        assert status is not None, f"still running after {seconds} s: {self.lines()[-5:]} {self.errors()}"
        return status

    def kill(self) -> int:
        """SIGKILL; gives the exit status."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def _ask(self, seconds: float) -> int | None:
        if self._status is None:
            self._status = self._nursery.call(what="wait", pid=self.pid, seconds=seconds)
        return self._status


class Nursery:
    """The process that forks the lives. Whatever still runs at its end is killed."""

    def __init__(self) -> None:
        self._lives: list[Life] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.lives"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._lives:
            if life.poll() is None:
                life.kill()
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def begin(
        self, *arguments: str | Path, log: Path, crash: Crash | None = None, environment: dict[str, str] | None = None
    ) -> Life:
        """A life of the command with these arguments, and how it is to end."""
        start = log.stat().st_size if log.exists() else 0
        pid = self.call(
            what="begin",
            arguments=[str(argument) for argument in arguments],
            log=str(log),
            crash=None if crash is None else asdict(crash),
            environment=environment or {},
        )
        life = Life(self, pid, log, start)
        self._lives.append(life)
        return life

    def call(self, **request: Any) -> Any:
        """One request to the process, and its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks the lives has died"
        return json.loads(answer)


def _begin(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    _live(request)
    sys.exit(0)


def _live(request: dict[str, Any]) -> None:
    from watcher.cli import main

    log = request["log"]
    for path, descriptor in ((os.devnull, 0), (log, 1), (log + ".err", 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.update(request["environment"])
    if request["crash"] is not None:
        Crash(**request["crash"]).install()
    sys.argv = ["compressor-watcher", *request["arguments"]]
    main()


def _wait(request: dict[str, Any]) -> int | None:
    deadline = time.monotonic() + request["seconds"]
    while True:
        pid, status = os.waitpid(request["pid"], os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)


def _import_everything() -> None:
    """What every life needs, so that none has to load it: all of the daemon, but not the engine."""
    import watcher

    for module in pkgutil.walk_packages(watcher.__path__, "watcher."):
        if not module.name.startswith(("watcher.engine", "watcher.__main__")):
            importlib.import_module(module.name)
    importlib.import_module("structlog")
    gc.freeze()  # nobody's collector need look at it again


def _serve() -> None:
    _import_everything()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _begin(request) if request["what"] == "begin" else _wait(request)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
