"""The installed command, driven as an outsider would: a process, its standard output, its files.

Where nothing but the start of the interpreter would be added, it is forked (tests/support/forks.py); `installed=True`, a command
around it, or an environment that Python itself reads make it the installed file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

from tests.support.clocks import VARIABLE
from tests.support.forks import fork

COMMAND = Path(sys.executable).with_name("compressor-watcher")
PATIENCE_SECONDS = 60.0
OF_THE_COMMAND = ("WATCHER_", "XDG_", "CREDENTIALS_DIRECTORY", VARIABLE)
"""How variables begin that are read by the command, not by the interpreter or by libraries while they are imported."""
ON_THE_WAY = ("HTTPS_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""The same of variables that say how others are reached: the command reads them when it makes a client."""
OF_PROGRAMS = ("PATH", "CLOUDFLARE_", "BUNNY_", "WORDPRESS_", "SHOPIFY_")
"""The same of variables that only programs read which the command runs."""


def wait_until(condition: Any, seconds: float = PATIENCE_SECONDS, *, pause: float = 0.02) -> Any:
    """Poll until the condition is true and give its value; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without settings of whoever runs the tests."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WATCHER_")}
    return {**kept, **more}


def is_forked(environment: dict[str, str] | None) -> bool:
    """Whether a process with these variables besides the suite's own does the same where it is forked."""
    return all(name.startswith((*OF_THE_COMMAND, *ON_THE_WAY, *OF_PROGRAMS)) for name in environment or {})


def command(
    *arguments: str | Path,
    environment: dict[str, str] | None = None,
    timeout: float = 120,
    cwd: str | Path | None = None,
    installed: bool = False,
    open_files: tuple[int, int] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. Further options are those of subprocess.run; `open_files` is as a Daemon has it."""
    variables = clean_environment(**(environment or {}))
    if options or installed or not is_forked(environment):
        words = [COMMAND, *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=variables, cwd=cwd, **options)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = fork(arguments, environment=variables, cwd=cwd, stdout=output, stderr=errors, open_files=open_files)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(list(map(str, arguments)), status, _text(output), _text(errors))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


class Process(Protocol):
    """What tests do with a process."""

    pid: int
    returncode: int | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Daemon:
    """A running `compressor-watcher run`; its log lines are read as they come."""

    def __init__(
        self,
        config: Path,
        environment: dict[str, str] | None = None,
        *,
        verb: str = "run",
        within: Sequence[str] = (),
        installed: bool = False,
        open_files: tuple[int, int] | None = None,
    ) -> None:
        """`within` is a command that runs it, as `setpriv` or `unshare` do.

        `open_files` is how many a forked one may have: the soft and the hard limit.
        """
        self.config = config
        self.lines: list[dict[str, Any]] = []
        self.errors: list[str] = []
        arguments, variables, pipe = (verb, "--config", str(config)), clean_environment(**(environment or {})), subprocess.PIPE
        self.process: Process
        if within or installed or not is_forked(environment):
            self.process = subprocess.Popen([*within, COMMAND, *arguments], stdout=pipe, stderr=pipe, env=variables)
        else:
            self.process = fork(arguments, environment=variables, stdout=pipe, stderr=pipe, open_files=open_files)
        self._threads = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            self.lines.append(json.loads(raw))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            self.errors.append(raw.decode(errors="replace"))

    def __enter__(self) -> Self:
        self.wait_for("service.ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines so far of this event whose fields have these values."""
        found = [line for line in list(self.lines) if line["event"] == event]
        return [line for line in found if all(line.get(key) == value for key, value in fields.items())]

    def wait_for(self, event: str, count: int = 1, seconds: float = PATIENCE_SECONDS, **fields: Any) -> list[dict[str, Any]]:
        """Wait until there are so many lines of the event; gives them."""
        deadline = time.monotonic() + seconds
        while len(found := self.events(event, **fields)) < count:
            ended = self.process.poll() is not None
            assert not ended, f"the daemon ended with {self.process.returncode}: {''.join(self.errors)} {self.lines[-5:]}"
            assert time.monotonic() < deadline, (
                f"{len(found)} of {count} {event} within {seconds} s; last lines: {self.lines[-5:]} {''.join(self.errors[-20:])}"
            )
            time.sleep(0.02)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the end; gives the exit status."""
        status = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.wait()


def write_config(path: Path, data: dict[str, Any]) -> Path:
    """Write a TOML file of plain tables, lists, texts, numbers and truths."""
    path.write_text(to_toml(data), encoding="utf-8")
    return path


def to_toml(data: dict[str, Any]) -> str:
    """TOML of plain data; nested tables are written inline."""
    return "".join(f"{json.dumps(key)} = {_toml_value(value)}\n" for key, value in data.items())


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, Path):
        return json.dumps(str(value))
    return json.dumps(value)


def read_audit(path: Path) -> list[dict[str, Any]]:
    """The lines of an audit file; without one that is on its way. `audit verify` tells where a line was left torn."""
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [json.loads(line) for line in whole.decode().splitlines()]
