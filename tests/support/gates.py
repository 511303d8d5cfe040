"""A gate with everything that a test wants to look at, and images that want in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.publishing import MovedClock, RecordedLog, wait_until
from watcher.compressor.circuit_state import Phase
from watcher.compressor.gate import CircuitGate
from watcher.model import Event, Failure, FailureKind

DOWN = Failure(FailureKind.TRANSIENT, "the API cannot be reached", unreachable=True)
ANSWERED_500 = Failure(FailureKind.TRANSIENT, "the API answered 500", status=500)
BAD_KEY = Failure(FailureKind.BLOCKED, "the API answered 401", "set a key", status=401, event=Event.API_UNAUTHORIZED)
SLOW_DOWN = Failure(FailureKind.THROTTLED, "the API answered 429", status=429, retry_after=30)


class Account:
    """`GET /account`, answering what the test says or what a real one does, counting."""

    def __init__(self, ask: Callable[[], Awaitable[None]] | None = None) -> None:
        self._ask = ask
        self.failure: Exception | None = None
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> None:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await (self._ask() if self._ask else asyncio.sleep(0))
            if self.failure is not None:
                raise self.failure
        finally:
            self.at_once -= 1


class GateBench:
    """A gate with everything that a test wants to look at."""

    def __init__(self, ask: Callable[[], Awaitable[None]] | None = None, per_second: float | None = None) -> None:
        self.account = Account(ask)
        self.log = RecordedLog()
        self.clock = MovedClock()
        self.gate = CircuitGate(self.account, self.log, self.clock, lambda: 0.5, per_second)

    @property
    def phase(self) -> Phase:
        return self.gate.state.phase

    @property
    def events(self) -> list[Event]:
        return [event for event, _ in self.log.lines]

    async def asked(self, times: int) -> None:
        """Wait until the account was asked so often."""
        await wait_until(lambda: self.account.asked == times)

    async def reach(self, phase: Phase, seconds: float = 0.0) -> None:
        """Move the time and wait until the circuit is there."""
        self.clock.move(seconds)
        await wait_until(lambda: self.phase is phase)


def entering(gate: CircuitGate, *names: str) -> dict[str, asyncio.Task[None]]:
    """Tasks that want in."""
    return {name: asyncio.create_task(gate.enter(name), name=name) for name in names}


def let_in(tasks: dict[str, asyncio.Task[None]]) -> set[str]:
    """Who is in."""
    return {name for name, task in tasks.items() if task.done() and not task.cancelled()}


async def cancel(tasks: dict[str, asyncio.Task[None]]) -> None:
    """Give up waiting."""
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
