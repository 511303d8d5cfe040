"""The pool of worker processes: hands out tasks, holds their time, replaces a worker that dies or hangs.

Processes of our own instead of a multiprocessing pool: a worker shares neither memory nor environment with the parent (where
keys are), does not import the parent's main module, and is awaited without a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from watcher.config.units import human_duration
from watcher.engine.refusal import DISK_TROUBLE, Refusal, disk_trouble, unprocessable
from watcher.engine.work import read_answer
from watcher.errors import Unavailable
from watcher.one_processor import THREADS

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from watcher.engine.work import Outcome, Task

_KEPT_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "TMPDIR", "LD_LIBRARY_PATH")
WORKER: Final = (sys.executable, "-m", "watcher.engine.worker")
_DEATHS: Final = 2
_INSTALL_HINT: Final = "pip install 'compressor-watcher[engine]', then try `python -m watcher.engine.worker 1`"
_START_LIMIT: Final = 60.0
_LONGEST_ANSWER: Final = 1_000_000


class WorkerPool:
    """`count` worker processes. `time_limit` in seconds holds for each task; `max_pixels` bounds a worker's memory."""

    def __init__(self, count: int, time_limit: float, max_pixels: int, command: Sequence[str] = WORKER) -> None:
        self._count = count
        self._time_limit = time_limit
        self._command = (*command, str(max_pixels))
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        self._alive: set[Process] = set()

    async def start(self) -> None:
        """Start one worker; the others start when they are needed. Raises Unavailable where libvips does not come up."""
        for _ in range(self._count - 1):
            self._idle.put_nowait(None)
        self._idle.put_nowait(await self._spawn())

    async def stop(self) -> None:
        """End all workers, those at work included."""
        for process in tuple(self._alive):
            await self._end(process)

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Of the workers that are up."""
        return tuple(process.pid for process in self._alive)

    async def run(self, task: Task) -> Outcome:
        """The outcome of `task`. Raises Refusal: the worker's own, or 422 where workers hang or die over the image.

        A worker that dies may have been killed for no fault of the image's: a second one is tried before the image is blamed.
        """
        for _ in range(_DEATHS):
            try:
                return read_answer(await self._attempt(task))
            except (ConnectionError, EOFError, ValueError):
                continue
        raise unprocessable("the worker process died over the image, twice; that says nothing of the image, please report it")

    async def _attempt(self, task: Task) -> dict[str, Any]:
        process = await self._idle.get()
        answered = False
        try:
            if process is None or process.returncode is not None:
                process = await self._spawn()
            async with asyncio.timeout(self._time_limit):
                message = await _exchange(process, task.message())
            answered = True
        except TimeoutError:
            raise unprocessable(f"the image takes longer than {human_duration(self._time_limit)} to process") from None
        finally:
            if not answered and process is not None:
                await self._end(process)
            self._idle.put_nowait(process if answered else None)
        return message

    async def _spawn(self) -> Process:
        process = await self._begin()
        self._alive.add(process)
        try:
            async with asyncio.timeout(_START_LIMIT):
                await _line(process)
        except (TimeoutError, EOFError, ConnectionError, ValueError):
            await self._end(process)
            raise Unavailable("the engine's image worker does not start", _INSTALL_HINT) from None
        except asyncio.CancelledError:
            await self._end(process)
            raise
        return process

    async def _begin(self) -> Process:
        try:
            with THREADS.apart():
                return await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env=_environment(),
                    limit=_LONGEST_ANSWER,
                    start_new_session=True,
                )
        except OSError as error:  # no descriptor, no memory, no process more
            problem = f"the engine cannot begin a worker process: {error.strerror}"
            raise disk_trouble(error) or Refusal(DISK_TROUBLE, problem, retry_after=30) from None

    async def _end(self, process: Process) -> None:
        self._alive.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _exchange(process: Process, message: dict[str, Any]) -> dict[str, Any]:
    if process.stdin is None:
        raise EOFError
    process.stdin.write(json.dumps(message).encode() + b"\n")
    await process.stdin.drain()
    return await _line(process)


async def _line(process: Process) -> dict[str, Any]:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line.endswith(b"\n"):
        raise EOFError
    message: dict[str, Any] = json.loads(line)
    return message


def _environment() -> dict[str, str]:
    """Nothing of the parent's secrets; one thread each, since there is a worker for each core."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return {**kept, "VIPS_CONCURRENCY": "1", "VIPS_WARNING": "0", "MALLOC_ARENA_MAX": "2"}
