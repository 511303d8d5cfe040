"""Engines that share their jobs, and whatever may befall them and their database, at random and seeded."""

import asyncio
import itertools
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support import postgres
from tests.support.engine import wait_until
from tests.support.engines import SCHEMA, Fleet, fleet
from tests.support.pictures import jpeg
from tests.support.postgres import Postgres
from tests.support.tcp_proxy import TcpProxy

NAMES = ("one", "two", "three")
JOBS = 60
TROUBLES = 12


class Troubles:
    """What may happen. Each ends with everything up again."""

    def __init__(self, engines: Fleet, server: Postgres, proxy: TcpProxy, chance: random.Random) -> None:
        self._engines, self._server, self._proxy, self._chance = engines, server, proxy, chance

    async def kill(self, name: str) -> None:
        await asyncio.to_thread(self._engines.engines[name].kill)
        await self._begin_again(name)

    async def stop(self, name: str) -> None:
        assert await asyncio.to_thread(self._engines.engines[name].stop) == 0
        await self._begin_again(name)

    async def freeze(self, name: str) -> None:
        """For less than a lease, or for more."""
        self._engines.engines[name].freeze()
        self._engines.take_out(name)
        await asyncio.sleep(self._chance.choice((1, 5)))
        self._engines.engines[name].thaw()
        self._engines.balancer.ports.append(self._engines.ports[name])

    async def restart_database(self, _: str) -> None:
        await asyncio.to_thread(self._server.stop, self._chance.choice((signal.SIGINT, signal.SIGQUIT)))
        await asyncio.to_thread(self._server.start)

    async def swallow(self, _: str) -> None:
        self._proxy.swallow()
        await asyncio.sleep(self._chance.choice((1, 6)))
        self._proxy.flow()

    async def _begin_again(self, name: str) -> None:
        self._engines.take_out(name)
        await self._engines.start(name)

    def any(self) -> Callable[[str], Awaitable[None]]:
        return self._chance.choice((self.kill, self.stop, self.freeze, self.restart_database, self.swallow))


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_each_job_ends_once(tmp_path: Path, seed: int) -> None:
    """Each that was taken is completed, with its webhook, and the same is said of it by all."""
    chance = random.Random(seed)
    with postgres.server() as server, TcpProxy(server.port) as proxy:
        async with fleet(tmp_path, server) as engines:
            engines.url = server.url(engines.url.rpartition("/")[2], proxy.port)
            answer_slowly(engines, chance)
            await engines.start(*NAMES)
            troubles = Troubles(engines, server, proxy, chance)
            posting = asyncio.ensure_future(post_all(engines, chance))
            for _ in range(TROUBLES):
                await asyncio.sleep(0.5 + chance.random())
                await troubles.any()(chance.choice(NAMES))
            ids = await posting

            for identity, name in itertools.product(ids, NAMES):
                assert (await answer_of(engines, identity, name))["status"] == "completed"
            await engines.hooked(len(ids))
            assert engines.sql(f"SELECT count(*) FROM {SCHEMA}.jobs WHERE status <> 'completed'") == [(0,)]
            assert set(ids) <= {identity for identity, _ in engines.hooks}
            assert not any("Traceback" in line for engine in engines.engines.values() for line in engine.errors)


def answer_slowly(engines: Fleet, chance: random.Random) -> None:
    """So that somebody is always in the middle of something."""
    content = jpeg(300, 200)

    async def source(_: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.2 + chance.random())
        return web.Response(body=content)

    async def hook(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(chance.choice((0.0, 2.0)))
        engines.hooks.append((request.headers["webhook-id"], {}))
        return web.Response(status=chance.choice((204, 204, 204, 500)))

    engines.sources.answers |= {"/a.jpg": source, "/hook": hook}


async def post_all(engines: Fleet, chance: random.Random) -> list[str]:
    """As careful callers do: again until each was taken."""
    ids = []
    for number in range(JOBS):
        while True:
            try:
                status, answer = await engines.ask("POST", "/1.0/fetch", json=engines.order("/a.jpg", f"{number}.jpg"))
            except (aiohttp.ClientError, TimeoutError):
                continue
            if status == 202:
                ids.append(answer["id"])
                break
            assert status == 503, answer
            await asyncio.sleep(0.3)
        await asyncio.sleep(chance.random())
    return ids


async def answer_of(engines: Fleet, identity: str, name: str) -> dict[str, str]:
    """What one engine says, once it has its database and the job has ended."""
    found: dict[str, str] = {}

    async def ended() -> bool:
        status, answer = await engines.ask("GET", f"/1.0/jobs/{identity}", port=engines.ports[name])
        found.update(answer)
        return status == 200 and answer["status"] in ("completed", "failed")

    await wait_until(ended, 90)
    return found
