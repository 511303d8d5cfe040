"""A terminal for the command: a pty of a given size, and what a person would see on it.

The command is forked as tests/support/daemon.py does it; `installed=True` makes it the installed file.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any, Self

import pyte

from tests.support.daemon import COMMAND, Process, clean_environment, is_forked
from tests.support.forks import fork

PATIENCE_SECONDS = 60.0
HISTORY = 5_000


class Terminal:
    """Runs the command in a terminal of so many columns and rows."""

    def __init__(
        self,
        *arguments: str | Path,
        size: tuple[int, int] = (80, 24),
        environment: dict[str, str] | None = None,
        installed: bool = False,
        **options: Any,
    ) -> None:
        self.columns, self.rows = size
        self.screen = pyte.HistoryScreen(self.columns, self.rows, history=HISTORY, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))
        options |= {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
        variables = clean_environment(TERM="xterm-256color", **(environment or {}))
        self.process: Process
        if installed or not is_forked(environment):
            self.process = subprocess.Popen([COMMAND, *map(str, arguments)], env=variables, **options)
        else:
            self.process = fork(arguments, environment=variables, **options)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def read(self, seconds: float) -> bool:
        """Read what is there, waiting so long for the first of it. False where the other end is closed."""
        while select.select([self._master], [], [], seconds)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:  # EIO: nobody has the other end open any more
                return False
            if not data:
                return False
            self.raw += data
            self._stream.feed(data)
            seconds = 0.0
        return True

    def until(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the text was shown."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self.read(0.05) or text in self.text, f"it ended without {text!r}:\n{self.text}"
            assert time.monotonic() < deadline, f"no {text!r} within {seconds} s:\n{self.text}"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Read to the end; gives the exit status."""
        deadline = time.monotonic() + seconds
        while self.read(0.1):
            assert time.monotonic() < deadline, f"it did not end within {seconds} s:\n{self.text}"
        return self.process.wait(seconds)

    @property
    def lines(self) -> list[str]:
        """The rows that were shown, from the first on, without trailing spaces."""
        past = ["".join(line[column].data for column in range(self.columns)) for line in self.screen.history.top]
        rows = [row.rstrip() for row in [*past, *self.screen.display]]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines)
