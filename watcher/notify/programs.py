"""Runs a program of somebody else's: without a shell, bounded in time, in a process group of its own that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.notify.sending import NotConfirmed

if TYPE_CHECKING:
    from asyncio import StreamReader
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

_TAIL_BYTES: Final = 2_000
_LAST_WORDS_SECONDS: Final = 0.2
"""What a program left in its pipe is read by then; what it left running may keep the pipe open for ever."""
_SHOWN: Final = 200
_OURS: Final = ("WATCHER_", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")


def environment_for(whole: Mapping[str, str]) -> dict[str, str]:
    """The environment for programs of others: without our own settings, among which are secrets, and the service manager's."""
    return {name: value for name, value in whole.items() if not name.upper().startswith(_OURS)}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a program ended: its status (negative: the signal), and the last line that it said."""

    status: int
    words: str

    @property
    def how(self) -> str:
        """ "exited with status 3: no such product" """
        how = f"was ended by {signal.Signals(-self.status).name}" if self.status < 0 else f"exited with status {self.status}"
        return f"{how}: {self.words}" if self.words else how


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, and how long it may take (seconds). `name` is what it is called where people read of it."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    seconds: float
    name: str

    async def run(self, given: bytes) -> Exit:
        """Run it with `given` on standard input. Raises NotConfirmed where it cannot be run or takes too long.

        What it started is killed with it when it takes too long, and when nobody waits for it any more.
        """
        process = await self._start()
        tail = bytearray()
        tasks = [asyncio.create_task(_keep_tail(process.stdout, tail)), asyncio.create_task(_give(process, given))]
        try:
            async with asyncio.timeout(self.seconds):
                status = await process.wait()
            await asyncio.wait(tasks[:1], timeout=_LAST_WORDS_SECONDS)
        except TimeoutError:
            words = f"{self.name} took longer than {self.seconds:g} s and was killed, with all that it had started"
            raise NotConfirmed(words, "let it hand long work to something else and exit") from None
        finally:
            for task in tasks:
                task.cancel()
            if process.returncode is None:
                _kill_group(process.pid)
                await process.wait()
        return Exit(status, _last_words(tail.decode(errors="replace")))

    async def _start(self) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self.argv, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True, env=dict(self.environment)
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "is it there, executable for this user, and does its first line name an interpreter that is there?"
            raise NotConfirmed(f"{self.name} cannot be run: {reason}", hint) from None


async def _give(process: Process, given: bytes) -> None:
    """A program need not read what it is given."""
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(given)
            await process.stdin.drain()
        process.stdin.close()


async def _keep_tail(pipe: StreamReader | None, tail: bytearray) -> None:
    """Read all that it says, and keep the end of it."""
    while pipe is not None and (some := await pipe.read(65_536)):
        tail += some
        del tail[:-_TAIL_BYTES]


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _last_words(said: str) -> str:
    """The last line that says anything, fit for a log."""
    lines = ("".join(letter for letter in line if letter.isprintable()).strip() for line in said.splitlines())
    return next(reversed([line for line in lines if line]), "")[:_SHOWN]
