"""Telling callers that their jobs have ended: a POST, tried again with growing pauses until any 2xx confirms it.

What is due stands with the jobs, so a restart forgets none. A call is one engine's at a time; where it cannot be told whether a
receiver got it, it is made again, with the same `webhook-id` (as Standard Webhooks has it). The same address rules hold as for
sources.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import aiohttp

from watcher.backoff import exponential, half_jitter
from watcher.engine.fetch import judged_session, request_url
from watcher.job_store import KEPT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.engine.addresses import AddressPolicy
    from watcher.job_store import JobStore, WebhookCall

ANSWER_SECONDS: Final = 10.0
"""How long a receiver may take to confirm."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 600.0
_AT_ONCE: Final = 16


def pause(tries: int, random: float) -> float:
    """Seconds until the next try after `tries` failed before this one: doubling, capped, with `random` (0 to 1) as jitter."""
    return half_jitter(exponential(_FIRST_PAUSE, _LONGEST_PAUSE, tries + 1), random)


class Webhooks:
    """Delivers what is due. `random` gives random numbers from 0 to 1."""

    def __init__(self, store: JobStore, policy: AddressPolicy, clock: Callable[[], float], random: Callable[[], float]) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._random = random
        self._news = asyncio.Event()

    def wake(self) -> None:
        """A job with a webhook has ended."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        await self._store.release_calls()
        async with judged_session(self._policy) as session, asyncio.TaskGroup() as group:
            out: set[asyncio.Task[None]] = set()
            while True:
                self._news.clear()
                out = {task for task in out if not task.done()}
                due, next_due = await self._store.claim_calls(_AT_ONCE - len(out))
                for call in due:
                    task = group.create_task(self._deliver(session, call))
                    task.add_done_callback(lambda _: self._news.set())
                    out.add(task)
                await self._rest(next_due if len(out) < _AT_ONCE else None)

    async def _rest(self, next_due: float | None) -> None:
        seconds = None if next_due is None else max(0.0, next_due - self._clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _deliver(self, session: aiohttp.ClientSession, call: WebhookCall) -> None:
        if await self._is_confirmed(session, call) or self._clock() - call.ended > KEPT_SECONDS:
            await self._store.delivered(call)
        else:
            await self._store.try_again(call, self._clock() + pause(call.tries, self._random()))

    async def _is_confirmed(self, session: aiohttp.ClientSession, call: WebhookCall) -> bool:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                session.post(
                    request_url(self._policy, call.url),
                    data=call.body.encode(),
                    headers={
                        "Content-Type": "application/json",
                        "webhook-id": call.id,
                        "webhook-timestamp": str(int(self._clock())),
                    },
                    allow_redirects=False,
                ) as response,
            ):
                return 200 <= response.status < 300
        except (aiohttp.ClientError, OSError, ValueError):
            return False
