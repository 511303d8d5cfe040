"""Not an open proxy, and not easily hurt: addresses, redirects, limits of bytes and time, and images that bite."""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
import signal
import socket
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.engine import Client, Sources, running_engine, serving_sources, wait_until
from tests.support.pictures import jpeg
from watcher.engine.refusal import Refusal
from watcher.engine.server import Capacity
from watcher.engine.work import ImageOrder, Limits, Task
from watcher.engine.workers import WorkerPool
from watcher.errors import Unavailable

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def redirect(location: str) -> Handler:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of an engine that may reach no inner address, which a module's tests have in common."""
    async with running_engine(tmp_path_factory.mktemp("closed"), {"allow_private": []}) as client:
        yield client


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a.jpg",
        "http://localhost:{port}/a.jpg",
        "http://2130706433:{port}/a.jpg",
        "http://0x7f.1:{port}/a.jpg",
        "http://0:{port}/a.jpg",
        "http://1\uff12\uff17.0.0.1:{port}/a.jpg",
        "http://example.com@127.0.0.1:{port}/a.jpg",
        "http://8.8.8.8:80@127.0.0.1:{port}/a.jpg",
        "http://[::1]:{port}/a.jpg",
        "http://[::ffff:127.0.0.1]:{port}/a.jpg",
        "http://[::ffff:7f00:1]:{port}/a.jpg",
        "http://[64:ff9b::7f00:1]:{port}/a.jpg",
        "http://[2002:7f00:1::]:{port}/a.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
    ],
)
async def test_nothing_but_public_addresses_is_fetched(closed: Client, sources: Sources, url: str) -> None:
    """By default no inner address is connected to, however it is written; the cause is said."""
    sources.add("/a.jpg", jpeg())
    status, message = await closed.refused({"url": url.format(port=sources.port)})
    assert status == 422
    assert "public address" in message or "cannot be" in message
    assert sources.requests == []


async def test_exactly_one_address_can_be_allowed(tmp_path: Path, sources: Sources) -> None:
    """The embedded use allows its own host and port, and no other port of the same host."""
    url = sources.add("/a.jpg", jpeg())
    allowed = [("127.0.0.1", sources.port)]
    async with running_engine(tmp_path, {"allow_private": []}, allow_addresses=allowed) as client:
        assert (await client.fetch({"url": url}))[0] == 200
        status, message = await client.refused({"url": f"http://127.0.0.1:{client.port}/1.0/account"})
    assert (status, "public address" in message) == (422, True)


async def test_a_name_that_resolves_inside_is_refused_at_every_resolution(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is harmless when it is first asked for and inner the next time (DNS rebinding) never reaches the inside."""
    asked = 0
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        if host != "rebinding.example":
            return real(host, port, *arguments, **options)
        if options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror
        asked += 1
        address = "127.0.0.1" if asked > 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    sources.add("/a.jpg", jpeg())
    async with running_engine(tmp_path, {"allow_private": ["127.0.0.2/32"]}) as client:
        for _ in range(3):
            status, _ = await client.refused({"url": f"http://rebinding.example:{sources.port}/a.jpg"})
            assert status == 422
    assert asked == 3
    assert sources.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://" + "a" * 70 + ".example/x",
        "http://a..b/x",
        "http://[::1/x",
        "http://exa%00mple/x",
        "http://user@:80/x",
        "http://x:y:80/",
        "http://127.0.0.1\\@127.0.0.1:1/x",
        "http://\ud800/x",
        "http://127.0.0.1:1/\ud800",
    ],
)
async def test_odd_addresses_are_refused_cleanly(standing: Client, url: str) -> None:
    """What is no address, or none that leads anywhere, is a 422, never a failure of the engine."""
    assert (await standing.refused({"url": url}))[0] == 422


@pytest.mark.parametrize("location", ["http://169.254.169.254/", "http://[::1]:80/", "http://10.1.2.3/x", "//192.168.0.1/x"])
async def test_a_redirect_inside_is_refused(standing: Client, sources: Sources, location: str) -> None:
    """Where a redirect leads is judged like an address that was asked for."""
    sources.answers["/to"] = redirect(location)
    status, message = await standing.refused({"url": sources.url("/to")})
    assert (status, "public address" in message) == (422, True)


async def test_redirects_are_followed_for_a_while(standing: Client, sources: Sources) -> None:
    """A few redirects are followed, relative ones too; a loop is refused."""
    sources.answers["/one"] = redirect("/two")
    sources.answers["/two"] = redirect(sources.add("/a.jpg", jpeg()))
    sources.answers["/loop"] = redirect("/loop")
    assert (await standing.fetch({"url": sources.url("/one")}))[0] == 200
    status, message = await standing.refused({"url": sources.url("/loop")})
    assert (status, "redirects more than 5 times" in message) == (422, True)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/x", "gopher://x/", "http://[::1", "http://:80/"])
async def test_a_redirect_to_what_is_not_http_is_refused(standing: Client, sources: Sources, location: str) -> None:
    """Only http and https are spoken."""
    sources.answers["/to"] = redirect(location)
    assert (await standing.refused({"url": sources.url("/to")}))[0] == 422


async def test_what_goes_along_with_a_fetch(standing: Client, sources: Sources) -> None:
    """The documented User-Agent, the caller's headers, and user and password of the address as Basic auth, decoded."""
    sources.add("/a.jpg", jpeg())
    url = f"http://us%65r:p%40ss@127.0.0.1:{sources.port}/a.jpg?a=%2Fb+c"
    await standing.fetch({"url": url, "headers": {"X-Second-Secret": "s"}})
    request = sources.requests[0]
    assert request.headers["User-Agent"] == "Compressor/1.0 (+https://compressor.app)"
    assert request.headers["X-Second-Secret"] == "s"
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert request.raw_path == "/a.jpg?a=%2Fb+c"


async def test_secrets_do_not_follow_a_redirect_to_another_origin(standing: Client, sources: Sources) -> None:
    """The caller's headers and the address's password are for the origin they were given for."""
    async with serving_sources() as other:
        sources.answers["/to"] = redirect(other.add("/a.jpg", jpeg()))
        url = sources.url("/to").replace("http://", "http://user:password@")
        status, _ = await standing.fetch({"url": url, "headers": {"X-Second-Secret": "s"}})
        assert status == 200
        assert "X-Second-Secret" in sources.requests[0].headers
        assert not {"X-Second-Secret", "Authorization"} & set(other.requests[0].headers)


async def test_no_failure_repeats_what_is_secret_in_an_address(standing: Client, sources: Sources) -> None:
    """Query, password and path of the source's address are in no error message."""
    url = f"http://user:passw0rd@127.0.0.1:{sources.port}/t/t0ken/a.jpg?signature=s1gnature"
    _, missing = await standing.refused({"url": url})
    _, refused = await standing.refused({"url": url.replace(f":{sources.port}/", ":1/")})
    for secret in ("passw0rd", "t0ken", "s1gnature"):
        assert secret not in missing + refused


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404"), (403, "403"), (500, "500"), (204, "204"), (206, "206"), (304, "304")]
)
async def test_a_source_that_does_not_answer_200_is_named(standing: Client, sources: Sources, status: int, words: str) -> None:
    """422 with the status that the source gave."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status)

    sources.answers["/x"] = answer
    code, message = await standing.refused({"url": sources.url("/x")})
    assert (code, words in message) == (422, True)


@pytest.mark.parametrize("announced", [True, False])
async def test_too_many_bytes_are_a_413(tmp_path: Path, sources: Sources, announced: bool) -> None:
    """Beyond `max_input` the fetch ends, announced or not, and the file is gone."""

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        if announced:
            response.content_length = 10**9
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 10_000)
        return response

    sources.answers["/endless"] = endless
    async with running_engine(tmp_path, {"max_input": "100KB"}) as client:
        status, message = await client.refused({"url": sources.url("/endless")})
        assert (status, "larger than 100.0 kB" in message) == (413, True)
        assert list((tmp_path / "state" / "engine-work").iterdir()) == []


async def test_a_compressed_answer_counts_unpacked(tmp_path: Path, sources: Sources) -> None:
    """A small gzip answer that unpacks beyond the limit is refused while it unpacks."""

    async def bomb(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"\0" * 20_000_000), headers={"Content-Encoding": "gzip"})

    sources.answers["/bomb"] = bomb
    async with running_engine(tmp_path, {"max_input": "1MB"}) as client:
        assert (await client.refused({"url": sources.url("/bomb")}))[0] == 413


async def test_a_source_that_drips_is_given_up(tmp_path: Path, sources: Sources) -> None:
    """`fetch_timeout` holds for the whole fetch, however steadily the bytes come."""

    async def dripping(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    sources.answers["/drip"] = dripping
    async with running_engine(tmp_path, {"fetch_timeout": "500ms"}) as client:
        status, message = await client.refused({"url": sources.url("/drip")})
        assert (status, "longer than 500 ms" in message) == (422, True)


async def test_a_source_that_breaks_off_is_named(standing: Client, sources: Sources) -> None:
    """Half an answer is no image."""

    async def half(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 100_000
        await response.prepare(request)
        await response.write(jpeg()[:1000])
        assert request.transport is not None
        request.transport.close()
        return response

    sources.answers["/half"] = half
    status, message = await standing.refused({"url": sources.url("/half")})
    assert (status, "broke off" in message) == (422, True)


def png_bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BOMBS: dict[str, bytes] = {
    "png": png_bomb(60_000),
    "svg huge": b'<svg xmlns="http://www.w3.org/2000/svg" width="1000000" height="1000000"/>',
    "svg entities": b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "&%c;&%c;&%c;&%c;&%c;&%c;&%c;&%c;">' % (98 + n, *[97 + n] * 8) for n in range(9))
    + b']><svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><text>&j;</text></svg>',
    "svgz": gzip.compress(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">' + b" " * 50_000_000),
    "gif": b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;",
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
}


BOMBS["ico"] = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 1, len(BOMBS["png"]), 22) + BOMBS["png"]


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_and_the_engine_goes_on(standing: Client, sources: Sources, name: str) -> None:
    """What would unpack into gigabytes is a 422 within seconds; the next image is served."""
    async with asyncio.timeout(30):
        status, _ = await standing.refused({"url": sources.add("/bomb", BOMBS[name])})
    assert status == 422
    assert (await standing.fetch({"url": sources.add("/a.jpg", jpeg())}))[0] == 200


def worker_ids(client: Client) -> tuple[int, ...]:
    return client.engine.workers.process_ids


async def test_a_worker_that_is_killed_is_replaced(client: Client, sources: Sources) -> None:
    """When a worker is killed while it has an image, another one does that image."""
    await client.fetch({"url": sources.add("/a.jpg", jpeg())})
    (worker,) = worker_ids(client)
    os.kill(worker, signal.SIGSTOP)
    asked = asyncio.create_task(client.fetch({"url": sources.url("/a.jpg")}))

    async def source_is_there() -> bool:
        return any((Path(client.bucket_root).parent / "state" / "engine-work").glob("*.source"))

    await wait_until(source_is_there)
    os.kill(worker, signal.SIGKILL)
    assert (await asked)[0] == 200
    assert worker_ids(client) != (worker,)


async def test_an_image_that_kills_every_worker_is_refused(tmp_path: Path) -> None:
    """After the second death the image is blamed; the pool has room for a new worker."""
    deadly = "import sys; print('{\"ready\": true}', flush=True); sys.stdin.readline()"
    pool = WorkerPool(1, 10, 1000, command=(sys.executable, "-c", deadly))
    await pool.start()
    task = Task(tmp_path / "source", tmp_path / "target", ImageOrder(), Limits(1, 1))
    for _ in range(2):
        with pytest.raises(Refusal, match="worker process died") as refused:
            await pool.run(task)
        assert refused.value.code == 422
    assert pool.process_ids == ()
    await pool.stop()


async def test_a_worker_that_does_not_come_up_is_said(tmp_path: Path) -> None:
    """A library that cannot be loaded is found at the start, with what to do."""
    pool = WorkerPool(1, 10, 1000, command=(sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(Unavailable, match="does not start") as failure:
        await pool.start()
    assert "pip install" in failure.value.hint


async def test_a_stop_signal_to_all_processes_does_not_hurt_the_work(client: Client, sources: Sources) -> None:
    """Service managers send SIGTERM to the workers too; they end with the engine, not before it."""
    (worker,) = worker_ids(client)
    os.kill(worker, signal.SIGTERM)
    assert (await client.fetch({"url": sources.add("/a.jpg", jpeg())}))[0] == 200
    assert worker_ids(client) == (worker,)


async def test_a_worker_that_hangs_is_replaced(tmp_path: Path, sources: Sources) -> None:
    """An image that takes too long is a 422 that says so; its worker is gone, and the next image is served."""
    async with running_engine(tmp_path, capacity=Capacity(image_seconds=2)) as client:
        (worker,) = worker_ids(client)
        os.kill(worker, signal.SIGSTOP)
        status, message = await client.refused({"url": sources.add("/a.jpg", jpeg())})
        assert (status, "longer than 2.0 s" in message) == (422, True)
        assert not Path(f"/proc/{worker}").exists()
        assert (await client.fetch({"url": sources.url("/a.jpg")}))[0] == 200


async def test_workers_know_none_of_the_secrets(client: Client) -> None:
    """A worker's environment holds no key of the parent's."""
    (worker,) = worker_ids(client)
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0") if entry}
    assert names <= {
        b"PATH", b"HOME", b"LANG", b"LC_ALL", b"PYTHONPATH", b"TMPDIR", b"LD_LIBRARY_PATH",
        b"VIPS_CONCURRENCY", b"VIPS_WARNING", b"MALLOC_ARENA_MAX",
    }  # fmt: skip


async def test_workers_end_with_the_engine(tmp_path: Path) -> None:
    """No process is left behind by a stop."""
    async with running_engine(tmp_path) as client:
        (worker,) = worker_ids(client)
    assert not Path(f"/proc/{worker}").exists()
