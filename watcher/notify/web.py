"""Receivers with a URL: a POST of each message, signed as Standard Webhooks has it, and the GET of a heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from watcher import __version__
from watcher.backoff import parse_retry_after
from watcher.network.certificates import client_context
from watcher.notify.sender import NotConfirmed
from watcher.notify.signing import signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from watcher.network.proxies import Proxies
    from watcher.notify.messages import Message
    from watcher.notify.plan import ReceiverPlan

ANSWER_SECONDS: Final = 15.0
"""For a whole call: name, connection, TLS, request and answer."""
KEEP_ALIVE_SECONDS: Final = 4.0
"""Shorter than servers keep a connection (5 s is usual), so that seldom one is used that the other side has just closed."""
_MOST_READ: Final = 65_536
_READ_SECONDS: Final = 2.0
_HINTS: Final = {
    401: "it refuses the signature or the token: compare `secret` here and there",
    403: "it refuses the signature or the token: compare `secret` here and there",
    404: "nothing is at this path: look at the URL",
    405: "it takes no POST at this path: look at the URL",
    410: "it is gone for good: take the receiver out of the configuration, or give it its new URL",
    413: "it takes no body of this size",
}
_CAUGHT: Final = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError)


class WebSender:
    """Sends to one URL. `now` gives Unix seconds. A connection that was lost before the answer is tried once more at once."""

    def __init__(self, plan: ReceiverPlan, proxies: Proxies, now: Callable[[], float]) -> None:
        self._plan = plan
        self._now = now
        context = client_context()
        proxy = proxies.for_url(plan.url)
        self._client = httpx.AsyncClient(
            transport=AiohttpTransport(verify=context, client=lambda: _session(context, proxy)),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None),  # the whole call is bounded where it is made
            headers={"User-Agent": f"compressor-watcher/{__version__}", "Accept": "*/*"},
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def send(self, message: Message) -> str:
        """See `Sender.send`: a POST, which any 2xx confirms. Signed anew each time, since receivers refuse what is old."""
        headers = signed_headers(message.id, message.body, self._plan.secret, self._now())
        return await self._call("POST", message.body, {"Content-Type": "application/json", **headers})

    async def beat(self) -> str:
        """The GET of a heartbeat, which any 2xx confirms. Raises NotConfirmed."""
        return await self._call("GET", None, {})

    async def _call(self, method: str, body: bytes | None, headers: dict[str, str]) -> str:
        host = self._plan.target
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                try:
                    status, retry_after = await self._exchange(method, body, headers)
                except _CAUGHT as error:
                    if not _was_lost(error):
                        raise
                    status, retry_after = await self._exchange(method, body, headers)
        except _CAUGHT as error:
            raise NotConfirmed(*_trouble(error, host)) from None
        if not 200 <= status < 300:
            raise NotConfirmed(_refusal(host, status), _hint(status), retry_after)
        return f"{host} answered {status}"

    async def _exchange(self, method: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, float | None]:
        async with self._client.stream(method, self._plan.url, content=body, headers=headers) as response:
            status = response.status_code
            if 200 <= status < 300:
                await _read_some(response)
            return status, parse_retry_after(response.headers.get("retry-after"), self._now())


async def _read_some(response: httpx.Response) -> None:
    """What an answer says does not matter; read to its end, its connection can be used again."""
    count = 0
    with contextlib.suppress(*_CAUGHT):
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in response.aiter_raw():
                count += len(chunk)
                if count > _MOST_READ:
                    return


def _session(context: ssl.SSLContext, proxy: str | None) -> aiohttp.ClientSession:
    """No cookies, no .netrc, no proxy but the one that was chosen."""
    connector = aiohttp.TCPConnector(limit=2, ssl=context, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), proxy=proxy)


# --- words ------------------------------------------------------------------------------------------------------------------


def _refusal(host: str, status: int) -> str:
    return f"{host} answered {status}" + (", which leads to another address" if 300 <= status < 400 else "")


def _hint(status: int) -> str:
    if 300 <= status < 400:
        return "set `url` to where it leads"
    return _HINTS.get(status, "")


def _was_lost(error: BaseException) -> bool:
    """Whether a connection that had been there is gone: the other side may have closed it while it rested."""
    signs = aiohttp.ServerDisconnectedError | ConnectionResetError | BrokenPipeError
    return any(isinstance(each, signs) for each in _causes(error))


def _trouble(error: BaseException, host: str) -> tuple[str, str]:
    """What an exception means, and what to do. Never a library's own text, which may hold the URL."""
    causes = list(_causes(error))
    if found := _no_way(causes, host):
        return found
    if _was_lost(error):
        return f"{host} closed the connection before it answered", ""
    if words := next(filter(None, map(_system_words, causes)), ""):
        return f"{host} cannot be reached: {words}", ""
    if any(isinstance(each, TimeoutError | httpx.TimeoutException) for each in causes):
        return f"{host} did not answer within {ANSWER_SECONDS:.0f} s", ""
    return f"{host} gave no answer that can be read", ""


def _no_way(causes: Sequence[BaseException], host: str) -> tuple[str, str] | None:
    """Where names, certificates or a proxy are in the way."""
    for each in causes:
        # aiohttp's own subclass lacks the words; its cause has them
        if isinstance(each, ssl.SSLCertVerificationError) and (words := getattr(each, "verify_message", "")):
            return f"the certificate of {host} is not trusted: {words}", "for an authority of your own set SSL_CERT_FILE"
    for each in causes:
        if isinstance(each, socket.gaierror):
            return f"the name of {host} cannot be resolved", "look at the URL, and at this machine's name resolution (DNS)"
        if isinstance(each, ssl.SSLError):
            return f"no TLS connection to {host}", "does it speak TLS at this port?"
        if isinstance(each, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return f"the proxy to {host} cannot be used", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    return None


def _system_words(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) and not isinstance(error, TimeoutError) else None
    return os.strerror(number).lower() if number is not None and number in errno.errorcode else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what is below it."""
    seen: set[int] = set()
    below: BaseException | None = error
    while below is not None and id(below) not in seen:
        seen.add(id(below))
        yield below
        below = getattr(below, "os_error", None) or below.__cause__ or below.__context__
