"""Calls of S3-compatible stores over HTTP: signed, tried again where that helps, their errors told by kind.

Only what Backblaze B2 takes is sent: signature version 4 and no header that is not needed. Busy answers (503 "no tomes
available", SlowDown, 500, 408) are B2's everyday life: the first retry goes out at once and each over a new connection, which
leads to another machine behind the same address; then with growing waits. Every attempt is signed anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from watcher import __version__
from watcher.backoff import exponential, half_jitter, parse_retry_after
from watcher.network.certificates import client_context
from watcher.network.proxies import Proxies
from watcher.s3.errors import S3Error, S3ErrorKind, error_of_answer
from watcher.s3.network import ListeningTransport
from watcher.s3.signing import query_text, signed_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping

    from watcher.ports import Clock
    from watcher.s3.signing import Credentials

TRIES: Final = 6
"""Calls of a busy store before it counts as down (three are known to be too few)."""
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 10.0
TIMEOUT: Final = httpx.Timeout(60.0, connect=15.0)
"""For each step (connect, one write, one read), not for the whole."""
_HEADERS: Final = {"User-Agent": f"compressor-watcher/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class S3Request:
    """A call. `url` is without the query; `content` is asked for the body at every try."""

    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], AsyncIterable[bytes]] | None = None

    @property
    def full_url(self) -> str:
        """With the query, in the form in which it is signed."""
        return f"{self.url}?{query_text(self.query)}" if self.query else self.url


class S3Client:
    """Makes calls, to any number of stores. Every one raises S3Error. `aclose` it.

    `random` gives numbers from 0 to 1 for the waits between tries; at most `connections` are open at once.
    """

    def __init__(
        self,
        clock: Clock,
        random: Callable[[], float],
        *,
        proxies: Proxies | None = None,
        connections: int = 100,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self._clock = clock
        self._random = random
        self._proxies = proxies or Proxies()
        self._limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._timeout = timeout
        self._tls = client_context()
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    async def aclose(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def send(self, request: S3Request, credentials: Credentials | None) -> httpx.Response:
        """The answer to one try; unsigned without credentials."""
        return await self._try(self._client(request.url), request, credentials)

    async def send_until_answered(self, request: S3Request, credentials: Credentials | None) -> tuple[httpx.Response, int]:
        """The answer, and how many tries it took: what may pass is tried again, on a new connection each time."""
        try:
            return await self.send(request, credentials), 1
        except S3Error as error:
            last = error
        for attempt in range(2, TRIES + 1):
            if not last.may_pass:
                break
            await self._clock.sleep(wait_before(attempt, last.retry_after, self._random()))
            try:
                return await self._send_afresh(request, credentials), attempt
            except S3Error as error:
                last = error
        raise last

    async def _send_afresh(self, request: S3Request, credentials: Credentials | None) -> httpx.Response:
        async with self._new_client(self._proxies.for_url(request.url)) as client:
            return await self._try(client, request, credentials)

    async def _try(self, client: httpx.AsyncClient, request: S3Request, credentials: Credentials | None) -> httpx.Response:
        headers = dict(request.headers)
        if credentials is not None:
            headers = signed_headers(credentials, request.method, request.url, request.query, headers, self._clock.now())
        body = request.content() if request.content else None
        try:
            answer = await client.request(request.method, request.full_url, headers=headers, content=body)
        except httpx.TransportError as error:
            host = urlsplit(request.url).netloc
            raise S3Error(S3ErrorKind.UNREACHABLE, f"no answer from {host}: {_reason(error)}") from error
        if answer.is_success:
            return answer
        asked = parse_retry_after(answer.headers.get("Retry-After"), self._clock.now())
        raise error_of_answer(answer.status_code, answer.text, asked or 0.0)

    def _client(self, url: str) -> httpx.AsyncClient:
        proxy = self._proxies.for_url(url)
        if proxy not in self._clients:
            self._clients[proxy] = self._new_client(proxy)
        return self._clients[proxy]

    def _new_client(self, proxy: str | None) -> httpx.AsyncClient:
        transport = ListeningTransport(self._tls, self._limits, proxy)
        return httpx.AsyncClient(
            transport=transport, timeout=self._timeout, headers=_HEADERS, follow_redirects=False, trust_env=False
        )


def wait_before(attempt: int, retry_after: float, random: float) -> float:
    """Seconds before try number `attempt` (the second is 2, and goes out at once unless the store asks for a pause)."""
    own = half_jitter(exponential(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, attempt - 2), random) if attempt > 2 else 0.0
    return min(max(retry_after, own), LONGEST_WAIT_SECONDS)


def _reason(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__
