"""The Compressor API over HTTP."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import quote, urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from watcher import __version__
from watcher.backoff import parse_retry_after
from watcher.compressor.failures import (
    CAUGHT,
    Reply,
    failure_of_exception,
    failure_of_reply,
    malformed,
    secrets_of_key,
    secrets_of_request,
)
from watcher.compressor.wire import Pending, Refused, Result, read_answer
from watcher.errors import CallFailed
from watcher.json_text import dumps, loads
from watcher.network.certificates import client_context
from watcher.network.proxies import Proxies

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from watcher.compressor.wire import FetchRequest
    from watcher.model import Failure

Transport = Literal["aiohttp", "httpx"]

ENCODINGS: Final = "gzip, deflate"
USER_AGENT: Final = f"compressor-watcher/{__version__}"
FETCH_PATH: Final = "/fetch"
CONNECT_TIMEOUT_SECONDS: Final = 10.0
ACCOUNT_TIMEOUT_SECONDS: Final = 20.0
"""A probe: an API that needs longer to say who we are is as good as down."""
MAX_ANSWER_BYTES: Final = 1_000_000
"""An answer is a few hundred bytes; a body beyond this is not one."""
KEEP_ALIVE_SECONDS: Final = 15.0
"""Shorter than servers usually keep a connection, so that seldom one is used that the other side has just closed."""
_SPARE_CONNECTIONS: Final = 2
"""For probes and polls beside the images under way."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """A reply as it came: `broken` says what cut its body short."""

    status: int
    headers: httpx.Headers
    body: bytes
    broken: Failure | None


@dataclass(frozen=True, slots=True, repr=False)
class _Secrets:
    """What goes along with one call and must not be told of it: the key as it was then, and the parts of the temporary URL."""

    key: str
    request: FetchRequest | None = None

    def words(self) -> tuple[str, ...]:
        """Worked out only where something is told: most calls go well."""
        return (*(secrets_of_request(self.request) if self.request is not None else ()), *secrets_of_key(self.key))


def _never_moves(_: FetchRequest) -> None:
    """Nobody can tell."""


class TimeoutByProgress:
    """Raises TimeoutError in its block `seconds` after it began, or after the last move, whichever is later."""

    __slots__ = ("_limit", "_moved_at", "_seconds", "_timer")

    def __init__(self, seconds: float, moved_at: Callable[[], float | None]) -> None:
        self._seconds = seconds
        self._moved_at = moved_at

    async def __aenter__(self) -> None:
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        loop, moved = asyncio.get_running_loop(), self._moved_at()
        if moved is not None and moved + self._seconds > loop.time():
            self._timer = loop.call_at(moved + self._seconds, self._look)
        else:
            self._limit.reschedule(loop.time())

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)


class CompressorClient:
    """Calls the API; implements `watcher.ports.Api`.

    `url` is the API's base ("https://api.compressor.app/1.0"). `api_key` is asked at every call, so that a key can be changed
    while others are under way. `timeout` (seconds) bounds a whole call, connecting and reading included. At most `concurrency`
    calls and two more have a connection. `wall_clock` gives Unix seconds. `moved_at` tells when bytes last moved to who fetches
    the original of a request (the loop's time): while it is fetched, the answer is not late. Use it from one event loop, and
    `aclose` it.
    """

    def __init__(
        self,
        url: str,
        api_key: Callable[[], str],
        *,
        concurrency: int = 16,
        timeout: float = 120.0,
        transport: Transport = "aiohttp",
        wall_clock: Callable[[], float] = time.time,
        proxies: Proxies | None = None,
        moved_at: Callable[[FetchRequest], float | None] = _never_moves,
    ) -> None:
        self._url = url.rstrip("/")
        self._fetch_url = httpx.URL(self._url + FETCH_PATH)
        self._host = urlsplit(self._url).netloc
        self._api_key = api_key
        self._wall_clock = wall_clock
        self._moved_at = moved_at
        proxy = (proxies or Proxies()).for_url(self._url)
        self._transport = _transport(transport, concurrency + _SPARE_CONNECTIONS, proxy)
        self.timeout = timeout

    @property
    def timeout(self) -> float:
        """Seconds that bound a whole call; may be changed, for calls made from then on."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._timeout = seconds
        # the whole call is bounded where it is made; a timer for each read would only cost time
        timeout = httpx.Timeout(None, connect=min(CONNECT_TIMEOUT_SECONDS, seconds / 2))
        self._extensions = {"timeout": timeout.as_dict()}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def fetch(self, request: FetchRequest) -> Result | Pending:
        """`POST /fetch`. Raises CallFailed."""
        secrets = _Secrets(self._api_key(), request)
        raw = await self._call("POST", FETCH_PATH, secrets, self._timeout, body=dumps(request.body()))
        return self._read(raw, secrets)

    async def job(self, job_id: str) -> Result | Pending:
        """`GET /jobs/{id}`. Raises CallFailed; a job that is not known any more is TRANSIENT with `unknown` set."""
        secrets = _Secrets(self._api_key())
        raw = await self._call("GET", f"/jobs/{quote(job_id, safe='')}", secrets, self._timeout)
        return self._read(raw, secrets, about_job=True)

    async def account(self) -> None:
        """`GET /account`: returns where the key works. Raises CallFailed.

        The body of a good answer is not documented; any 2xx will do that is not a page for people and does not say otherwise.
        """
        secrets = _Secrets(self._api_key())
        raw = await self._call("GET", "/account", secrets, min(self._timeout, ACCOUNT_TIMEOUT_SECONDS))
        self._check_status(raw, secrets)
        if _is_html(raw):
            raise CallFailed(malformed(raw.status, "with an HTML page"))
        if isinstance(data := _parse(raw.body), dict) and data.get("success") is False:
            raise CallFailed(failure_of_reply(self._reply(raw), secrets.words()))

    async def _call(self, method: str, path: str, secrets: _Secrets, seconds: float, body: bytes | None = None) -> _Raw:
        request = secrets.request
        moved_at = partial(self._moved_at, request) if request is not None else lambda: None
        try:
            async with TimeoutByProgress(seconds, moved_at):
                return await self._exchange(method, path, secrets, body)
        except CAUGHT as error:
            raise CallFailed(failure_of_exception(error, self._host, secrets.words())) from error

    async def _exchange(self, method: str, path: str, secrets: _Secrets, sent: bytes | None) -> _Raw:
        """Straight to the transport: a client's cookies, redirects and ways of signing in are more work than the request."""
        request = self._request(method, path, secrets.key, sent)
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            body, broken = await self._body(response, secrets)
        finally:
            await response.aclose()
        return _Raw(response.status_code, response.headers, body, broken)

    def _request(self, method: str, path: str, key: str, sent: bytes | None) -> httpx.Request:
        """A request whose headers are known beforehand: to have httpx find them takes twice as long as all the rest of it."""
        headers = _headers(key, self._fetch_url.netloc.decode("ascii"), has_body=sent is not None)
        stream = httpx.ByteStream(sent or b"")
        request = httpx.Request(method, self._address(path), headers=headers, stream=stream, extensions=self._extensions)
        if sent is not None:
            request.headers["Content-Length"] = str(len(sent))
        request.read()
        return request

    def _address(self, path: str) -> httpx.URL | str:
        """Where to; parsed once where it is always the same."""
        return self._fetch_url if path == FETCH_PATH else self._url + path

    async def _body(self, response: httpx.Response, secrets: _Secrets) -> tuple[bytes, Failure | None]:
        """What can be read of the body. A cut one does not unsay the status that was already there."""
        body = bytearray()
        try:
            async for chunk in _chunks(response):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    return b"", malformed(response.status_code, "the answer is far too long")
        except CAUGHT as error:
            return bytes(body), failure_of_exception(error, self._host, secrets.words())
        return bytes(body), None

    def _read(self, raw: _Raw, secrets: _Secrets, *, about_job: bool = False) -> Result | Pending:
        self._check_status(raw, secrets, about_job=about_job)
        answer = read_answer(_parse(raw.body))
        if isinstance(answer, Result | Pending):
            return answer
        if isinstance(answer, Refused):
            raise CallFailed(failure_of_reply(self._reply(raw, about_job=about_job), secrets.words()))
        raise CallFailed(malformed(raw.status, "with an HTML page" if _is_html(raw) else answer.message))

    def _check_status(self, raw: _Raw, secrets: _Secrets, *, about_job: bool = False) -> None:
        if not 200 <= raw.status < 300:
            raise CallFailed(failure_of_reply(self._reply(raw, about_job=about_job), secrets.words()))
        if raw.broken is not None:
            raise CallFailed(raw.broken)

    def _reply(self, raw: _Raw, *, about_job: bool = False) -> Reply:
        answer = read_answer(_parse(raw.body))
        retry_after = parse_retry_after(raw.headers.get("retry-after"), self._wall_clock())
        return Reply(raw.status, answer if isinstance(answer, Refused) else None, _is_html(raw), retry_after, about_job)


def _parse(body: bytes) -> object:
    """The JSON value; None where it is none (or one nested so deep that no reader takes it)."""
    try:
        return loads(body)
    except (ValueError, RecursionError):
        return None


def _is_html(raw: _Raw) -> bool:
    return "html" in raw.headers.get("content-type", "").lower() or raw.body.lstrip()[:1] == b"<"


@lru_cache(maxsize=4)
def _headers(key: str, host: str, *, has_body: bool) -> httpx.Headers:
    """The same for all calls with a key: the key is the user, and there is no password."""
    token = base64.b64encode(f"{key}:".encode()).decode()
    headers = {"Host": host, "Accept": "application/json", "Accept-Encoding": ENCODINGS, "Connection": "keep-alive"}
    return httpx.Headers(
        {
            **headers,
            "User-Agent": USER_AGENT,
            "Authorization": f"Basic {token}",
            **({"Content-Type": "application/json"} if has_body else {}),
        }
    )


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body, unpacked where it was packed."""
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx.AsyncByteStream):
        return response.aiter_bytes()
    return aiter(response.stream)


def _transport(kind: Transport, connections: int, proxy: str | None) -> httpx.AsyncBaseTransport:
    context = client_context()
    if kind == "aiohttp":
        return AiohttpTransport(verify=context, client=lambda: _aiohttp_session(connections, context, proxy))
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEP_ALIVE_SECONDS)
    return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False)


def _aiohttp_session(connections: int, context: ssl.SSLContext, proxy: str | None) -> aiohttp.ClientSession:
    """No cookies, no .netrc (the key is ours to send), no proxy but the one that was chosen."""
    connector = aiohttp.TCPConnector(limit=connections, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), proxy=proxy)
