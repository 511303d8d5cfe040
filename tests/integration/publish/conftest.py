"""A running server, and curl-like eyes on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.support.publishing import MovedClock, RecordedLog
from watcher.config.publish_settings import ServeSettings
from watcher.publish.serve import TemporaryUrls

Starter = Callable[..., Awaitable[TemporaryUrls]]


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
async def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def serving(log: RecordedLog, clock: MovedClock) -> AsyncIterator[Starter]:
    """Starts servers; they end with the test."""
    started: list[TemporaryUrls] = []

    async def start(**settings: Any) -> TemporaryUrls:
        server = TemporaryUrls(ServeSettings(**{"listen": "127.0.0.1:0", "require_header": False, **settings}), log, clock)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop(0.0)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session
