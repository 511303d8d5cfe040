"""Temporary URLs while descriptors are reused, files change, clients misbehave."""

import asyncio
import contextlib
import errno
import os
import random
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

import watcher.publish.sending as sending_module
import watcher.publish.serve as serve_module
from tests.support.loopwatch import LoopWatch
from tests.support.publishing import MovedClock, OpenedFile, RecordedLog, new_ticket, wait_until, write_original
from watcher.config.publish_settings import ServeSettings
from watcher.errors import NotAnswering, Unavailable
from watcher.model import Event
from watcher.publish.serve import TemporaryUrls


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
async def server(log: RecordedLog) -> AsyncIterator[TemporaryUrls]:
    server = TemporaryUrls(ServeSettings(require_header=False), log, MovedClock())
    await server.start()
    yield server
    await server.stop(0.0)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def read_slowly(url: str, released: asyncio.Event) -> bytes:
    """Ask, take the headers, wait, then read the rest."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=4096)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await released.wait()
    body = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    assert b" 200 " in head
    return body


async def test_a_reused_descriptor_number_never_serves_another_file(
    server: TemporaryUrls, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """While tickets are withdrawn, sources closed and their numbers taken by secret files at once, no answer holds a secret."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"S" * 6_000_000)
    contents = [bytes([65 + number]) * 6_000_000 for number in range(8)]
    paths = [write_original(tmp_path, content) for content in contents]
    dice = random.Random(7)

    async def one_life(number: int) -> tuple[int, int]:
        source, ticket, taken = OpenedFile(paths[number]), new_ticket(), []
        url = (await server.publish(ticket, source)).url
        fetches = [asyncio.create_task(fetch(url, number)) for _ in range(3)]
        for _ in range(dice.randrange(40)):
            await asyncio.sleep(0)
        await server.withdraw(ticket)
        source.close()
        taken = [os.open(secret, os.O_RDONLY) for _ in range(4)]
        results = await asyncio.gather(*fetches)
        for descriptor in taken:
            os.close(descriptor)
        return results.count(200), results.count(404)

    async def fetch(url: str, number: int) -> int:
        async with client.get(url) as response:
            body = await response.read()
            assert body in (contents[number], b"Not Found\n")
            return response.status

    lives = [await asyncio.gather(*(one_life(number) for number in range(8))) for _ in range(8)]
    served = sum(good for round_ in lives for good, _ in round_)
    refused = sum(bad for round_ in lives for _, bad in round_)
    assert served > 20, "the race was never won, so nothing was tested"
    assert refused > 20, "the race was never lost, so nothing was tested"


async def test_a_source_closed_without_withdrawal_leads_nowhere(
    server: TemporaryUrls, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Even a caller that closes first, and whose source still names the old number, cannot make it serve another file."""

    class Careless(OpenedFile):
        def fileno(self) -> int:
            return self._number

        def is_intact(self) -> bool:
            return True

        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self._number = self._descriptor

    source = Careless(write_original(tmp_path, b"x" * 1000))
    other = write_original(tmp_path, b"s" * 1000)
    url = (await server.publish(new_ticket(), source)).url
    source.close()
    with other.open("rb") as reopened:
        assert reopened.fileno() == source.fileno()
        async with client.get(url) as response:
            assert response.status == 404
    async with client.get(url) as response:
        assert response.status == 404


class Vanishing(OpenedFile):
    """An original on a share that asks by path for what is open, and whose path is gone."""

    trouble: Exception | None = None

    async def run(self, work: Callable[[], Any]) -> Any:
        if self.trouble is not None:
            raise self.trouble
        return await super().run(work)


async def test_an_original_that_its_share_has_no_more_cannot_be_published(server: TemporaryUrls, tmp_path: Path) -> None:
    """In words, for another try."""
    source = Vanishing(write_original(tmp_path, b"x" * 1000))
    source.trouble = FileNotFoundError(errno.ENOENT, "No such file or directory")
    with pytest.raises(Unavailable, match=r"photo\.jpg cannot be published: No such file or directory"):
        await server.publish(new_ticket(), source)
    source.close()


async def test_an_original_that_cannot_be_looked_at_now_is_to_be_asked_for_again(
    server: TemporaryUrls, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A disk in trouble is ours: the answer is 503, and counts as our refusal."""
    source, ticket = Vanishing(write_original(tmp_path, b"x" * 1000)), new_ticket()
    url = (await server.publish(ticket, source)).url
    source.trouble = Unavailable("photo.jpg cannot be looked at: Input/output error")
    async with client.get(url) as response:
        assert response.status == 503
    assert server.refusals(ticket) == 1
    source.trouble = None
    async with client.get(url) as response:
        assert response.status == 200
    source.close()


async def test_a_download_under_way_ends_whole_after_the_withdrawal(server: TemporaryUrls, tmp_path: Path) -> None:
    """Withdrawn, closed, deleted and the number taken again: who began before gets every byte."""
    content = os.urandom(12_000_000)
    path = write_original(tmp_path, content)
    other = write_original(tmp_path, bytes(12_000_000))
    source, ticket, released = OpenedFile(path), new_ticket(), asyncio.Event()
    reading = asyncio.create_task(read_slowly((await server.publish(ticket, source)).url, released))
    await wait_until(lambda: server.downloads)
    await server.withdraw(ticket)
    source.close()
    path.unlink()
    with other.open("rb"), other.open("rb"):
        released.set()
        assert await reading == content


async def test_a_file_that_shrinks_ends_the_connection(server: TemporaryUrls, log: RecordedLog, tmp_path: Path) -> None:
    """What was promised and is gone cannot be sent: the body is cut short, and not logged as fetched."""
    path = write_original(tmp_path, bytes(30_000_000))
    released = asyncio.Event()
    url = (await server.publish(new_ticket(), OpenedFile(path))).url
    reading = asyncio.create_task(read_slowly(url, released))
    await wait_until(lambda: server.downloads)
    os.truncate(path, 100)
    released.set()
    with contextlib.suppress(ConnectionResetError):  # cut off hard: the client sees that it has not got all
        assert len(await reading) < 30_000_000
    await wait_until(lambda: not server.downloads)
    assert log.of(Event.IMAGE_FETCHED) == []


async def test_a_client_that_stalls_is_cut_off(server: TemporaryUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not take its bytes holds a descriptor for a limited time only."""
    monkeypatch.setattr(sending_module, "STALL_SECONDS", 0.3)
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, bytes(30_000_000))))).url
    before = open_descriptors()
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await wait_until(lambda: server.downloads)
    await wait_until(lambda: not server.downloads)
    writer.close()
    await wait_until(lambda: open_descriptors() <= before)


async def test_a_client_that_never_finishes_its_request_is_cut_off(log: RecordedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One header byte at a time does not keep a connection open."""
    monkeypatch.setattr(serve_module, "IDLE_SECONDS", 0.5)
    server = TemporaryUrls(ServeSettings(), log, MovedClock())
    parts = urlsplit(await server.start())
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"GET /t/x/y HTTP/1.1\r\n")

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    with contextlib.suppress(ConnectionResetError):  # closed while a byte was under way
        assert await asyncio.wait_for(reader.read(), 20) == b""
    trickling.cancel()
    writer.close()
    await server.stop(0.0)


async def test_headers_have_limits(server: TemporaryUrls) -> None:
    """Endless headers are refused, the next client is served."""
    parts = urlsplit(server.local_url)
    for lines in (f"X: {'y' * 20_000}\r\n", "".join(f"X{number}: y\r\n" for number in range(500))):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
    assert await server.probe()


async def connections_from(address: str, port: int, count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connections that begin a request and never end it, as a slowloris holds them."""
    made = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
        writer.write(b"GET /t/x HTTP/1.1\r\nHost: x\r\n")
        made.append((reader, writer))
    return made


async def test_a_flood_of_idle_connections_keeps_nobody_out(
    server: TemporaryUrls, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """One address has a share of the limit, all have no more than the limit, idle ones make room; the own test always passes."""
    server.connections.limit = 20
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"x")))).url
    port = urlsplit(url).port
    flood = await connections_from("127.0.0.2", port, 40)
    assert len(server.connections) == 10
    assert await server.probe()
    for number in range(3, 8):
        flood += await connections_from(f"127.0.0.{number}", port, 10)
    assert len(server.connections) == 20
    assert await server.probe()
    async with client.get(url) as response:
        assert response.status == 200
    for _, writer in flood:
        writer.close()
    await wait_until(lambda: len(server.connections) <= 1)


async def test_downloads_under_way_do_not_make_room(server: TemporaryUrls, tmp_path: Path) -> None:
    """Where everybody is being served the newcomer is turned away; who began is served to the end."""
    server.connections.limit = 1
    content = os.urandom(12_000_000)
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, content)))).url
    released = asyncio.Event()
    reading = asyncio.create_task(read_slowly(url, released))
    await wait_until(lambda: server.downloads)
    ((reader, writer),) = await connections_from("127.0.0.1", urlsplit(url).port, 1)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert await server.probe()
    released.set()
    assert await reading == content


async def test_a_share_that_hangs_keeps_only_its_own_files(
    server: TemporaryUrls, client: aiohttp.ClientSession, log: RecordedLog, tmp_path: Path
) -> None:
    """The loop goes on, others are served, and who asks for the file is told to come again: the image is not at fault."""
    hanging, let_go = OpenedFile(write_original(tmp_path, b"x" * 1000)), threading.Event()
    hung = (await server.publish(new_ticket(), hanging)).url
    fine = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"y")))).url
    run = hanging.run

    async def hang(work: Callable[[], Any]) -> Any:
        try:
            return await asyncio.wait_for(run(lambda: (let_go.wait(30), work())[1]), 0.3)
        except TimeoutError:
            raise NotAnswering("the share does not answer") from None

    hanging.run = hang
    with LoopWatch() as watch:
        async with client.get(hung) as waiting, client.get(fine) as served:
            assert (await served.read(), waiting.status, waiting.headers["Retry-After"]) == (b"y", 503, "5")
    let_go.set()
    assert watch.blocked == []
    assert [line["reason"] for line in log.of(Event.SERVE_DENIED)] == ["share_hangs"]


async def test_a_share_that_hangs_in_the_middle_cuts_the_download(server: TemporaryUrls, tmp_path: Path) -> None:
    """What was promised does not come: the client sees a broken connection, not a whole file."""
    source, calls = OpenedFile(write_original(tmp_path, bytes(30_000_000))), 0
    url = (await server.publish(new_ticket(), source)).url
    run = source.run

    async def hang_later(work: Callable[[], Any]) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise NotAnswering("the share does not answer")
        return await run(work)

    source.run = hang_later
    released = asyncio.Event()
    released.set()
    with contextlib.suppress(ConnectionResetError):
        assert len(await read_slowly(url, released)) < 30_000_000
    await wait_until(lambda: not server.downloads)


async def test_a_client_that_is_slow_but_moves_is_served(
    server: TemporaryUrls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole takes many times the stall limit; what counts is that bytes are taken."""
    monkeypatch.setattr(sending_module, "STALL_SECONDS", 0.4)
    monkeypatch.setattr(sending_module, "LOOK_SECONDS", 0.1)
    content, ticket = os.urandom(3_000_000), new_ticket()
    parts = urlsplit((await server.publish(ticket, OpenedFile(write_original(tmp_path, content)))).url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (parts.hostname, parts.port))
        await loop.sock_sendall(connection, f"GET {parts.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert server.times_fetched(ticket) == 0
        received, began = b"", time.monotonic()
        while part := await loop.sock_recv(connection, 65_536):
            received += part
            if len(received) < 400_000:
                await asyncio.sleep(0.02)
    assert time.monotonic() - began > 3 * 0.4
    assert received.endswith(content)
    await wait_until(lambda: server.times_fetched(ticket))


async def test_resets_leak_no_descriptor(server: TemporaryUrls, tmp_path: Path) -> None:
    """Clients that vanish in the middle leave nothing open."""
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, bytes(10_000_000))))).url
    parts = urlsplit(url)
    before = open_descriptors()
    for _ in range(30):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(1000)
        writer.transport.abort()
    await wait_until(lambda: not server.downloads and open_descriptors() <= before)
    assert await server.probe()


async def test_running_out_of_descriptors_is_busy_not_gone(
    server: TemporaryUrls, log: RecordedLog, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    """A full descriptor table is 503 with Retry-After: a 404 would make the API fail the image for good."""
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"x")))).url
    async with client.get(url) as response:
        assert (response.status, await response.read()) == (200, b"x")  # else the connection is not kept
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        async with client.get(url) as response:  # over the connection that is kept alive
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [line["reason"] for line in log.of(Event.SERVE_DENIED)] == ["busy"]


async def test_without_sendfile_the_bytes_are_the_same(
    server: TemporaryUrls, client: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system has no sendfile, parallel downloads are read instead, each at its own offset."""

    def unsupported(*_arguments: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", unsupported)
    content = os.urandom(2_000_000)
    url = (await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, content)))).url

    async def fetch() -> bytes:
        async with client.get(url) as response:
            return await response.read()

    assert set(await asyncio.gather(*(fetch() for _ in range(6)))) == {content}
