"""The gate in front of a real API that goes away, comes back, or answers nothing good."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.gates import ANSWERED_500, GateBench, entering, let_in
from tests.support.publishing import wait_until
from tests.support.standin import DEFAULT_KEY, Fault, Standin
from watcher.compressor.circuit_state import Phase
from watcher.compressor.client import CompressorClient
from watcher.errors import CallFailed
from watcher.model import Event


async def test_a_real_api_that_goes_and_comes_back_is_found_again() -> None:
    """Stopped, refused, waited for, started on the same port, recovered: one line each, and nothing but probes meanwhile."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=10) as client:
        bench = GateBench(client.account)
        await standin.stop()
        await bench.gate.enter("a")
        with pytest.raises(CallFailed) as caught:
            await client.account()
        bench.gate.failed("a", caught.value.failure)
        tasks = entering(bench.gate, "a", "b")
        for number in range(3):
            await wait_until(lambda: bench.clock.sleepers == 1)
            bench.clock.move(60)
            await bench.asked(number + 1)
        await wait_until(lambda: bench.clock.sleepers == 1)
        await standin.start()
        bench.clock.move(60)
        await wait_until(lambda: len(let_in(tasks)) == 1)
        bench.gate.succeeded(let_in(tasks).pop())
        await asyncio.gather(*tasks.values())
        assert (standin.calls["account"], standin.calls["fetch"]) == (1, 0)
        assert bench.events == [Event.API_UNAVAILABLE, Event.API_RECOVERED]
        await bench.gate.close()


async def test_an_api_that_answers_500_to_everything_is_an_outage_at_the_first_failure() -> None:
    """The account page fails too: said at once, and nobody is charged."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=10) as client:
        standin.faults = [Fault("status", on=("fetch", "account"), status=500)]
        bench = GateBench(client.account)
        await bench.gate.enter("a")
        bench.gate.failed("a", ANSWERED_500)
        await wait_until(lambda: bench.phase is Phase.OPEN)
        assert bench.events == [Event.API_UNAVAILABLE]
        await bench.gate.close()
