"""Runs a program of somebody else's: without a shell, bounded in time, in a process group of its own that ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self

from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR
from watcher.notify.sender import NotConfirmed

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

_TAIL_BYTES: Final = 2_000
_LAST_WORDS_SECONDS: Final = 0.2
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
        async with _Pipes() as pipes:
            process = await self._start(pipes)
            try:
                await pipes.connect(given)
                async with asyncio.timeout(self.seconds):
                    status = await process.wait()
                await pipes.last_words()
            except TimeoutError:
                words = f"{self.name} took longer than {self.seconds:g} s and was killed, with all that it had started"
                raise NotConfirmed(words, "let it hand long work to something else and exit") from None
            finally:
                if process.returncode is None:
                    _kill_group(process.pid)
                    await process.wait()
            return Exit(status, _last_words(bytes(pipes.tail).decode(errors="replace")))

    async def _start(self, pipes: _Pipes) -> Process:
        try:
            pipes.open()
            return await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=pipes.its_input,
                stdout=pipes.its_output,
                stderr=pipes.its_output,
                start_new_session=True,
                env=dict(self.environment),
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "is it there, executable for this user, and does its first line name an interpreter that is there?"
            raise NotConfirmed(
                f"{self.name} cannot be run: {reason}", NO_DESCRIPTOR if error.errno in CANNOT_TELL else hint
            ) from None


class _Pipes:
    """A program's standard input and output. asyncio's own would be waited for as long as anybody has them open."""

    def __init__(self) -> None:
        self.tail = bytearray()
        """The end of what it said."""
        self._open = set[int]()
        self._transports: list[asyncio.WriteTransport | asyncio.ReadTransport] = []
        self._reading: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Make them. Raises OSError where there are no descriptors left; what was made by then ends with the context."""
        self.its_input, self._input = self._made()
        self._output, self.its_output = self._made()

    def _made(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open.update(ends)
        return ends

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
        for transport in self._transports:
            transport.close() if isinstance(transport, asyncio.ReadTransport) else transport.abort()
        for descriptor in self._open:
            os.close(descriptor)

    async def connect(self, given: bytes) -> None:
        """Once the program has its ends: give it what it is to read (it need not), and read what it says."""
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        for descriptor in (self.its_input, self.its_output):
            self._open.discard(descriptor)
            os.close(descriptor)
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, self._taken(self._input, "wb"))
        self._transports.append(writing)
        writing.write(given)
        writing.close()
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._taken(self._output, "rb"))
        self._transports.append(reading)
        self._reading = asyncio.create_task(self._read(reader))

    def _taken(self, descriptor: int, mode: str) -> IO[bytes]:
        self._open.discard(descriptor)
        return os.fdopen(descriptor, mode, 0)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while some := await reader.read(65_536):
            self.tail += some
            del self.tail[:-_TAIL_BYTES]

    async def last_words(self) -> None:
        """What the program left in its pipe; what it left running may keep that open forever."""
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=_LAST_WORDS_SECONDS)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _last_words(said: str) -> str:
    """The last line that says anything, fit for a log."""
    lines = ("".join(letter for letter in line if letter.isprintable()).strip() for line in said.splitlines())
    return next(reversed([line for line in lines if line]), "")[:_SHOWN]
