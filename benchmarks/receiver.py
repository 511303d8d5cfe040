"""A receiver of notifications as a process of its own: confirms every POST, remembers the numbers of the endings in their order.

    python -m benchmarks.receiver [PORT]

The first line on standard output says where it listens. GET answers how many came, whether each came once and in order, and when
the first and the last did. It ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

from aiohttp import web


async def main() -> None:
    """Serve until standard input ends."""
    numbers: list[int] = []
    times: list[float] = []

    async def take(request: web.Request) -> web.Response:
        numbers.append((await request.json())["seq"])
        times.append(time.time())
        return web.Response(text="ok")

    async def tell(_: web.Request) -> web.Response:
        in_order = all(after == before + 1 for before, after in itertools.pairwise(numbers))
        said = {"count": len(numbers), "in_order": in_order, "first": times[0] if times else 0, "last": times[-1] if times else 0}
        return web.json_response(said)

    app = web.Application()
    app.router.add_post("/", take)
    app.router.add_get("/", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    await site.start()
    sys.stdout.write(json.dumps({"url": site.name + "/" if len(sys.argv) > 1 else _address(runner)}) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}/"


if __name__ == "__main__":
    asyncio.run(main())
