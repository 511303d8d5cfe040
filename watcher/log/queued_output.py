"""Standard output and standard error that never hold up who writes: a bounded queue each, emptied by a thread of its own.

A pipe, a terminal or a log driver that nobody reads blocks that thread and nothing else. What does not fit is lost and counted:
lines that may be lost first, those that should be kept (endings, warnings, errors) only when four times as much waits. Once
somebody reads again it is said on standard error how many are missing. The audit file is another matter and holds every ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from watcher.log import LogInFront, level_of
from watcher.model import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from watcher.log import LevelledLog
    from watcher.model import Event

ROOM_BYTES: Final = 4_000_000
KEPT_ROOM_BYTES: Final = 4 * ROOM_BYTES
STOP_SECONDS: Final = 2.0
"""A stop waits so long for a reader that takes nothing."""
_NEVER: Final = threading.TIMEOUT_MAX


class LineQueue:
    """Writes to a descriptor in a thread. `say` is told, in that thread, what was lost and why."""

    def __init__(self, descriptor: int, say: Callable[[str], object], room: int = ROOM_BYTES) -> None:
        self._descriptor = descriptor
        self._say = say
        self._room = room
        self._changed = threading.Condition()
        self._lines: deque[bytes | Callable[[], None]] = deque()
        self.waiting = 0
        """Bytes that are not written yet."""
        self._lost = 0
        self._moved_at = time.monotonic()
        self._is_failing = False
        self._thread: threading.Thread | None = None

    def put(self, data: bytes, *, keep: bool = False) -> None:
        """Have it written, or count it as lost. Does not wait."""
        with self._changed:
            if self.waiting + len(data) > (self._room * KEPT_ROOM_BYTES // ROOM_BYTES if keep else self._room):
                self._lost += 1
                return
            self.waiting += len(data)
            self._append(data)

    def when_written(self, call: Callable[[], None]) -> None:
        """Have this called, in the thread, once all that was put so far is written or lost."""
        with self._changed:
            self._append(call)

    def drain(self, patience: float = STOP_SECONDS) -> bool:
        """Wait until all is written, as long as somebody reads. False where something is left."""
        began = time.monotonic()
        with self._changed:
            while self.waiting:
                left = max(began, self._moved_at) + patience - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.1))
        return True

    def _append(self, entry: bytes | Callable[[], None]) -> None:
        self._lines.append(entry)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"output {self._descriptor}", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._lines:
                    self._changed.wait(_NEVER)
                data = self._next()
            if not isinstance(data, bytes):
                data()
                continue
            self._write(data)
            with self._changed:
                self.waiting -= len(data)
                lost, self._lost = self._lost, 0
                self._moved_at = time.monotonic()
                self._changed.notify_all()
            if lost:
                self._say(f"{lost} log lines were lost: nobody read them for a while; the audit file has every ending")

    def _next(self) -> bytes | Callable[[], None]:
        """What is to be done next: a call, or the lines before it, as many as a pipe takes in one piece."""
        first = self._lines.popleft()
        if not isinstance(first, bytes):
            return first
        pieces, size = [first], len(first)
        while self._lines and isinstance(line := self._lines[0], bytes) and size + len(line) <= select.PIPE_BUF:
            pieces.append(line)
            size += len(line)
            self._lines.popleft()
        return b"".join(pieces)

    def _write(self, data: bytes) -> None:
        """All of it. Where the reader is gone or the disk is full it is lost, and said once."""
        left = memoryview(b"\n" + data if self._is_failing else data)
        try:
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:  # somebody who shares the descriptor made it so
                    poll = select.poll()
                    poll.register(self._descriptor, select.POLLOUT)
                    poll.poll()
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                self._say(f"log lines are lost: {error.strerror}")
            self._is_failing = True


class QueuedStream(io.TextIOBase):
    """A text stream over a LineQueue. `keep`: what is written now should not be lost."""

    def __init__(self, queue: LineQueue, like: Any) -> None:
        """`like`: the stream whose place it takes."""
        self._queue = queue
        self._like = like
        self._begun = ""
        self._lock = threading.Lock()
        self.keep = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream whose place it takes."""
        return str(self._like.encoding or "utf-8")

    def isatty(self) -> bool:
        """As above."""
        return bool(self._like.isatty())

    def fileno(self) -> int:
        """As above."""
        return int(self._like.fileno())

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Gather until a line is whole."""
        with self._lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                self._put(lines + newline)
        return len(text)

    def flush(self) -> None:
        """Hand on what was begun; does not wait until it is written."""
        with self._lock:
            begun, self._begun = self._begun, ""
            if begun:
                self._put(begun)

    def when_written(self, call: Callable[[], None]) -> None:
        """Have this called, in another thread, once every line so far is written or lost."""
        self._queue.when_written(call)

    def _put(self, text: str) -> None:
        self._queue.put(text.encode(self.encoding, "backslashreplace"), keep=self.keep)


class QueuedLog(LogInFront):
    """Marks for the stream which lines of a log should be kept: endings, warnings and errors."""

    def __init__(self, log: LevelledLog, stream: QueuedStream) -> None:
        super().__init__(log)
        self._stream = stream

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Write one line, without waiting for who reads it."""
        self._stream.keep = event in ENDINGS or level_of(event, fields.get("reason")) in ("warning", "error")
        self._log.write(event, fields)

    def written(self) -> asyncio.Future[None]:
        """Done when every line so far is written, or lost."""
        loop = asyncio.get_running_loop()
        reached: asyncio.Future[None] = loop.create_future()

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(_reach, reached)

        self._stream.when_written(call)
        return reached


def _reach(reached: asyncio.Future[None]) -> None:
    """Nobody may wait for it any more."""
    if not reached.done():
        reached.set_result(None)


@contextlib.contextmanager
def queued_output() -> Iterator[QueuedStream]:
    """Put queues in the place of standard output and standard error; gives the former. At the end what waits is written."""
    plain = sys.stdout, sys.stderr
    errors = LineQueue(plain[1].fileno(), lambda _: None)
    lines = LineQueue(plain[0].fileno(), lambda what: errors.put(f"compressor-watcher: {what}\n".encode(), keep=True))
    for stream in plain:
        stream.flush()
    out, err = QueuedStream(lines, plain[0]), QueuedStream(errors, plain[1])
    err.keep = True
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        lines.drain()
        errors.drain()
        sys.stdout, sys.stderr = plain
