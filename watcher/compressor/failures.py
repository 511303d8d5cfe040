"""From what went wrong to a classified Failure: every exception of the transports and every HTTP status, in one place.

`unknown` is set where the answer is lost and the API may have done the work all the same; `maybe_done` where something answered
that may not know. The one costs a question to the store before anything is sent again, the other one if the store can be reached;
a wrong "no" would cost a second payment. What is our own reading, since the vendor's pages do not say:

- a 5xx that carries the API's own envelope (`success: false`) is an answer: the work was not done;
- any other 5xx, and 408, come from something in front of the API (502, 504) or from a crash half-way: maybe done. 503 alone says
  that the request was not taken;
- 403 means quota, as 402 does; a wrong key is 401;
- the words of a message are never judged, but for one thing: whether it says that the original could not be fetched. That is
  only a reason to look whether it was (`delivery.way`).

Messages are one line of at most 300 characters. They name no secret, no query, and of a URL no more than its host.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit

import aiohttp
import httpx

from watcher.compressor.source_words import speaks_of_fetching
from watcher.errors import CANNOT_TELL, NO_DESCRIPTOR
from watcher.model import Event, Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from watcher.compressor.wire import FetchRequest, Refused

MESSAGE_LIMIT: Final = 300
CHECK_URL: Final = "check compressor.url, this machine's network and its proxy settings"
CHECK_DNS: Final = "check compressor.url and this machine's name resolution (DNS)"
CHECK_TLS: Final = (
    "check this machine's clock and what inspects its TLS traffic; for a certificate authority of your own set SSL_CERT_FILE"
)
CHECK_KEY: Final = (
    "set a valid key (WATCHER_COMPRESSOR__API_KEY or the credential compressor_api_key); sending goes on by itself once it works"
)
CHECK_QUOTA: Final = "look at plan, quota and permissions in the Compressor dashboard; sending goes on by itself once it works"
WRONG_ADDRESS: Final = 'compressor.url may be wrong; the vendor\'s is "https://api.compressor.app/1.0"'
LOOK_AT_RULE: Final = (
    "the API refuses this request: fix what the message names (the file, the folder's `image` and `store`, the connector, "
    "how the API reaches public_url), then `compressor-watcher retry`"
)
_ABOUT_CONTENT: Final = (413, 415)
RAISE_TIMEOUT: Final = "if images need longer than that, raise compressor.timeout"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an exception means: the words for it and the class of its failure."""

    words: str
    hint: str = ""
    kind: FailureKind = FailureKind.TRANSIENT
    unknown: bool = False
    unreachable: bool = False


_LOST: Final = Trouble("the connection was lost before the answer was there", unknown=True)
_NOT_CONNECTED: Final = Trouble("the API cannot be reached", CHECK_URL, unreachable=True)
_CONNECT_TIMEOUT: Final = Trouble("connecting took too long", CHECK_URL)
_LATE: Final = Trouble("the answer took too long", RAISE_TIMEOUT, unknown=True)
_UNREADABLE: Final = Trouble("the answer cannot be read", unknown=True)
_PROXY: Final = Trouble("the proxy cannot be used", "check HTTPS_PROXY and NO_PROXY", unreachable=True)
_TLS: Final = Trouble("no TLS connection", CHECK_TLS, unreachable=True)
_DNS: Final = Trouble("the API's name cannot be resolved", CHECK_DNS, unreachable=True)
_BAD_ADDRESS: Final = Trouble("compressor.url cannot be used", WRONG_ADDRESS, kind=FailureKind.PERMANENT)
_NO_DESCRIPTOR: Final = Trouble("this process has no descriptor left for a connection", NO_DESCRIPTOR, unreachable=True)
_NO_CONNECTION_FREE: Final = Trouble("no connection became free in time")

EXCEPTIONS: Final[Mapping[type[BaseException], Trouble]] = {
    # httpx, whichever transport
    httpx.HTTPError: _LOST,
    httpx.ConnectError: _NOT_CONNECTED,
    httpx.ConnectTimeout: _CONNECT_TIMEOUT,
    httpx.PoolTimeout: _NO_CONNECTION_FREE,
    httpx.TimeoutException: _LATE,
    httpx.ProxyError: _PROXY,
    httpx.ProtocolError: _UNREADABLE,
    httpx.LocalProtocolError: Trouble("the request could not be put into HTTP", kind=FailureKind.PERMANENT),
    httpx.DecodingError: _UNREADABLE,
    httpx.UnsupportedProtocol: _BAD_ADDRESS,
    httpx.TooManyRedirects: _BAD_ADDRESS,
    httpx.InvalidURL: _BAD_ADDRESS,
    # aiohttp, behind httpx: its transport calls lost connections ConnectTimeout, so the cause is looked up and not the exception
    aiohttp.ClientError: _LOST,
    aiohttp.ClientConnectorError: _NOT_CONNECTED,
    aiohttp.ClientConnectorDNSError: _DNS,
    aiohttp.ClientSSLError: _TLS,
    aiohttp.ClientProxyConnectionError: _PROXY,
    aiohttp.ClientHttpProxyError: _PROXY,
    aiohttp.ServerTimeoutError: _LATE,
    aiohttp.ConnectionTimeoutError: _CONNECT_TIMEOUT,
    aiohttp.ServerFingerprintMismatch: _TLS,
    aiohttp.ClientResponseError: _UNREADABLE,
    aiohttp.InvalidURL: _BAD_ADDRESS,
    # what passes through both untranslated
    TimeoutError: _LATE,
    OSError: _LOST,
    # below a ConnectError
    socket.gaierror: _DNS,
    ssl.SSLError: _TLS,
}
"""The one table. An exception has the entry of its own type, else that of the nearest base."""

CAUGHT: Final = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError)
"""What a call can raise; OSError covers TimeoutError."""


def trouble_of(error: BaseException) -> Trouble:
    """The entry of the table for an exception. Where no connection came about, what is below says why (DNS, TLS)."""
    told = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    trouble = _entry(told)
    if trouble is _NOT_CONNECTED and any(isinstance(each, OSError) and each.errno in CANNOT_TELL for each in _causes(told)):
        return _NO_DESCRIPTOR
    if trouble is _NOT_CONNECTED:
        deeper = [_entry(cause) for cause in _causes(told)]
        return next((each for each in deeper if each in (_DNS, _TLS)), trouble)
    return trouble


def _entry(error: BaseException) -> Trouble:
    return next(EXCEPTIONS[base] for base in type(error).__mro__ if base in EXCEPTIONS or base is BaseException)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    below: BaseException | None = error
    while below is not None and id(below) not in seen:
        seen.add(id(below))
        if any(base in EXCEPTIONS for base in type(below).__mro__):
            yield below
        below = getattr(below, "os_error", None) or below.__cause__ or below.__context__


def failure_of_exception(error: BaseException, host: str, secrets: Iterable[str] = ()) -> Failure:
    """The failure that an exception of a call means. `host` is the one that was called."""
    trouble = trouble_of(error)
    detail = _system_words(error)
    message = f"{trouble.words} ({host}{': ' + detail if detail else ''})"
    return Failure(
        trouble.kind, one_line(message, secrets), trouble.hint, unknown=trouble.unknown, unreachable=trouble.unreachable
    )


def _system_words(error: BaseException) -> str:
    """What the system says, from the innermost cause that says something; never a library's own text, which may hold URLs."""
    words = [text for cause in _causes(error) if (text := _own_words(cause))]
    return words[-1] if words else ""


def _own_words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        # aiohttp's own subclasses lack these two; their cause has them
        words = getattr(error, "verify_message", None) or getattr(error, "reason", None) or ""
        return words if " " in words else words.replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return (error.strerror or "").lower()
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno).lower()
    return ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as far as its class of failure depends on it."""

    status: int
    refused: Refused | None = None
    """What its body says, where it is the API's own."""
    html: bool = False
    retry_after: float | None = None
    """Seconds."""
    about_job: bool = False


def failure_of_reply(reply: Reply, secrets: Iterable[str] = ()) -> Failure:
    """The failure that a reply means that is no result. A 2xx is judged by the `code` in its body."""
    status = reply.status
    if 200 <= status < 300:
        code = reply.refused.code if reply.refused is not None else None
        status = code if code is not None and 300 <= code < 600 else 422
    message = one_line(_reply_words(reply), secrets)
    not_fetched = reply.refused is not None and status not in _ABOUT_CONTENT and speaks_of_fetching(reply.refused.message)
    if reply.about_job and reply.refused is not None and reply.refused.job_failed:
        return Failure(FailureKind.PERMANENT, message, status=status, not_fetched=not_fetched)
    failure = _failure_of_status(status, reply, message)
    return replace(failure, not_fetched=not_fetched and failure.kind in (FailureKind.PERMANENT, FailureKind.TRANSIENT))


def _failure_of_status(status: int, reply: Reply, message: str) -> Failure:
    if status == 429 or (status in (503, 507) and reply.retry_after is not None):
        return Failure(FailureKind.THROTTLED, message, status=status, retry_after=reply.retry_after)
    if status == 401:
        return Failure(FailureKind.BLOCKED, message, CHECK_KEY, status=status, event=Event.API_UNAUTHORIZED)
    if status in (402, 403):
        return Failure(FailureKind.BLOCKED, message, CHECK_QUOTA, status=status, event=Event.API_QUOTA)
    if reply.about_job and status in (404, 410):
        return Failure(FailureKind.TRANSIENT, message, "the API does not know the job any more", status=status, unknown=True)
    if status == 408 or status >= 500:
        enveloped = reply.refused is not None and reply.refused.enveloped
        return Failure(FailureKind.TRANSIENT, message, status=status, maybe_done=status != 503 and not enveloped)
    hint = WRONG_ADDRESS if status < 400 or status in (404, 405) else LOOK_AT_RULE
    return Failure(FailureKind.PERMANENT, message, hint, status=status)


def _reply_words(reply: Reply) -> str:
    if reply.refused is not None:
        return f"the API answered {reply.status}: {reply.refused.message}"
    if reply.status < 400:
        return f"the API answered {reply.status}, which leads to another address"
    return f"the API answered {reply.status}" + (" with an HTML page" if reply.html else "")


def malformed(status: int, words: str) -> Failure:
    """A 2xx whose body is no answer: the work may be done."""
    return Failure(FailureKind.TRANSIENT, f"the API answered {status}, but {words}", status=status, unknown=True)


_URL: Final = re.compile(r"\b(https?)://([^\s/?#\"'<>]*)[^\s\"'<>]*", re.IGNORECASE)
_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SHORTEST_SECRET: Final = 8


def one_line(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` fit for a log: one line, at most 300 characters, without the secrets, and of each URL only its host."""
    text = _URL.sub(_host_only, text)
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    line = "".join(letter for letter in _UNPRINTABLE.sub(" ", text) if letter.isprintable()).strip()
    return line if len(line) <= MESSAGE_LIMIT else line[: MESSAGE_LIMIT - 1].rstrip() + "…"


def _host_only(match: re.Match[str]) -> str:
    return f"{match[1]}://{match[2].rpartition('@')[2]}/…"


def secrets_of_key(api_key: str) -> tuple[str, ...]:
    """The forms in which the API key could turn up in a text."""
    if not api_key:
        return ()
    return (api_key, quote(api_key, safe=""), base64.b64encode(f"{api_key}:".encode()).decode())


def secrets_of_request(request: FetchRequest) -> tuple[str, ...]:
    """The secrets in a request: parts of the temporary URL that open it, and the values of its headers."""
    parts = urlsplit(request.url)
    query = [value for pair in parts.query.split("&") for value in pair.split("=")]
    path = [segment for segment in parts.path.split("/")[:-1] if len(segment) >= 16]
    found = [request.url, *path, *query, *request.headers.values(), parts.password or ""]
    return tuple(form for secret in found for form in (secret, unquote(secret)) if secret)
