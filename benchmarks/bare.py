"""The least that can do the daemon's main job: serve files, POST about each. No watching, no hash, no journal, no log.

    python -m benchmarks.bare FOLDER API_URL --key KEY --concurrency 16 --transport aiohttp|httpx

Says where it serves as one JSON line; then, for every line on its standard input, POSTs all files of FOLDER once and says how
many seconds that took. With --watch it POSTs each file as inotify tells that it was closed, and nothing more.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import struct
import sys
import time
from pathlib import Path

import httpx
from aiohttp import web
from httpx_aiohttp import HttpxAiohttpClient

IN_CLOSE_WRITE = 0x8


async def serve(folder: Path) -> str:
    """Serve the folder's files; the address."""
    application = web.Application()
    application.router.add_static("/t", folder)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/t"


def body_of(address: str, name: str) -> dict[str, object]:
    """A request as the daemon makes it."""
    store = {"id": "c", "bucket": "bench", "region": "eu-central-003", "path": f"bare/{name}"}
    return {"url": f"{address}/{name}", "headers": {"X-Second": "x" * 43}, "image": {}, "store": store}


async def post(client: httpx.AsyncClient, api: str, body: dict[str, object]) -> None:
    """One request, to its end."""
    answer = await client.post(f"{api}/fetch", json=body)
    answer.read()


async def post_all(client: httpx.AsyncClient, api: str, address: str, files: list[str], concurrency: int) -> float:
    """Seconds for all files."""
    names = iter(files)
    started = time.perf_counter()

    async def work() -> None:
        for name in names:
            await post(client, api, body_of(address, name))

    await asyncio.gather(*(work() for _ in range(concurrency)))
    return time.perf_counter() - started


async def watch(client: httpx.AsyncClient, api: str, address: str, folder: Path) -> None:
    """POST each file that is closed, for ever."""
    library, loop = ctypes.CDLL(None, use_errno=True), asyncio.get_running_loop()
    descriptor = library.inotify_init1(os.O_NONBLOCK)
    if library.inotify_add_watch(descriptor, os.fsencode(folder), IN_CLOSE_WRITE) < 0:
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    names: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        events = os.read(descriptor, 65_536)
        while events:
            (length,) = struct.unpack_from("12xI", events)
            names.put_nowait(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]

    loop.add_reader(descriptor, read)
    say({"serving": address})
    while True:
        await post(client, api, body_of(address, await names.get()))


def say(value: object) -> None:
    """A JSON line on standard output."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    """What the command was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("api")
    parser.add_argument("--key", required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--transport", choices=("aiohttp", "httpx"), default="aiohttp")
    parser.add_argument("--watch", action="store_true")
    return parser.parse_args()


async def main(given: argparse.Namespace, files: list[str]) -> None:
    """The command."""
    address = await serve(given.folder)
    limits = httpx.Limits(max_connections=given.concurrency, max_keepalive_connections=given.concurrency)
    kind = HttpxAiohttpClient if given.transport == "aiohttp" else httpx.AsyncClient
    async with kind(auth=(given.key, ""), limits=limits, timeout=120.0, trust_env=False) as client:
        if given.watch:
            await watch(client, given.api, address, given.folder)
        say({"serving": address})
        while await asyncio.to_thread(sys.stdin.readline):
            say(await post_all(client, given.api, address, files, given.concurrency))


if __name__ == "__main__":
    given = arguments()
    asyncio.run(main(given, sorted(path.name for path in given.folder.iterdir())))
