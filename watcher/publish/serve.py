"""Temporary URLs: originals served by this process while their images are under way.

What is served is an inode, not a path: every response holds a duplicate of the source's descriptor for its whole length,
made in the same step in which the source was found unchanged, and reads at explicit offsets. So a response in flight when its
ticket is withdrawn goes on to its end (bounded by the stall limit), nothing new begins, and a descriptor number that is closed
and used again elsewhere can never lead to another file.

A source whose bytes moved after they were hashed is answered like an unknown URL. A change while the bytes travel cannot be
seen here; the SHA-1 in the API's answer tells.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import hmac
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from watcher.config.schema import split_address
from watcher.errors import ConfigurationError, Unavailable
from watcher.model import Event
from watcher.ports import Publication
from watcher.publish.answers import Answer, Representation, answer, prefixes_of, shown_name, temporary_url, token_in
from watcher.publish.denials import Denials, Refusal, Report
from watcher.publish.tls import ServerCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from watcher.config.schema import ServeSettings
    from watcher.model import SourceFacts, Ticket
    from watcher.ports import Clock, EventLog, Source

KEY_HEADER: Final = "X-Watcher-Key"
"""The request header that carries a ticket's second secret."""

SLICE_BYTES: Final = 4 * 1024 * 1024
STALL_SECONDS: Final = 120.0
"""A client that takes longer than this for one slice (35 KB/s) is cut off."""
IDLE_SECONDS: Final = 30.0
"""So long may a connection stay without a whole request: idle, or sending one byte at a time."""
HANDSHAKE_SECONDS: Final = 10.0
MAX_CONNECTIONS: Final = 1024
"""More are closed at once, so that a flood leaves descriptors for the files."""
MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 64
HOUSEKEEPING_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 0.1
_READ_BYTES: Final = 256 * 1024
SMALL_BYTES: Final = 256 * 1024
"""So little is read and written in one go: it was read a moment ago to be hashed, and setting up sendfile costs more."""
_DEFAULT_PORT: Final = 8080

_COMMON_HEADERS: Final = {
    "Server": "compressor-watcher",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    # an SVG may hold scripts; opened in a browser they must not run under the name of this host
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - how the wildcard is recognised


@dataclass(frozen=True, slots=True)
class _Published:
    """A source under a ticket; `inode` is what its descriptor led to when it was published."""

    ticket: Ticket
    source: Source
    inode: tuple[int, int]


class _Server(web.Server):
    """aiohttp's server with a limit on connections."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()


class TemporaryUrls:
    """The Publisher of `[publish] mode = "serve"`: `{public_url}/t/{token}/{name}`.

    404 for unknown, expired, withdrawn and changed alike, 405 for anything but GET and HEAD, 403 without the key where
    `require_header` asks for one. Nothing is written about a request but `image.fetched` (debug) and `serve.denied`, never
    a token.
    """

    def __init__(self, settings: ServeSettings, log: EventLog, clock: Clock) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._address = settings.listen or default_listen(settings.public_url)
        self._prefixes = prefixes_of(urlsplit(settings.public_url or "").path)
        self._published: dict[bytes, _Published] = {}
        self._denials = Denials()
        self._responses: set[asyncio.Task[object]] = set()
        self._base: str | None = None
        self._probe_url = ""
        self._certificate: ServerCertificate | None = None
        self._server: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._housekeeping: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Listen; gives the public base URL (`public_url`, or the address itself where that is not set).

        Raises Unavailable where the address cannot be had, ConfigurationError where the certificate cannot be used.
        """
        settings = self._settings
        if settings.certificate is not None and settings.private_key is not None:
            self._certificate = ServerCertificate(settings.certificate, settings.private_key)
        self._server = _Server(
            self._respond,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=1.0,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        self._listener = await self._listen(self._server)
        host, port = self._listener.sockets[0].getsockname()[:2]
        origin = _origin(host, port, secure=self._certificate is not None)
        self._probe_url = f"{origin}/t/"
        self._base = settings.public_url or origin
        self._housekeeping = asyncio.create_task(self._keep_house())
        return self._base

    async def _listen(self, server: _Server) -> asyncio.Server:
        host, port = split_address(self._address)
        secure = self._certificate is not None
        try:
            return await asyncio.get_running_loop().create_server(
                server,
                host,
                port,
                backlog=MAX_CONNECTIONS,
                ssl=self._certificate.context if self._certificate else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if secure else None,
            )
        except OSError as error:
            raise listen_problem(self._address, error) from None

    async def stop(self, grace: float) -> None:
        """Stop listening, let responses under way end for up to `grace` seconds, close the rest. May be called twice."""
        if self._listener is not None:
            self._listener.close()
        if self._responses:
            await asyncio.wait(self._responses, timeout=grace)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        if self._server is not None:
            await self._server.shutdown(_CLOSE_SECONDS)
        self._say(self._denials.rest())

    def alive(self) -> bool:
        """Whether it listens and its housekeeping runs; `probe` asks for real."""
        return (
            self._listener is not None
            and self._listener.is_serving()
            and self._housekeeping is not None
            and not self._housekeeping.done()
        )

    async def probe(self) -> bool:
        """Whether a request to the own port is answered within 5 seconds, whatever the answer. It leaves no log line."""
        timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                # the own certificate names the public host, not the address that is asked here
                session.get(self._probe_url, ssl=False) as response,
            ):
                return response.status == Refusal.UNKNOWN.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def reload(self) -> None:
        """Take a changed certificate into use. One that cannot be used is said once, and the old one stays in force."""
        certificate = self._certificate
        if certificate is None or not certificate.changed():
            return
        try:
            certificate.load()
        except ConfigurationError as error:
            self._log.event(Event.CONFIG_REJECTED, problems=list(error.problems))
        else:
            self._log.event(Event.CONFIG_RELOADED, certificate=str(certificate.certificate))

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(HOUSEKEEPING_SECONDS)
            self.reload()
            self._forget_expired()
            self._say(self._denials.due(self._clock.monotonic()))

    def _forget_expired(self) -> None:
        now = self._clock.now()
        self._published = {key: each for key, each in self._published.items() if now < each.ticket.expires_at}

    # --- Publisher ----------------------------------------------------------------------------------------------------------

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """Serve the source under the ticket. Again with the same ticket: the same URL, and from then on the new source.

        Raises Unavailable before `start`.
        """
        if self._base is None:
            raise Unavailable("temporary URLs are not served yet", "this is a fault of the program: publish came before start")
        status = os.fstat(source.fileno())
        self._published[_digest(ticket.token)] = _Published(ticket, source, (status.st_dev, status.st_ino))
        url = temporary_url(self._base, ticket.token, source.facts.name)
        return Publication(url, {KEY_HEADER: ticket.secret} if self._settings.require_header else {})

    async def withdraw(self, ticket: Ticket) -> None:
        """From now on the URL is unknown. The source may be closed at once: responses under way hold their own descriptor."""
        self._published.pop(_digest(ticket.token), None)

    # --- requests -----------------------------------------------------------------------------------------------------------

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._judge(request)
        if isinstance(found, Refusal):
            return self._refuse(request, found)
        # No await between the judgement and the descriptor's duplicate: nobody can close or reuse the number in between.
        pinned = _pin(found)
        if isinstance(pinned, Refusal):
            return self._refuse(request, pinned)
        with pinned:
            return await self._serve(request, found, pinned)

    def _judge(self, request: web.BaseRequest) -> _Published | Refusal:
        if request.method not in ("GET", "HEAD"):
            return Refusal.METHOD
        token = token_in(request.rel_url.raw_path, self._prefixes) or ""
        found = self._published.get(_digest(token))
        if found is None or not _equal(found.ticket.token, token):
            return Refusal.UNKNOWN
        if self._clock.now() >= found.ticket.expires_at:
            return Refusal.EXPIRED
        if self._settings.require_header:
            return _without_key(request.headers.get(KEY_HEADER), found.ticket) or found
        return found

    def _refuse(self, request: web.BaseRequest, reason: Refusal) -> web.Response:
        if request.rel_url.raw_path != "/t/":  # that is our own probe, which is no event
            self._say(self._denials.note(reason, request.remote, self._clock.monotonic()))
        response = web.Response(status=reason.status, headers=_COMMON_HEADERS)
        response.text = f"{response.reason}\n"
        if reason is Refusal.METHOD:
            response.headers["Allow"] = "GET, HEAD"
        if reason is Refusal.BUSY:
            response.headers["Retry-After"] = "5"
        return response

    def _say(self, reports: Iterable[Report]) -> None:
        for report in reports:
            self._log.event(
                Event.SERVE_DENIED, reason=str(report.reason), count=report.count, remote=report.remote, hint=report.reason.hint
            )

    async def _serve(self, request: web.BaseRequest, published: _Published, file: io.FileIO) -> web.StreamResponse:
        facts = published.source.facts
        changed = min(os.fstat(file.fileno()).st_mtime, self._clock.now())  # a date to come must not be told (RFC 9110, 8.8.2.1)
        what = Representation(facts.sha1, facts.size, max(0, int(changed)))
        decided = answer(request.method, request.headers, what)
        headers = _headers(what, decided, facts.format.mime)
        if decided.status not in (200, 206):
            return web.Response(status=decided.status, headers=headers)
        response = web.StreamResponse(status=decided.status, headers=headers)
        response.content_length = decided.count
        if request.method == "GET" and decided.count:
            await self._download(request, response, file, decided, facts)
        return response

    async def _download(
        self, request: web.BaseRequest, response: web.StreamResponse, file: io.FileIO, span: Answer, facts: SourceFacts
    ) -> None:
        """Send the span. A client that went away or stalls ends it without a word; the connection is closed then."""
        started = self._clock.monotonic()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._responses.add(task)
        task.add_done_callback(self._responses.discard)
        try:
            await response.prepare(request)
            await _send(request, response, file, span)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
            return
        seconds = round(self._clock.monotonic() - started, 6)
        self._log.event(
            Event.IMAGE_FETCHED,
            name=shown_name(facts.name),
            sha1=facts.sha1,
            bytes=span.count,
            seconds=seconds,
            remote=request.remote,
        )


def default_listen(public_url: str | None) -> str:
    """Where to listen if the configuration does not say: for others on port 8080, for this machine alone on any free port."""
    return "127.0.0.1:0" if public_url is None else f"0.0.0.0:{_DEFAULT_PORT}"


def listen_problem(address: str, error: OSError) -> Unavailable:
    """Why an address cannot be listened on, in the operator's words."""
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"cannot listen on {address}: another program has this port",
            f"find it with `ss -ltnp 'sport = :{address.rpartition(':')[2]}'`, or set [publish.serve] listen to a free port",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Unavailable(
            f"cannot listen on {address}: not allowed",
            "ports below 1024 need a right: set [publish.serve] listen to a higher one, with a reverse proxy in front",
        )
    return Unavailable(
        f"cannot listen on {address}: {error.strerror or error}",
        "[publish.serve] listen must name an address of this machine; 0.0.0.0 means all of them",
    )


def _origin(host: str, port: int, *, secure: bool) -> str:
    """The URL of the own port, as seen from this machine."""
    host = _WILDCARDS.get(host, host)
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _digest(token: str) -> bytes:
    """What a token is looked up by: the time a look-up takes says nothing about the tokens that exist."""
    return hashlib.sha256(_bytes(token)).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _without_key(given: str | None, ticket: Ticket) -> Refusal | None:
    if given is None:
        return Refusal.KEY_MISSING
    return None if _equal(given, ticket.secret) else Refusal.KEY_WRONG


def _pin(published: _Published) -> io.FileIO | Refusal:
    """An own descriptor of the source's bytes, or why there is none. Does not wait."""
    try:
        if not published.source.is_intact():
            return Refusal.CHANGED
        descriptor = os.dup(published.source.fileno())
    except ValueError:  # the source is closed
        return Refusal.CHANGED
    except OSError as error:
        return Refusal.CHANGED if error.errno in (errno.EBADF, errno.ESTALE, errno.EIO) else Refusal.BUSY
    file = io.FileIO(descriptor)
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) == published.inode and status.st_size == published.source.facts.size:
        return file
    file.close()
    return Refusal.CHANGED


def _headers(what: Representation, decided: Answer, mime: str) -> dict[str, str]:
    headers = {**_COMMON_HEADERS, "ETag": what.etag, "Last-Modified": what.last_modified, "Accept-Ranges": "bytes"}
    if decided.status in (200, 206):
        headers["Content-Type"] = mime
    if content_range := decided.content_range(what.size):
        headers["Content-Range"] = content_range
    return headers


async def _send(request: web.BaseRequest, response: web.StreamResponse, file: io.FileIO, span: Answer) -> None:
    """Send the bytes, slice by slice, each within STALL_SECONDS.

    Raises TimeoutError for a client that stalls, ConnectionError for one that went away, and for a file that shrank: what was
    promised cannot be sent any more, and the client must not take what follows on the connection for the rest.
    """
    offset, end = span.start, span.start + span.count
    while offset < end:
        async with asyncio.timeout(STALL_SECONDS):
            sent = await _send_slice(request, response, file, offset, min(SLICE_BYTES, end - offset))
        if not sent:
            raise ConnectionAbortedError("the file is shorter than it was")
        offset += sent


async def _send_slice(request: web.BaseRequest, response: web.StreamResponse, file: io.FileIO, offset: int, count: int) -> int:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    if count <= SMALL_BYTES:
        chunk = os.pread(file.fileno(), count, offset)
        await response.write(chunk)
        return len(chunk)
    if transport.get_extra_info("ssl_object") is None:
        try:
            return await asyncio.get_running_loop().sendfile(transport, file, offset, count, fallback=False)
        except asyncio.SendfileNotAvailableError:
            pass  # some file systems cannot; asyncio's own fallback would move the offset that duplicates share
    # If this is cancelled, the thread may still read, even from a number used again; what it reads then goes nowhere.
    chunk = await asyncio.to_thread(os.pread, file.fileno(), min(count, _READ_BYTES), offset)
    await response.write(chunk)
    return len(chunk)
