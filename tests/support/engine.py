"""An engine on a free port, a server with sources beside it, and a client that speaks to the engine."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web

from watcher.config.engine_settings import EngineSettings
from watcher.engine.server import Capacity, Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY = "a-test-key"
REGION = "eu-central-003"


class Sources:
    """A web server on loopback. `files` are served at their paths; `answers` are handlers; every request is remembered."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.requests: list[web.BaseRequest] = []
        self.bodies: dict[str, list[bytes]] = {}
        self.port = 0

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def add(self, path: str, content: bytes) -> str:
        """Serve `content` at `path`; its address."""
        self.files[path] = content
        return self.url(path)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""
        self.requests.append(request)
        if request.path in self.answers:
            return await self.answers[request.path](request)  # type: ignore[arg-type]
        if request.path not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[request.path], content_type="application/octet-stream")


@asynccontextmanager
async def serving_sources() -> AsyncIterator[Sources]:
    """A Sources server while the context lasts."""
    sources = Sources()
    runner = web.ServerRunner(web.Server(sources.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sources.port = int(runner.addresses[0][1])
    try:
        yield sources
    finally:
        await runner.cleanup()


@dataclass
class Client:
    """Speaks to a running engine as its API's callers do."""

    engine: Engine
    port: int
    session: aiohttp.ClientSession
    bucket_root: Path
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON of a call."""
        async with self.session.request(method, self.url(path), **{"headers": self.headers, **options}) as response:
            return response.status, await response.json()

    async def fetch(self, body: Any) -> tuple[int, Any]:
        """`POST /1.0/fetch`."""
        return await self.call("POST", "/1.0/fetch", json=body)

    async def stored(self, url: str, image: dict[str, Any] | None = None, **store: Any) -> dict[str, Any]:
        """The answer to an order that must succeed, stored through the directory connector."""
        body = {"url": url, "image": image or {}, "store": {**local_store(), **store}}
        status, answer = await self.fetch(body)
        assert status == 200, answer
        return dict(answer)

    async def refused(self, body: Any) -> tuple[int, str]:
        """Status and message of an order that must be refused, in the error envelope."""
        status, answer = await self.fetch(body)
        assert set(answer) == {"success", "code", "id", "message"}, answer
        assert answer["success"] is False
        assert answer["code"] == status
        return status, answer["message"]

    async def job(self, identity: str, *states: str, deadline: float = 30.0) -> dict[str, Any]:
        """The job's answer once it is in one of `states`."""
        found: dict[str, Any] = {}

        async def reached() -> bool:
            status, answer = await self.call("GET", f"/1.0/jobs/{identity}")
            assert status == 200, answer
            found.update(answer)
            return answer["status"] in states

        await wait_until(reached, deadline)
        return found

    def url(self, path: str) -> str:
        """The address of a path of the engine."""
        return f"http://127.0.0.1:{self.port}{path}"


def local_store(**changes: Any) -> dict[str, Any]:
    """A `store` object for the directory connector."""
    return {"id": "local", "bucket": "my-bucket", "region": REGION, **changes}


def stored_file(answer: dict[str, Any]) -> Path:
    """The file that a directory connector's `url` names."""
    parts = urlsplit(answer["url"])
    assert parts.scheme == "file"
    return Path(unquote(parts.path))


@asynccontextmanager
async def running_engine(
    folder: Path, settings: dict[str, Any] | None = None, *, capacity: Capacity | None = None, **options: Any
) -> AsyncIterator[Client]:
    """An engine with a directory connector "local" that may fetch from 127.0.0.1, and a client to it."""
    bucket_root = folder / "buckets"
    table = {
        "allow_private": ["127.0.0.1/32"],
        "concurrency": 1,
        "connectors": {"local": {"kind": "directory", "path": bucket_root}},
        **(settings or {}),
    }
    engine = Engine(EngineSettings(**table), folder / "state", api_keys=[KEY], capacity=capacity, **options)
    async with AsyncExitStack() as stack:
        port = await engine.start("127.0.0.1", 0)
        stack.push_async_callback(engine.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Client(engine, port, session, bucket_root)


async def wait_until(reached: Callable[[], Awaitable[bool]], deadline: float = 30.0) -> None:
    """Ask again and again, and fail when `deadline` seconds are over."""
    end = time.monotonic() + deadline
    while not await reached():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.02)
