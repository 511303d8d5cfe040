"""The engine is killed outright: jobs that were taken are done by the next one, and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.engine import KEY, Sources, local_store, running_engine, serving_sources, stored_file, wait_until
from tests.support.pictures import decoded, jpeg

SERVE = """
import asyncio, json, sys
from pathlib import Path
from watcher.engine.server import Engine
from watcher.config.engine_settings import EngineSettings

async def main():
    folder, key = Path(sys.argv[1]), sys.argv[2]
    connectors = {"local": {"kind": "directory", "path": folder / "buckets"}}
    settings = EngineSettings(allow_private=["127.0.0.1/32"], concurrency=1, connectors=connectors)
    engine = Engine(settings, folder / "state", api_keys=[key])
    print(await engine.start("127.0.0.1", 0), engine.workers.process_ids[0], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_jobs_outlive_a_kill(tmp_path: Path) -> None:
    """SIGKILL with one job at work and one waiting: the worker ends too, the next engine completes both and clears up."""
    release = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(body=jpeg())

    async def hook(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async with serving_sources() as sources:
        sources.answers.update({"/slow.jpg": slow, "/hook": hook})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVE, str(tmp_path), KEY, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        port, worker = map(int, (await process.stdout.readline()).split())
        ids = [await posted(port, sources, number) for number in range(2)]
        await wait_until(lambda: seen(sources, "/slow.jpg"))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await wait_until(lambda: gone(worker))
        release.set()
        async with running_engine(tmp_path) as client:
            for number, identity in enumerate(ids):
                job = await client.job(identity, "completed")
                assert stored_file(job) == tmp_path / "buckets" / "my-bucket" / f"{number}.jpg"
                assert decoded(stored_file(job).read_bytes()).size == (320, 200)
            assert list((tmp_path / "state" / "engine-work").iterdir()) == []


async def posted(port: int, sources: Sources, number: int) -> str:
    body: dict[str, Any] = {
        "url": sources.url("/slow.jpg"),
        "store": local_store(path=f"{number}.jpg"),
        "webhook": {"url": sources.url("/hook")},
    }
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/1.0/fetch"
    async with aiohttp.ClientSession() as session, session.post(url, data=json.dumps(body), headers=headers) as response:
        assert response.status == 202
        return str((await response.json())["id"])


async def seen(sources: Sources, path: str) -> bool:
    return any(request.path == path for request in sources.requests)


async def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{process}/status").read_text()
