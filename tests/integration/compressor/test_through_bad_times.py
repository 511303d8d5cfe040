"""Client, gate and circuit together, against an API that does everything wrong at random: what an image lives through."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.support.publishing import RecordedLog
from tests.support.standin import DEFAULT_KEY, Fault, Standin
from watcher.backoff import backoff
from watcher.compressor.client import CompressorClient
from watcher.compressor.gate import CircuitGate
from watcher.compressor.wire import FetchRequest
from watcher.errors import CallFailed
from watcher.model import Event, FailureKind

SPEED = 100.0
"""The waits of this file's clock are so much shorter than they say."""
MAX_ATTEMPTS = 8
IMAGES = 80


class QuickClock:
    """Time that runs a hundred times as fast."""

    def now(self) -> float:
        return asyncio.get_running_loop().time() * SPEED

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * SPEED

    def steady(self) -> float:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


@dataclass
class Journeys:
    """A small pipeline: send, wait, send again, until stored, refused or out of attempts."""

    client: CompressorClient
    gate: CircuitGate
    clock: QuickClock
    dice: random.Random
    originals: str
    endings: dict[str, str] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)

    async def one(self, name: str, slots: asyncio.Semaphore) -> None:
        tries = 0
        while name not in self.endings:
            async with slots:
                await self._try(name)
            tries += 1
            await self.clock.sleep(backoff(tries, self.dice.random()))

    async def _try(self, name: str) -> None:
        await self.gate.enter(name)
        store = {"id": "c", "bucket": "bu", "region": "us-west-004", "path": name}
        try:
            await self.client.fetch(FetchRequest(f"{self.originals}/{name}", store=store))
        except CallFailed as error:
            charged = self.gate.failed(name, error.failure)
            self.attempts[name] += charged + self.gate.attempts_charged(name)
            if error.failure.kind is FailureKind.PERMANENT:
                self.endings[name] = "refused"
            elif self.attempts[name] >= MAX_ATTEMPTS:
                self.endings[name] = "out of attempts"
        else:
            self.gate.succeeded(name)
            self.endings[name] = "stored"
        if name in self.endings:
            self.gate.forget(name)


async def photo(_: web.Request) -> web.Response:
    """Any original."""
    return web.Response(body=b"\xff\xd8 photo \xff\xd9")


def bad_times() -> list[Fault]:
    """Everything that passes, mixed; two images that always fail, one that is refused."""
    return [
        Fault("status", file="bad-*", status=500),
        Fault("status", file="refused.jpg", status=422),
        Fault("status", share=0.05, status=500),
        Fault("status", share=0.05, status=502, html=True),
        Fault("status", share=0.03, status=429, retry_after="1"),
        Fault("status", share=0.02, status=503, retry_after="2"),
        Fault("reset", share=0.05),
        Fault("reset_after", share=0.05),
        Fault("truncated", share=0.03),
        Fault("body_after", share=0.03, status=200, body="<html>sign in</html>", html=True),
        Fault("status", on=("account",), share=0.2, status=500),
        Fault("status", on=("fetch", "account"), share=0.01, status=401),
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_good_images_are_stored_and_bad_ones_end(seed: int) -> None:
    """Every good image gets through, none is blamed to death, the bad ones use up their attempts, and each episode has an end."""
    application = web.Application()
    application.router.add_get("/{name}", photo)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    originals = f"http://127.0.0.1:{runner.addresses[0][1]}"
    log, clock, dice = RecordedLog(), QuickClock(), random.Random(seed)
    async with Standin(seed=seed) as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=30) as client:
        standin.faults = bad_times()
        gate = CircuitGate(client.account, log, clock, dice.random)
        journeys = Journeys(client, gate, clock, dice, originals)
        names = ["bad-1.jpg", "bad-2.jpg", "refused.jpg", *(f"good-{number}.jpg" for number in range(IMAGES))]
        slots = asyncio.Semaphore(8)
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(journeys.one(name, slots))
        await gate.close()
        assert standin.most_in_flight <= 8
        assert {("bu", name) for name in names if name.startswith("good")} == set(standin.objects)
    await runner.cleanup()
    ended = Counter(journeys.endings.values())
    assert ended == {"stored": IMAGES, "refused": 1, "out of attempts": 2}
    assert max(journeys.attempts[name] for name in names if name.startswith("good")) < MAX_ATTEMPTS
    recovered = len(log.of(Event.API_RECOVERED))
    for event in (Event.API_UNAVAILABLE, Event.API_UNAUTHORIZED):
        assert len(log.of(event)) <= recovered + 1
