"""The engine put together: the vendor's API on this machine, inside any asyncio loop.

request -> api.py (key, form) -> orders.py (what may be asked) -> processing.py (fetch, image, store) -> answer
                              `-> runner.py (large inputs and webhooks: durable, answered at once)
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import logging
import os
import random
import shutil
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from watcher import __version__
from watcher.compressor.wire import ASYNC_ABOVE_BYTES, Pending
from watcher.engine.addresses import AddressPolicy
from watcher.engine.api import MAX_BODY_BYTES, KeyRing, base_url, guard, json_body
from watcher.engine.connector_kinds import build_connectors
from watcher.engine.fetch import Fetcher
from watcher.engine.formats import FORMATS
from watcher.engine.orders import read_order
from watcher.engine.processing import Parts, Processor
from watcher.engine.refusal import Refusal
from watcher.engine.results import SharedResults, TemporaryResults
from watcher.engine.runner import JobRunner
from watcher.engine.sqlite_jobs import SqliteJobs
from watcher.engine.webhooks import Webhooks
from watcher.engine.work import Limits
from watcher.engine.workers import WorkerPool
from watcher.errors import ConfigurationError, Unavailable
from watcher.job_store import NewJob
from watcher.network.listening import listening_sockets, shown_host
from watcher.network.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
    from pathlib import Path

    from watcher.config.engine_settings import EngineSettings
    from watcher.engine.connectors import Connector
    from watcher.engine.orders import Order
    from watcher.job_store import JobState, JobStore, Results, SharedStore

_log = logging.getLogger(__name__)
_BACKLOG: Final = 1024
_REVIVAL_SECONDS: Final = 5.0
_EXTRAS: Final = ("pyvips", "PIL", "pillow_heif")
_INSTALL_HINT: Final = "pip install 'compressor-watcher[engine]'"
_SWEEP_SECONDS: Final = 60.0
_RESULTS: Final = "engine-results"


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much the engine takes on. `requests` are answered directly, at work or waiting; `jobs` likewise; beyond: 429.

    `async_above` (bytes) is the input size from which on a request becomes a job; `frames` bounds animations; `image_seconds`
    bounds the work on one image, `stop_seconds` how long a stop waits for requests that are being answered, `job_seconds` (within
    the same time) for jobs that were begun.
    """

    requests: int = 256
    jobs: int = 1000
    at_work: int = 32
    frames: int = 1000
    image_seconds: float = 120.0
    async_above: int = ASYNC_ABOVE_BYTES
    stop_seconds: float = 20.0
    job_seconds: float = 0.0


def require_extras() -> None:
    """Raises ConfigurationError where packages of the engine are not installed."""
    if missing := [name for name in _EXTRAS if importlib.util.find_spec(name) is None]:
        raise ConfigurationError([f"the embedded engine needs {', '.join(missing)}: {_INSTALL_HINT}"])


class Engine:
    """The Compressor API on this machine.

    `state_dir` holds its journal, its work in progress and temporary results. `allow_addresses` are (host, port) pairs that may
    be fetched from although they are not public, besides the networks in the settings. `clock` gives Unix time in seconds.
    `proxies` lead to the stores; sources are fetched without any. `shared` is what several engines have in common; without it the
    jobs are this engine's own, in `state_dir`.
    """

    def __init__(
        self,
        settings: EngineSettings,
        state_dir: Path,
        *,
        api_keys: Collection[str],
        allow_addresses: Collection[tuple[str, int]] = (),
        capacity: Capacity | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
        proxies: Proxies | None = None,
        shared: SharedStore | None = None,
    ) -> None:
        require_extras()
        if not any(api_keys):
            raise ConfigurationError(["the engine has no API key: set [engine] api_keys, or the credential engine_api_keys"])
        self._capacity = capacity or Capacity()
        self._clock = clock
        self._state_dir = state_dir
        self._folder = state_dir / "engine-work"
        self._ring = KeyRing(api_keys)
        self._connectors = build_connectors(settings, proxies or Proxies())
        policy = AddressPolicy.of(settings.allow_private, allow_addresses)
        count = settings.concurrency or os.cpu_count() or 1
        self._fetcher = Fetcher(policy, settings.fetch_timeout, settings.max_input)
        self.workers = WorkerPool(count, self._capacity.image_seconds, settings.max_pixels)
        self._results = self._results_of(shared)
        limits = Limits(settings.max_pixels, self._capacity.frames)
        parts = Parts(self._fetcher, self.workers, self._connectors, self._results, limits, self._folder)
        self._processor = Processor(parts, self._capacity.at_work + count)
        self._store: JobStore = shared or SqliteJobs(state_dir / "engine-jobs.db", clock)
        self._webhooks = Webhooks(self._store, policy, clock, random)
        self._jobs = JobRunner(self._store, self._processor, self._webhooks, at_once=count, capacity=self._capacity.jobs)
        self._answering = 0
        self._undo = contextlib.AsyncExitStack()

    def _results_of(self, shared: SharedStore | None) -> Results:
        own = TemporaryResults(self._state_dir / _RESULTS, self._clock)
        return own if shared is None else SharedResults(own, shared, self._clock, self._folder)

    @property
    def connectors(self) -> Mapping[str, Connector]:
        """The configured stores, by id."""
        return self._connectors

    async def start(self, host: str, port: int) -> int:
        """Serve on `host` and `port` (0: any free one); the port. Raises Unavailable where that is not available.

        Whatever was begun is undone if it fails.
        """
        try:
            return await self._start(host, port)
        except BaseException:  # called off or broken: what was begun is undone all the same
            await self._undo.aclose()
            raise

    async def stop(self) -> None:
        """Stop taking requests, wait a while for those being answered, put jobs that are at work back into the queue."""
        await self._undo.aclose()

    async def _start(self, host: str, port: int) -> int:
        self._own_state()
        await self._fetcher.start()
        self._undo.push_async_callback(self._fetcher.stop)
        for connector in self._connectors.values():
            self._undo.push_async_callback(connector.close)
        await self.workers.start()
        self._undo.push_async_callback(self.workers.stop)
        self._store.woken = self._wake
        await self._store.open()
        self._undo.push_async_callback(self._store.close)
        self._undo.push_async_callback(self._jobs.stop, self._capacity.job_seconds)
        self._in_background(kept_alive(self._jobs.run, "jobs"))
        self._in_background(kept_alive(self._webhooks.run, "webhooks"))
        self._in_background(kept_alive(self._sweep, "sweeper"))
        port = await self._serve(host, port)
        self._undo.callback(self._jobs.take_no_more)
        return port

    def _wake(self) -> None:
        """There may be jobs to take, or webhooks to call."""
        self._jobs.wake()
        self._webhooks.wake()

    def _own_state(self) -> None:
        """Take the state folder for this process alone, and clear what a crash left at work."""
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True)
            lock = (self._state_dir / "engine.lock").open("w")
            self._undo.callback(lock.close)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700)
            (self._state_dir / _RESULTS).mkdir(mode=0o700, exist_ok=True)
        except BlockingIOError:
            raise Unavailable(
                f"another engine works in {self._state_dir}", "stop it, or give this one a state_dir of its own"
            ) from None
        except OSError as error:
            raise Unavailable(
                f"the engine's folder {self._state_dir} cannot be written: {error.strerror}", "check its owner and rights"
            ) from None

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._undo.push_async_callback(_cancelled, task)

    async def _serve(self, host: str, port: int) -> int:
        runner = web.AppRunner(
            self._application(), access_log=None, handle_signals=False, shutdown_timeout=self._capacity.stop_seconds
        )
        await runner.setup()
        self._undo.push_async_callback(runner.cleanup)
        try:
            for each in await asyncio.to_thread(listening_sockets, host, port, _BACKLOG):
                await web.SockSite(runner, each, backlog=_BACKLOG).start()
        except OSError as error:
            raise Unavailable(
                f"the engine cannot listen on {shown_host(host)}:{port}: {error.strerror or error}",
                "stop what listens there, or set another address in [engine] listen",
            ) from None
        return int(runner.addresses[0][1])

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[guard(self._ring)], client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/healthz", _healthz)
        application.router.add_get("/1.0/account", self._account)
        application.router.add_post("/1.0/fetch", self._fetch)
        application.router.add_get("/1.0/jobs/{id}", self._job)
        application.router.add_get(r"/{epoch:\d{10}}/{id}/{name}", self._result)
        return application

    async def _account(self, _: web.Request) -> web.Response:
        body = {"success": True, "engine": f"compressor-watcher/{__version__}", "connectors": sorted(self._connectors)}
        return web.json_response(body)

    async def _job(self, request: web.Request) -> web.Response:
        identity = request.match_info["id"]
        if (job := await self._store.find(identity)) is None:
            raise Refusal(404, "there is no such job, or it ended more than a day ago")
        return web.json_response(job_answer(identity, job))

    async def _result(self, request: web.Request) -> web.StreamResponse:
        epoch, identity, name = (request.match_info[part] for part in ("epoch", "id", "name"))
        path = await self._results.find(epoch, identity, name)
        if path is None:
            raise Refusal(404, "there is no such result, or its address has ended")
        kind = FORMATS[path.suffix.lstrip(".")].mime
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: kind, "X-Content-Type-Options": "nosniff"})

    async def _fetch(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        order = read_order(body)
        self._processor.check(order)
        identity = str(uuid.uuid4())
        if order.webhook is not None:
            await self._jobs.enqueue(identity, body, order, base_url(request))
            return _acknowledged(identity)
        with self._admitted():
            return await self._answer(identity, body, order, base_url(request))

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._answering >= self._capacity.requests:
            raise Refusal(429, "the engine has as many requests as it takes on", retry_after=1)
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    async def _answer(self, identity: str, body: Any, order: Order, address: str) -> web.Response:
        """The result, unless the source turns out to be large: then the work goes on as a job."""
        large = asyncio.Event()

        def on_size(size: int) -> None:
            if size > self._capacity.async_above:
                large.set()

        loop = asyncio.get_running_loop()
        holding = self._jobs.holding()
        work = loop.create_task(self._processor.run(identity, order, address, on_size, holding.confirm))
        grown = loop.create_task(large.wait())
        try:
            await asyncio.wait({work, grown}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            grown.cancel()
        if not work.done() and await self._jobs.adopt(NewJob(identity, body, address), work, holding):
            return _acknowledged(identity)
        return web.json_response((await work).body())

    async def _sweep(self) -> None:
        while True:
            await self._results.sweep()
            for connector in self._connectors.values():
                await connector.sweep(self._clock())
            await self._store.forget_old()
            await asyncio.sleep(_SWEEP_SECONDS)


async def _healthz(_: web.Request) -> web.Response:
    """For load balancers: that somebody is there to answer."""
    return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})


async def kept_alive(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run something that never ends, and run it again where it broke: after an error of the disk, say."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the boundary of a routine: whatever broke it, the engine goes on
            _log.exception("the engine's %s broke and is begun again", name)
        await asyncio.sleep(_REVIVAL_SECONDS)


def job_answer(identity: str, job: JobState) -> dict[str, Any]:
    """The JSON of a job in some state: its id and status, and its result or its failure."""
    if job.status == "failed":
        answer = job.answer
        return {"success": False, "id": identity, "status": job.status, "code": answer["code"], "message": answer["message"]}
    return {"id": identity, "status": job.status, **{name: value for name, value in job.answer.items() if name != "id"}}


def _acknowledged(identity: str) -> web.Response:
    """What a request that became a job is answered with: `id` and `status`, nothing else."""
    pending = Pending(identity, "enqueued")
    return web.json_response({"id": pending.id, "status": pending.status}, status=202)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
