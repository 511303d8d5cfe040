"""Keys that a reload replaces while their users keep working."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from watcher.compressor.client import CompressorClient
from watcher.compressor.stored import HttpObjectStore
from watcher.config.schema import VerifySettings
from watcher.errors import CallFailed


def verify(key_id: str | None) -> VerifySettings:
    """`[verify]` with a key, or without one."""
    secret = None if key_id is None else SecretStr(key_id)
    return VerifySettings(url="http://127.0.0.1:1/{bucket}/{key}", key_id=secret, application_key=secret)


async def signer(store: HttpObjectStore) -> str | None:
    """Who signs the questions of a store now."""
    signed: list[str | None] = []

    async def note(request: httpx.Request) -> None:
        signed.append(request.headers.get("authorization"))

    store._client.event_hooks = {"request": [note]}
    await store.head("b", "eu-central-003", "k", connector="c")
    return signed[0] and signed[0].partition("Credential=")[2].partition("/")[0]


async def test_questions_are_signed_with_the_new_key() -> None:
    """A key of `[verify]` that is replaced, added or taken away counts from the next question on."""
    store = HttpObjectStore(verify("old"))
    assert await signer(store) == "old"
    store.use_keys(verify("new"))
    assert await signer(store) == "new"
    store.use_keys(verify(None))
    assert await signer(store) is None
    await store.aclose()


async def test_calls_are_bounded_by_the_new_timeout() -> None:
    """A `timeout` that was changed bounds a call to somebody who never answers, and the wait for a connection."""
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
        assert client._client.timeout.connect == pytest.approx(0.1)
    done.set()
    server.close()
