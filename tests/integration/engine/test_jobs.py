"""Jobs and webhooks: what is answered at once, done later, kept over a restart, and told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.support.engine import Client, Sources, local_store, running_engine, stored_file, wait_until
from tests.support.pictures import decoded, jpeg
from watcher.engine.server import Capacity

SMALL = Capacity(async_above=20_000)


@pytest_asyncio.fixture(loop_scope="module")
async def small_client(tmp_path: Path) -> AsyncIterator[Client]:
    """An engine for which everything above 20 kB is large."""
    async with running_engine(tmp_path, capacity=SMALL) as client:
        yield client


class Hook:
    """A receiver of webhooks, which answers with the statuses given and then with 204."""

    def __init__(self, sources: Sources, *statuses: int) -> None:
        self.received: list[tuple[dict[str, str], Any]] = []
        self._statuses = list(statuses)
        sources.answers["/hook"] = self._answer
        self.url = sources.url("/hook")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.received.append((dict(request.headers), json.loads(await request.read())))
        return web.Response(status=self._statuses.pop(0) if self._statuses else 204)

    async def calls(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.received) >= count

        await wait_until(enough)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_input_becomes_a_job(small_client: Client, sources: Sources, announced: bool) -> None:
    """Above the limit, announced by Content-Length or found while it arrives, `enqueued` is answered and the job completes."""
    content = jpeg(800, 600)
    assert len(content) > SMALL.async_above

    async def chunked(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        if announced:
            response.content_length = len(content)
        await response.prepare(request)
        await response.write(content)
        return response

    sources.answers["/large.jpg"] = chunked
    status, answer = await small_client.fetch({"url": sources.url("/large.jpg"), "store": local_store(path="large.jpg")})
    assert (status, set(answer), answer["status"]) == (202, {"id", "status"}, "enqueued")
    job = await small_client.job(answer["id"], "completed")
    assert list(job) == ["id", "status", "url", "input", "output"]
    assert decoded(stored_file(job).read_bytes()).size == (800, 600)
    assert len(sources.requests) == 1


async def test_a_40_mb_image_goes_the_asynchronous_way(client: Client, sources: Sources) -> None:
    """By default the limit is the documented 32 MB."""
    content = jpeg() + b"\0" * 40_000_000
    status, answer = await client.fetch({"url": sources.add("/large.jpg", content), "store": local_store(path="large.jpg")})
    assert (status, answer["status"]) == (202, "enqueued")
    job = await client.job(answer["id"], "completed")
    assert job["input"]["size"] == len(content)


async def test_a_failed_job_says_why(small_client: Client, sources: Sources) -> None:
    """`success: false`, the id, the status `failed`, and code and message of the refusal."""
    _, answer = await small_client.fetch({"url": sources.add("/x", b"no image " * 5000)})
    job = await small_client.job(answer["id"], "failed")
    assert {name: job[name] for name in ("success", "id", "status", "code")} == {
        "success": False,
        "id": answer["id"],
        "status": "failed",
        "code": 422,
    }
    assert "no image" in job["message"]


async def test_a_webhook_makes_a_job_and_is_told_its_end(client: Client, sources: Sources) -> None:
    """`webhook.url` forces a job whatever the size; the POST has the documented headers and the synchronous answer's body."""
    hook = Hook(sources)
    status, answer = await client.fetch(
        {"url": sources.add("/a.jpg", jpeg()), "store": local_store(), "webhook": {"url": hook.url}}
    )
    assert (status, answer["status"]) == (202, "enqueued")
    await hook.calls(1)
    headers, body = hook.received[0]
    assert headers["User-Agent"] == "Compressor/1.0 (+https://compressor.app)"
    assert headers["Content-Type"] == "application/json"
    assert (headers["webhook-id"], headers["webhook-timestamp"].isdigit()) == (answer["id"], True)
    assert (list(body), body["id"]) == (["id", "url", "input", "output"], answer["id"])


async def test_a_webhook_is_told_of_failures_too(client: Client, sources: Sources) -> None:
    """The body is then the standard error."""
    hook = Hook(sources)
    _, answer = await client.fetch({"url": sources.url("/missing.jpg"), "webhook": {"url": hook.url}})
    await hook.calls(1)
    _, body = hook.received[0]
    assert (body["success"], body["code"], body["id"], "404" in body["message"]) == (False, 422, answer["id"], True)


async def test_a_webhook_is_tried_until_any_2xx(client: Client, sources: Sources) -> None:
    """Errors and redirects do not confirm; a 202 does, and then it is over."""
    hook = Hook(sources, 500, 302, 202)
    await client.fetch({"url": sources.add("/a.jpg", jpeg()), "webhook": {"url": hook.url}})
    await hook.calls(3)
    await client.fetch({"url": sources.url("/missing.jpg"), "webhook": {"url": hook.url}})
    await hook.calls(4)
    assert [body["id"] for _, body in hook.received[:3]] == [hook.received[0][1]["id"]] * 3
    assert len({headers["webhook-id"] for headers, _ in hook.received[:3]}) == 1
    assert hook.received[3][1]["id"] != hook.received[0][1]["id"]


async def test_a_webhook_outlives_a_restart(tmp_path: Path, sources: Sources) -> None:
    """What was not confirmed when the engine stopped is told by the next one."""
    hook = Hook(sources, 503)
    async with running_engine(tmp_path, random=lambda: 1.0) as client:
        _, answer = await client.fetch({"url": sources.add("/a.jpg", jpeg()), "webhook": {"url": hook.url}})
        await hook.calls(1)
    async with running_engine(tmp_path):
        await hook.calls(2)
    assert hook.received[1][1]["id"] == answer["id"]


async def test_jobs_outlive_a_stop(tmp_path: Path, sources: Sources) -> None:
    """A job that is at work and one that waits are both completed by the next engine; nothing is done twice."""
    release = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(body=jpeg())

    sources.answers["/slow.jpg"] = slow
    hook = Hook(sources)
    async with running_engine(tmp_path) as client:
        orders = [
            {"url": sources.url("/slow.jpg"), "store": local_store(path=f"{number}.jpg"), "webhook": {"url": hook.url}}
            for number in range(3)
        ]
        ids = [(await client.fetch(order))[1]["id"] for order in orders]
        await client.job(ids[0], "processing")
    release.set()
    async with running_engine(tmp_path) as client:
        for identity in ids:
            await client.job(identity, "completed")
        await hook.calls(3)
    assert sorted(body["id"] for _, body in hook.received) == sorted(ids)


async def test_a_full_job_queue_is_a_429(tmp_path: Path, sources: Sources) -> None:
    """Beyond the queue's length the caller is told when to come again."""
    hook = Hook(sources)
    never = asyncio.Event()

    async def stuck(_: web.BaseRequest) -> web.StreamResponse:
        await never.wait()
        raise AssertionError

    sources.answers["/stuck"] = stuck
    async with running_engine(tmp_path, capacity=Capacity(jobs=2)) as client:
        order = {"url": sources.url("/stuck"), "webhook": {"url": hook.url}}
        assert [(await client.fetch(order))[0] for _ in range(2)] == [202, 202]
        async with client.session.post(client.url("/1.0/fetch"), json=order, headers=client.headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "5")


async def test_secrets_of_a_request_are_forgotten_with_its_end(client: Client, sources: Sources, tmp_path: Path) -> None:
    """The address and the headers of a finished job are not in the journal any more."""
    hook = Hook(sources)
    url = sources.add("/a.jpg", jpeg()) + "?token=very-secret-token"
    _, answer = await client.fetch({"url": url, "headers": {"X-Key": "very-secret-header"}, "webhook": {"url": hook.url}})
    await client.job(answer["id"], "completed")
    await hook.calls(1)
    await client.engine.stop()
    content = (tmp_path / "state" / "engine-jobs.db").read_bytes()
    assert b"very-secret" not in content
