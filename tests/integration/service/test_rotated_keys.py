"""Keys that a reload replaces while their users keep working."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydantic import SecretStr

from watcher.compressor.client import CompressorClient
from watcher.compressor.stored import HttpObjectStore
from watcher.config.schema import VerifySettings
from watcher.errors import CallFailed


def verify(endpoint: str, key_id: str | None) -> VerifySettings:
    """`[verify]` with a key, or without one."""
    secret = None if key_id is None else SecretStr(key_id)
    return VerifySettings(url=f"{endpoint}/{{bucket}}/{{key}}", key_id=secret, application_key=secret)


async def signer(store: HttpObjectStore, asked: list[str | None]) -> str | None:
    """Who signs the questions of a store now."""
    await store.head("b", "eu-central-003", "k", connector="c")
    signed = asked[-1]
    return signed and signed.partition("Credential=")[2].partition("/")[0]


@pytest.fixture
async def asked() -> AsyncIterator[tuple[str, list[str | None]]]:
    """Where a store listens, and the Authorization headers of the questions to it."""
    seen: list[str | None] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", seen
    await runner.cleanup()


async def test_questions_are_signed_with_the_new_key(asked: tuple[str, list[str | None]]) -> None:
    """A key of `[verify]` that is replaced, added or taken away counts from the next question on."""
    endpoint, seen = asked
    store = HttpObjectStore(verify(endpoint, "old"))
    assert await signer(store, seen) == "old"
    store.use_keys(verify(endpoint, "new"))
    assert await signer(store, seen) == "new"
    store.use_keys(verify(endpoint, None))
    assert await signer(store, seen) is None
    await store.aclose()


async def test_calls_are_bounded_by_the_new_timeout() -> None:
    """A `timeout` that was changed bounds a call to somebody who never answers."""
    done = asyncio.Event()

    async def never_answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with CompressorClient(f"http://127.0.0.1:{port}/1.0", lambda: "k", timeout=120.0) as client:
        client.timeout = 0.2
        with pytest.raises(CallFailed) as failed:
            await asyncio.wait_for(client.job("1"), 20)
        assert (client.timeout, failed.value.failure.unknown) == (0.2, True)
    done.set()
    server.close()


async def test_connecting_is_bounded_by_the_new_timeout() -> None:
    """It has half of the time: that nothing was sent is known then, and the call may be made again at once."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, contextlib.ExitStack() as queue:
        for _ in range(2):  # nobody accepts these, and the kernel queues no more
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/1.0"
        async with CompressorClient(address, lambda: "k", timeout=120.0) as client:
            client.timeout = 1.0
            with pytest.raises(CallFailed) as failed:
                await asyncio.wait_for(client.job("1"), 20)
    assert not failed.value.failure.unknown
