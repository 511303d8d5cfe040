"""Engines of the installed command that share their jobs, and whoever asks them."""

from __future__ import annotations

import hashlib
import re
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.support.daemon import Daemon, write_config
from tests.support.engine import KEY, local_store, serving_sources, wait_until
from tests.support.tcp_proxy import Balancer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.engine import Sources
    from tests.support.postgres import Postgres

LEASE = "3s"
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)/")


def engine_tables(folder: Path, name: str, url: str) -> dict[str, Any]:
    """A configuration for one engine: own state, common bucket and jobs."""
    local = {"kind": "directory", "path": folder / "buckets"}
    return {
        "state_dir": folder / name,
        "journal": url,
        "cluster": {"name": name, "lease": LEASE},
        "drain": "5s",
        "engine": {
            "listen": "127.0.0.1:0",
            "api_keys": [KEY],
            "allow_private": ["127.0.0.0/8"],
            "concurrency": 1,
            "connectors": {"local": local},
        },
    }


class EngineProcess(Daemon):
    """One engine."""

    def __init__(self, folder: Path, name: str, url: str, **changes: Any) -> None:
        self.name = name
        super().__init__(write_config(folder / f"{name}.toml", {**engine_tables(folder, name, url), **changes}), verb="engine")

    async def port(self) -> int:
        """Once it listens."""

        async def listens() -> bool:
            assert self.process.poll() is None, "".join(self.errors)
            return _LISTENING.search("".join(self.errors)) is not None

        await wait_until(listens, 60)
        found = _LISTENING.search("".join(self.errors))
        assert found is not None
        return int(found[1])

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)


@dataclass
class Fleet:
    """Engines behind a balancer, sources for them, and all webhooks that came."""

    folder: Path
    postgres: Postgres
    url: str
    sources: Sources
    session: aiohttp.ClientSession
    balancer: Balancer
    engines: dict[str, EngineProcess] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    hooks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def start(self, *names: str) -> None:
        """Begin them, and have the balancer know them."""
        self.engines |= {name: EngineProcess(self.folder, name, self.url) for name in names}
        for name in names:
            self.ports[name] = await self.engines[name].port()
            self.balancer.ports.append(self.ports[name])

    def take_out(self, name: str) -> None:
        """As a balancer does with one that does not answer its health checks."""
        self.balancer.ports.remove(self.ports[name])

    async def ask(self, method: str, path: str, *, port: int | None = None, **options: Any) -> tuple[int, Any]:
        """Through the balancer, or one engine itself."""
        url = f"http://127.0.0.1:{port or self.balancer.port}{path}"
        headers = {"Authorization": f"Bearer {KEY}", "Connection": "close"}
        timeout = aiohttp.ClientTimeout(total=20)
        async with self.session.request(method, url, headers=headers, timeout=timeout, **options) as response:
            return response.status, await response.json()

    def order(self, source: str, path: str | None = None, *, webhook: bool = True) -> dict[str, Any]:
        """A body to post; stored at `path`, if there is one."""
        store = {"store": local_store(path=path)} if path else {}
        hook = {"webhook": {"url": self.sources.url("/hook")}} if webhook else {}
        return {"url": self.sources.url(source), **store, **hook}

    async def job(self, identity: str, name: str | None = None) -> dict[str, Any]:
        """What is said of a job."""
        status, answer = await self.ask("GET", f"/1.0/jobs/{identity}", port=self.ports[name] if name else None)
        assert status == 200, answer
        return dict(answer)

    async def ended(self, identity: str) -> dict[str, Any]:
        """The same once it has ended."""
        found: dict[str, Any] = {}

        async def over() -> bool:
            found.update(await self.job(identity))
            return found["status"] in ("completed", "failed")

        await wait_until(over, 60)
        return found

    async def at_work(self, name: str) -> str:
        """The id of a job that an engine has in hand, once it has one."""
        found: list[tuple[object, ...]] = []

        async def begun() -> bool:
            found[:] = self.sql(
                f"SELECT id FROM {SCHEMA}.jobs JOIN {SCHEMA}.engines ON jobs.engine = engines.number WHERE name = '{name}'"
            )
            return bool(found)

        await wait_until(begun, 60)
        return str(found[0][0])

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return self.postgres.run_sql(statement, self.url.rpartition("/")[2])

    async def hooked(self, count: int) -> None:
        """Wait until so many jobs' webhooks have come."""

        async def enough() -> bool:
            return len({identity for identity, _ in self.hooks}) >= count

        await wait_until(enough, 60)

    def stored(self, path: str) -> str:
        """The SHA-1 of what lies in the bucket."""
        return hashlib.sha1((self.folder / "buckets" / "my-bucket" / path).read_bytes(), usedforsecurity=False).hexdigest()

    def stop(self) -> None:
        for engine in self.engines.values():
            if engine.process.poll() is None:
                engine.thaw()
                engine.stop()


SCHEMA = "compressor_watcher_engine"


@asynccontextmanager
async def fleet(folder: Path, postgres: Postgres, *names: str) -> AsyncIterator[Fleet]:
    """A fleet while the context lasts."""
    async with AsyncExitStack() as stack:
        sources = await stack.enter_async_context(serving_sources())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        balancer = stack.enter_context(Balancer([]))
        made = Fleet(folder, postgres, postgres.database(), sources, session, balancer)

        async def hook(request: web.BaseRequest) -> web.StreamResponse:
            made.hooks.append((request.headers["webhook-id"], await request.json()))  # type: ignore[attr-defined]
            return web.Response(status=204)

        sources.answers["/hook"] = hook
        stack.callback(made.stop)
        await made.start(*names)
        yield made
