"""Telling callers that their jobs have ended: a POST, tried again with growing pauses until any 2xx confirms it.

What is due stands in the jobs' journal, so a restart forgets none. The same address rules hold as for sources.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import aiohttp

from watcher.backoff import exponential, half_jitter
from watcher.engine.fetch import judged_session, request_url
from watcher.engine.jobs import KEPT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.engine.addresses import AddressPolicy
    from watcher.engine.jobs import JobJournal, WebhookCall

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

    def __init__(
        self, journal: JobJournal, policy: AddressPolicy, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._policy = policy
        self._clock = clock
        self._random = random
        self._news = asyncio.Event()

    def wake(self) -> None:
        """A job with a webhook has ended."""
        self._news.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with judged_session(self._policy) as session:
            while True:
                self._news.clear()
                due, next_due = await self._journal.due()
                for start in range(0, len(due), _AT_ONCE):
                    await asyncio.gather(*(self._deliver(session, delivery) for delivery in due[start : start + _AT_ONCE]))
                if not due:
                    await self._rest(next_due)

    async def _rest(self, next_due: float | None) -> None:
        seconds = None if next_due is None else max(0.0, next_due - self._clock())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    async def _deliver(self, session: aiohttp.ClientSession, delivery: WebhookCall) -> None:
        if await self._is_confirmed(session, delivery) or self._clock() - delivery.ended > KEPT_SECONDS:
            await self._journal.delivered(delivery.id)
        else:
            await self._journal.try_again(delivery.id, self._clock() + pause(delivery.tries, self._random()))

    async def _is_confirmed(self, session: aiohttp.ClientSession, delivery: WebhookCall) -> bool:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                session.post(
                    request_url(self._policy, delivery.url),
                    data=delivery.body.encode(),
                    headers={"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                return 200 <= response.status < 300
        except (aiohttp.ClientError, OSError, ValueError):
            return False
