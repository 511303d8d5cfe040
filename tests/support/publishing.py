"""Originals, tickets, a recorded log and a clock that tests move, for whoever publishes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from watcher.model import Event, Format, Observation, SourceFacts, Ticket

_numbers = itertools.count()


class OpenedFile:
    """A Source over a real file: opened once, hashed from the descriptor, or with `hold` from its bytes in memory.

    `just_seen`: its path was looked at a moment ago.
    """

    def __init__(
        self,
        path: Path,
        image_format: Format = Format.JPEG,
        name: str | None = None,
        *,
        hold: bool = False,
        just_seen: bool = False,
    ) -> None:
        self.held = path.read_bytes() if hold else None
        self._descriptor = os.open(path, os.O_RDONLY)
        self._path = path
        self._seen_at = time.monotonic() if just_seen else float("-inf")
        status = os.fstat(self._descriptor)
        self._observation = Observation.of(status)
        digest = hashlib.sha1(os.pread(self._descriptor, status.st_size, 0), usedforsecurity=False).hexdigest()
        self.modified = status.st_mtime
        self.facts = SourceFacts(name or path.name, digest, status.st_size, image_format)

    def fileno(self) -> int:
        if self._descriptor < 0:
            raise ValueError("closed")
        return self._descriptor

    def is_intact(self) -> bool:
        now = Observation.of(os.fstat(self.fileno()))
        return (now.size, now.mtime_ns) == (self._observation.size, self._observation.mtime_ns)

    def seen_within(self, seconds: float) -> bool:
        return time.monotonic() - self._seen_at <= seconds

    async def run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)

    def start(self, work: Callable[[], object]) -> None:
        work()

    async def is_current(self, _within: float = 0.0) -> bool:
        return self._path.exists() and self._path.stat().st_ino == self._observation.inode

    def close(self) -> None:
        self.held = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_original(directory: Path, content: bytes, name: str = "photo.jpg") -> Path:
    """A file with this content at a path of its own."""
    path = directory / f"{next(_numbers)}" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def new_ticket(lifetime: float = 600.0) -> Ticket:
    """A ticket as the pipeline makes them, expiring `lifetime` seconds from now."""
    return Ticket(secrets.token_urlsafe(32), secrets.token_urlsafe(32), time.time() + lifetime)


@dataclass
class RecordedLog:
    """An EventLog that keeps what it is told."""

    lines: list[tuple[Event, dict[str, Any]]] = field(default_factory=list)

    def event(self, event: Event, **fields: Any) -> None:
        self.lines.append((event, fields))

    def of(self, event: Event) -> list[dict[str, Any]]:
        return [fields for each, fields in self.lines if each is event]


class MovedClock:
    """A Clock that runs with real time, and that a test can move on; sleepers wake when their time has come."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._set = 0.0
        self._furthest = 0.0
        self.sleepers = 0
        self._moved = asyncio.Event()

    def now(self) -> float:
        return time.time() + self._ahead + self._set

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def steady(self) -> float:
        return time.time() + self._ahead + self._furthest

    def set(self, seconds: float) -> None:
        """Somebody sets the clock on the wall by so much; nothing else moves."""
        self._set += seconds
        self._furthest = max(self._furthest, self._set)

    def move(self, seconds: float) -> None:
        self._ahead += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        due = self.monotonic() + seconds
        self.sleepers += 1
        try:
            while (left := due - self.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._moved.wait()
        finally:
            self.sleepers -= 1


async def wait_until(predicate: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll until the predicate holds, the less often the longer it takes. Fails after `seconds`."""
    deadline, pauses = time.monotonic() + seconds, growing_pauses()
    while not predicate():
        assert time.monotonic() < deadline, f"not within {seconds} s: {predicate}"
        await asyncio.sleep(next(pauses))


def growing_pauses() -> Iterator[float]:
    """Seconds between two looks: what is soon so is seen at once, what takes long is not asked for all the while."""
    pause = 0.01
    while True:
        yield pause
        pause = min(pause * 1.2, 0.1)


class HurriedClock(MovedClock):
    """A Clock whose sleepers do not wait; it remembers for how long they would have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


def skip_without_curl() -> None:
    """Skip the test on a machine without curl."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (apt-get install curl)")


async def curl(url: str, *arguments: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body as curl, a client of another make, gets them. Skips the test where curl is not installed."""
    skip_without_curl()
    given = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--noproxy", "*", "--max-time", "30", "-w", "%{http_code}", *arguments, *given, url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return int(output[-3:]), output[:-3]
