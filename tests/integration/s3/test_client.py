"""The client against servers that behave as no library expects; its everyday work is in the contract tests of its users."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.publishing import HurriedClock
from watcher.network.proxies import Proxies
from watcher.s3.bucket import Bucket
from watcher.s3.client import TRIES, S3Client
from watcher.s3.errors import S3Error, S3ErrorKind
from watcher.s3.signing import Credentials

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CREDENTIALS = Credentials("id", "key", "us-west-004")
CHUNK = b"x" * 65_536
CHUNKS = 300
MOST_STEPS = 60
"""Turns of the event loop that connecting may take; it takes about a dozen."""
TOO_LARGE = b"<Error><Code>EntityTooLarge</Code><Message>Your proposed upload is too large</Message></Error>"


def answer(status: str, body: bytes, *more: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port, while the context lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def bucket_at(endpoint: str, proxies: Proxies | None = None) -> AsyncIterator[Bucket]:
    client = S3Client(HurriedClock(), lambda: 0.5, proxies=proxies)
    try:
        yield Bucket(client, endpoint, "bucket", CREDENTIALS)
    finally:
        await client.aclose()


async def large() -> AsyncIterator[bytes]:
    for _ in range(CHUNKS):
        yield CHUNK


@pytest.mark.parametrize("then", ["hangs up", "resets", "reads no further"])
async def test_a_refusal_that_comes_before_the_upload_was_read_is_heard(then: str) -> None:
    """The store's own reason, after one try: not a broken connection six times."""
    asked = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("400 Bad Request", TOO_LARGE, "Connection: close"))
        await writer.drain()
        if then == "resets":
            await asyncio.sleep(0.02)
            writer.transport.abort()
        if then == "reads no further":
            await asyncio.sleep(3600)

    async with listening(refuse) as port, bucket_at(f"http://127.0.0.1:{port}") as bucket:
        with pytest.raises(S3Error) as refused:
            await asyncio.wait_for(bucket.put("large.tif", {}, CHUNKS * len(CHUNK), large), 30)
    assert (refused.value.kind, refused.value.code, asked) == (S3ErrorKind.OTHER, "EntityTooLarge", 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_request_that_is_called_off_leaves_no_connection_open(host: str) -> None:
    """At whatever step of connecting: what is left to the garbage collector may stay open for as long as the daemon runs."""
    connected = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()

    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always", ResourceWarning)
        async with listening(be_silent) as port, bucket_at(f"http://{host}:{port}") as bucket:
            step = 0
            while not connected.is_set() or step < MOST_STEPS:
                asking = asyncio.ensure_future(bucket.head("a.jpg"))
                for _ in range(step):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
                step += 1
        gc.collect()
    assert [str(each.message) for each in left_open] == []


async def test_a_connection_that_breaks_without_a_reason_is_tried_again() -> None:
    """As many times as a busy store is; the last word is that nobody answers."""
    asked = 0

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with listening(break_off) as port, bucket_at(f"http://127.0.0.1:{port}") as bucket:
        with pytest.raises(S3Error) as lost:
            await bucket.put("a.jpg", {}, CHUNKS * len(CHUNK), large)
    assert (lost.value.kind, asked) == (S3ErrorKind.UNREACHABLE, TRIES)


async def test_a_pause_asked_for_as_a_date_is_kept() -> None:
    """Retry-After has two forms, and stores use both."""
    asked = 0

    async def busy_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        later = "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"
        writer.write(answer("503 Slow Down", b"", later, "Connection: close") if asked == 1 else answer("200 OK", b""))
        await writer.drain()

    clock = HurriedClock()
    async with listening(busy_once) as port:
        client = S3Client(clock, lambda: 0.5)
        await Bucket(client, f"http://127.0.0.1:{port}", "bucket", CREDENTIALS).head("a.jpg")
        await client.aclose()
    assert clock.slept == [10.0]


async def test_connections_are_used_again_and_noticed_when_they_were_closed() -> None:
    """Two calls share one; one that the server closed meanwhile is not used for the third."""
    connections = 0

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer("200 OK", b""))
            await writer.drain()

    async with listening(twice) as port, bucket_at(f"http://127.0.0.1:{port}") as bucket:
        for _ in range(2):
            assert await bucket.head("a.jpg") is not None
        await asyncio.sleep(0.05)
        assert await bucket.head("a.jpg") is not None
    assert connections == 2


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return certificate, key


async def test_a_companys_own_authority_works(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted is whom the system trusts; a stranger is named as such. A refusal that comes early is heard over TLS too."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("400 Bad Request", TOO_LARGE, "Connection: close"))
        await writer.drain()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    async with listening(refuse, context) as port:
        async with bucket_at(f"https://localhost:{port}") as bucket:
            with pytest.raises(S3Error, match="not trusted"):
                await bucket.head("a.jpg")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        async with bucket_at(f"https://localhost:{port}") as bucket:
            with pytest.raises(S3Error) as refused:
                await bucket.put("large.tif", {}, CHUNKS * len(CHUNK), large)
    assert refused.value.code == "EntityTooLarge"


async def test_a_proxy_is_used_for_what_it_is_for() -> None:
    """Plain http goes to the proxy with the whole address."""
    lines: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readuntil(b"\r\n"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("200 OK", b""))
        await writer.drain()

    async with listening(proxy) as port:
        proxies = Proxies.of_environment({"HTTP_PROXY": f"127.0.0.1:{port}"})
        async with bucket_at("http://store.test", proxies) as bucket:
            assert await bucket.head("a.jpg") is not None
    assert lines == [b"HEAD http://store.test/bucket/a.jpg HTTP/1.1\r\n"]
