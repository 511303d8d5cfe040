"""The process that tells receivers: `python -m watcher.assembly.notifier`, one JSON object a line on stdin and on stdout.

It is a process of its own, so that no receiver costs the daemon time: not the work of sending, not a name server that hangs,
not a program that misbehaves. It reads the journal itself and changes nothing in it: what was confirmed is told to the daemon,
which writes it down. It ends when its stdin ends, hence never outlives the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from watcher.clock import SystemClock
from watcher.errors import Unavailable
from watcher.log import quiet_libraries
from watcher.model import AuditLine
from watcher.network.proxies import Proxies
from watcher.notify.plan import ReceiverPlan
from watcher.records import database
from watcher.records.followers import lines_after
from watcher.records.threads import ReadThread
from watcher.service import early

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.model import Record
    from watcher.notify.receivers import Receivers

GATHER_SECONDS: Final = 0.25
"""What is confirmed within so long is told in one line, and noted in one change of the journal; what is confirmed last, at once.
A crash repeats no more than that."""
NICENESS: Final = 5
"""Telling of images gives way to the work on them where there is not enough processor time for both."""
_numbers: Final = itertools.count()
_LONGEST_LINE: Final = 16_000_000


class Lines:
    """Reads the lines of the audit file out of the journal, beside the daemon that writes it; or asks the daemon for them."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._path: Path | None = None
        self._reader: ReadThread | None = None
        self._asked: dict[int, asyncio.Future[Sequence[AuditLine]]] = {}

    def use(self, path: Path | None) -> None:
        """Read from this journal; where none is named, the daemon has one that only it reads."""
        if path is not None and path != self._path:
            self._path = path
            self._reader = ReadThread(database.open_beside(path, database.schema().version, writable=False))

    def answered(self, number: int, lines: Sequence[Sequence[Any]]) -> None:
        """What the daemon says to a question."""
        if (asked := self._asked.pop(number, None)) is not None and not asked.done():
            asked.set_result([AuditLine(*each) for each in lines])

    async def after(self, seq: int, limit: int) -> Sequence[AuditLine]:
        """The lines behind `seq`, in order. Raises Unavailable where the journal cannot be read now."""
        if self._reader is None:
            return await self._ask(seq, limit)
        try:
            return await self._reader.ask(lambda connection: lines_after(connection, seq, limit))
        except sqlite3.Error as error:
            raise Unavailable(f"the journal cannot be read: {error}") from error

    async def _ask(self, seq: int, limit: int) -> Sequence[AuditLine]:
        number = next(_numbers)
        future: asyncio.Future[Sequence[AuditLine]] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._voice.say({"after": seq, "limit": limit, "number": number})
        return await future


class Voice:
    """Tells the daemon what receivers do; implements `watcher.notify.relay.Report`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._confirmed: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def confirmed(self, name: str, seq: int) -> None:
        """See `Report.confirmed`."""
        self._confirmed[name] = seq
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self.flush)

    def idle(self) -> None:
        """See `Report.idle`."""
        self.flush()

    def unavailable(self, name: str, message: str, hint: str) -> None:
        """See `Report.unavailable`."""
        self.say({"unavailable": name, "message": message, "hint": hint})

    def recovered(self, name: str, seconds: float, lost: int) -> None:
        """See `Report.recovered`."""
        self.say({"recovered": name, "seconds": round(seconds, 3), "lost": lost})

    def flush(self) -> None:
        """Tell now what was confirmed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._confirmed:
            confirmed, self._confirmed = self._confirmed, {}
            self.say({"confirmed": confirmed})

    def say(self, message: Record) -> None:
        """One line."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()


async def serve(voice: Voice) -> None:
    """Do what the daemon says until it says no more."""
    with early.Loading():
        from watcher.notify.receivers import Receivers, Ways

    lines = Lines(voice)
    ways = Ways(Proxies.of_environment(os.environ), dict(os.environ))
    receivers = Receivers(ways, lines.after, voice, SystemClock(), random.random)
    async for message in _heard():
        await _obey(message, receivers, lines, voice)


async def _obey(message: Record, receivers: Receivers, lines: Lines, voice: Voice) -> None:
    match message:
        case {"use": plans, "positions": positions, "journal": journal}:
            lines.use(None if journal is None else Path(journal))
            await receivers.use([ReceiverPlan.from_json(each) for each in plans], positions)
        case {"lines": found, "number": number}:
            lines.answered(number, found)
        case {"look": _}:
            receivers.look()
        case {"outage": record, "id": identity}:
            receivers.tell(record, identity)
        case {"healthy": _}:
            receivers.healthy()
        case {"settle": patience, "hurry": hurry}:
            await receivers.settle(patience, hurry=hurry)
            voice.flush()
            voice.say({"settled": True})


async def _heard() -> Any:
    """The objects on stdin."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while (line := await reader.readline()).endswith(b"\n"):
        yield json.loads(line)


def _private_stdout() -> TextIO:
    """The pipe to the daemon; what libraries print goes to stderr instead."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def main() -> None:
    """Serve until stdin ends, then leave at once: threads may hang in a name server, and programs are ended with their runs."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the daemon, which says when to end
    with contextlib.suppress(OSError):  # the service may not; then all have the same right
        os.nice(NICENESS)
    quiet_libraries()
    voice = Voice(_private_stdout())
    try:
        asyncio.run(_until_the_end(voice))
    except BrokenPipeError:  # the daemon is gone
        os._exit(0)
    os._exit(0)


async def _until_the_end(voice: Voice) -> None:
    await serve(voice)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    os._exit(0)


if __name__ == "__main__":
    main()
