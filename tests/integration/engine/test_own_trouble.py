"""Trouble of the engine's own disk is no verdict on an image, and ends nothing for good."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import watcher.engine.runner as runner_module
import watcher.engine.server as server_module
import watcher.engine.sqlite_jobs as jobs_module
from tests.support.engine import Sources, local_store, running_engine
from tests.support.pictures import jpeg
from watcher.engine.addresses import AddressPolicy
from watcher.engine.fetch import Fetcher
from watcher.engine.processing import Processor
from watcher.engine.refusal import DISK_TROUBLE, Refusal
from watcher.engine.server import Capacity
from watcher.engine.sqlite_jobs import SqliteJobs
from watcher.engine.work import ImageOrder, Limits, Task
from watcher.engine.worker import run

FULL_DISK = Path("/dev/full")


async def test_a_full_disk_is_not_a_source_that_cannot_be_reached(sources: Sources) -> None:
    """The bytes came; where they belong there was no room: 507, and what it is about."""
    fetcher = Fetcher(AddressPolicy.of(("127.0.0.1/32",), ()), 30.0, 1_000_000)
    await fetcher.start()
    with pytest.raises(Refusal, match="No space left") as refused:
        await fetcher.fetch(sources.add("/a.jpg", jpeg()), {}, FULL_DISK, lambda _: None)
    await fetcher.stop()
    assert (refused.value.code, refused.value.retry_after) == (DISK_TROUBLE, 30)


def test_a_full_disk_is_not_an_image_that_kills_its_worker(tmp_path: Path) -> None:
    """The worker says so and lives on."""
    source = tmp_path / "source"
    source.write_bytes(jpeg())
    answer = run(Task(source, FULL_DISK, ImageOrder(), Limits(150_000_000, 1000)))
    assert (answer["code"], "No space left" in answer["message"]) == (DISK_TROUBLE, True)


async def test_a_caller_is_told_to_come_again(tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    """507 with Retry-After, and the next order is done as if nothing had been."""
    async with running_engine(tmp_path) as client:
        working = tmp_path / "state" / "engine-work"
        working.rename(tmp_path / "elsewhere")
        body = {"url": sources.add("/a.jpg", jpeg()), "image": {}, "store": local_store()}
        async with client.session.post(client.url("/1.0/fetch"), json=body, headers=client.headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (DISK_TROUBLE, "30")
        (tmp_path / "elsewhere").rename(working)
        await client.stored(body["url"])


async def test_a_job_waits_until_the_disk_is_well_again(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun anew, not failed: a failed job would be the image's end."""
    monkeypatch.setattr(runner_module, "DISK_PAUSE_SECONDS", 0.1)
    async with running_engine(tmp_path, capacity=Capacity(async_above=0)) as client:
        plain, troubles = Processor.run, [1, 1]

        async def troubled(processor: Processor, *arguments: Any) -> Any:
            if troubles:
                troubles.pop()
                raise Refusal(DISK_TROUBLE, "no room", retry_after=30)
            return await plain(processor, *arguments)

        monkeypatch.setattr(Processor, "run", troubled)
        body = {"url": sources.add("/a.jpg", jpeg()), "image": {}, "store": local_store(), "webhook": {"url": sources.url("/h")}}
        status, answer = await client.fetch(body)
        assert status in (200, 202), answer
        assert (await client.job(answer["id"], "completed", "failed"))["status"] == "completed"
        assert troubles == []


async def test_an_error_of_the_journal_costs_no_worker_its_life(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims and endings are tried until they can be made; the only worker goes on to the next job."""
    monkeypatch.setattr(jobs_module, "FIRST_PAUSE_SECONDS", 0.01)
    step, refusals = "_transact", ["claim", "end"]
    plain = getattr(SqliteJobs, step)

    async def failing_once(jobs: SqliteJobs, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if refusals and work.__qualname__.split(".")[1] == refusals[0]:
            refusals.pop(0)
            raise sqlite3.OperationalError("database or disk is full")
        return await plain(jobs, work)

    monkeypatch.setattr(SqliteJobs, step, failing_once)
    async with running_engine(tmp_path) as client:
        for number in range(2):
            body = {"url": sources.add(f"/{number}.jpg", jpeg()), "image": {}, "store": local_store(path=f"{number}.jpg")}
            _, answer = await client.fetch({**body, "webhook": {"url": sources.url("/hook")}})
            assert (await client.job(answer["id"], "completed", "failed"))["status"] == "completed"
    assert refusals == []


async def test_a_routine_that_breaks_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweeper and the webhooks of an engine outlive an error of the disk."""
    monkeypatch.setattr(server_module, "_REVIVAL_SECONDS", 0.0)
    lives, done = 0, asyncio.Event()

    async def routine() -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done.set()
        await asyncio.sleep(3600)

    task = asyncio.create_task(server_module.kept_alive(routine, "test"))
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()


async def test_a_want_of_descriptors_is_not_a_source_that_cannot_be_reached(sources: Sources) -> None:
    """No socket for the way there: 507, to be tried again soon."""
    fetcher = Fetcher(AddressPolicy.of(("127.0.0.1/32",), ()), 30.0, 1_000_000)
    await fetcher.start()
    url = sources.add("/a.jpg", jpeg())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(Refusal, match="no descriptor") as refused:
            await fetcher.fetch(url, {}, FULL_DISK, lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await fetcher.stop()
    assert (refused.value.code, refused.value.retry_after) == (DISK_TROUBLE, 2)
