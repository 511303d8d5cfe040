"""The API, and who wants to hear how its calls went: the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from watcher.errors import CallFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from watcher.compressor.wire import FetchRequest, Pending, Result
    from watcher.ports import Api, Clock

Answer = TypeVar("Answer")
_OK: Final = 200


class ObservedApi:
    """Implements `watcher.ports.Api` by another one, and tells of each call its name, its HTTP status and its seconds."""

    def __init__(self, api: Api, told: Callable[[str, int | None, float], None], clock: Clock) -> None:
        self._api = api
        self._told = told
        self._clock = clock

    async def fetch(self, request: FetchRequest) -> Result | Pending:
        """See `Api.fetch`."""
        return await self._observed("fetch", self._api.fetch(request))

    async def job(self, job_id: str) -> Result | Pending:
        """See `Api.job`."""
        return await self._observed("job", self._api.job(job_id))

    async def account(self) -> None:
        """See `Api.account`."""
        await self._observed("account", self._api.account())

    async def _observed(self, name: str, call: Awaitable[Answer]) -> Answer:
        began = self._clock.monotonic()
        try:
            answer = await call
        except CallFailed as error:
            self._told(name, error.failure.status, self._clock.monotonic() - began)
            raise
        self._told(name, _OK, self._clock.monotonic() - began)
        return answer
