"""Temporary URLs: originals served by this process while their images are under way.

What is served is an inode, not a path: every response holds a duplicate of the source's descriptor for its whole length,
made in the same step in which the source was found, and reads at explicit offsets. So a response in flight when its
ticket is withdrawn goes on to its end (as long as it moves), nothing new begins, and a descriptor number that is closed
and used again elsewhere can never lead to another file.

A source whose bytes moved after they were hashed is answered like an unknown URL. A change while the bytes travel cannot be
seen here; the SHA-1 in the API's answer tells.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from watcher.config.values import split_address
from watcher.errors import CANNOT_TELL, ConfigurationError, NotAnswering, Unavailable
from watcher.model import Event
from watcher.network.listening import listening_sockets, origin
from watcher.ports import Publication
from watcher.publish import sending
from watcher.publish.answers import Representation, ResponsePlan, answer, prefixes_of, shown_name, temporary_url, token_in
from watcher.publish.connections import Connections, Doorkeeper, connection_limit
from watcher.publish.denials import Denial, Denials, Report
from watcher.publish.listen_words import default_listen, listen_problem
from watcher.publish.probing import answers_ok
from watcher.publish.register import Published, Register, is_equal
from watcher.publish.tls import ServerCertificate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from watcher.config.publish_settings import ServeSettings
    from watcher.model import SourceFacts, Ticket
    from watcher.ports import Clock, EventLog, Source

KEY_HEADER: Final = "X-Watcher-Key"
"""The request header that carries a ticket's second secret."""

IDLE_SECONDS: Final = 30.0
"""So long may a connection stay without a whole request: idle, or sending one byte at a time."""
MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 64
HOUSEKEEPING_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
_BACKLOG: Final = 1024
_CLOSE_SECONDS: Final = 0.1

_COMMON_HEADERS: Final = {
    "Server": "compressor-watcher",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    # an SVG may hold scripts; opened in a browser they must not run under the name of this host
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


@dataclass(frozen=True, slots=True)
class _Look:
    """What an own descriptor leads to, whether the bytes are those that were hashed, and a small file's whole content."""

    status: os.stat_result
    intact: bool
    content: bytes | None


class TemporaryUrls:
    """The Publisher of `[publish] mode = "serve"`: `{public_url}/t/{token}/{name}`.

    404 for unknown, expired, withdrawn and changed alike, 405 for anything but GET and HEAD, 403 without the key where
    `require_header` asks for one. `{public_url}/t/` alone is 200 with an empty body, for the health checks of proxies. Nothing
    is written about a request but `image.fetched` (debug) and `serve.denied`, never a token.
    """

    def __init__(self, settings: ServeSettings, log: EventLog, clock: Clock) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._address = settings.listen or default_listen(settings.public_url)
        self._prefixes = prefixes_of(urlsplit(settings.public_url or "").path)
        self._register = Register(clock)
        self._denials = Denials()
        self._downloads: set[asyncio.Task[object]] = set()
        self._base: str | None = None
        self.local_url = ""
        """Where this process itself reaches the server (no path); empty before `start`."""
        self._certificate: ServerCertificate | None = None
        self.connections = Connections(connection_limit())
        """Who is connected, and how many may be."""
        self._server: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._housekeeping: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Listen; gives the public base URL (`public_url`, or the address itself where that is not set).

        Raises Unavailable where the address cannot be had, ConfigurationError where the certificate cannot be used.
        """
        settings = self._settings
        if settings.certificate is not None and settings.private_key is not None:
            self._certificate = ServerCertificate(settings.certificate, settings.private_key)
        self._server = web.Server(
            self._respond,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=1.0,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        host, port = await self._listen(self._server)
        self.local_url = origin(host, port, secure=self._certificate is not None)
        self._base = settings.public_url or self.local_url
        self._housekeeping = asyncio.create_task(self._keep_house())
        return self._base

    async def _listen(self, server: web.Server) -> tuple[str, int]:
        """Listen; gives the address that was got."""
        host, port = split_address(self._address)
        loop = asyncio.get_running_loop()
        try:
            sockets = await loop.run_in_executor(None, listening_sockets, host, port, _BACKLOG)
            for each in sockets:
                self._listeners.append(await loop.create_server(partial(self._doorkeeper, server), sock=each, backlog=_BACKLOG))
        except OSError as error:
            raise listen_problem(self._address, error) from None
        found = sockets[0].getsockname()
        return str(found[0]), int(found[1])

    def _doorkeeper(self, server: web.Server) -> Doorkeeper:
        return Doorkeeper(self.connections, server, self._tls)

    def _tls(self) -> ssl.SSLContext | None:
        return self._certificate.context if self._certificate else None

    async def stop(self, grace: float) -> None:
        """Stop listening, let responses under way end for up to `grace` seconds, close the rest. May be called twice."""
        for listener in self._listeners:
            listener.close()
        if self._downloads:
            await asyncio.wait(self._downloads, timeout=grace)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        if self._server is not None:
            await self._server.shutdown(_CLOSE_SECONDS)
        self._say(self._denials.rest())

    def alive(self) -> bool:
        """Whether it listens and its housekeeping runs; `probe` asks for real."""
        listening = bool(self._listeners) and all(each.is_serving() for each in self._listeners)
        return listening and self._housekeeping is not None and not self._housekeeping.done()

    async def probe(self) -> bool:
        """Whether a request to the own port is answered within 5 seconds. It leaves no log line, and no limit holds for it."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await answers_ok(f"{self.local_url}/t/", self.connections.own)
        except OSError as error:  # TimeoutError is one
            return _cannot_tell(error)

    @property
    def downloads(self) -> int:
        """How many downloads are under way."""
        return len(self._downloads)

    @property
    def tickets(self) -> int:
        """How many tickets are published, and not yet withdrawn or forgotten."""
        return len(self._register)

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
            self._register.forget_expired()
            self._say(self._denials.due(self._clock.monotonic()))

    # --- Publisher ----------------------------------------------------------------------------------------------------------

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """Serve the source under the ticket. Again with the same ticket: the same URL, and from then on the new source.

        Raises Unavailable before `start`, and where the original's file system has it no more.
        """
        if self._base is None:
            raise Unavailable("temporary URLs are not served yet", "this is a fault of the program: publish came before start")
        try:
            status = await source.run(partial(os.fstat, source.fileno()))
        except OSError as error:
            name = shown_name(source.facts.name)
            raise Unavailable(f"{name} cannot be published: {error.strerror}", "the file or its disk went away") from error
        await self._register.room_for(source.facts.size)
        self._register.add(ticket, source, (status.st_dev, status.st_ino))
        url = temporary_url(self._base, ticket.token, source.facts.name)
        return Publication(url, {KEY_HEADER: ticket.secret} if self._settings.require_header else {})

    async def withdraw(self, ticket: Ticket) -> None:
        """From now on the URL is unknown. The source may be closed at once: responses under way hold their own descriptor."""
        self._register.remove(ticket.token)

    def times_fetched(self, ticket: Ticket) -> int | None:
        """See Publisher."""
        published = self._register.find(ticket.token)
        return published.traffic.times if published is not None else None

    def refusals(self, ticket: Ticket) -> int:
        """See Publisher."""
        published = self._register.find(ticket.token)
        return published.traffic.turned_away if published is not None else 0

    def moved_at(self, ticket: Ticket) -> float | None:
        """See Publisher."""
        published = self._register.find(ticket.token)
        return published.traffic.moved_at(self._clock.monotonic()) if published is not None else None

    def moved_at_url(self, url: str) -> float | None:
        """The same for a URL that was given out."""
        token = token_in(urlsplit(url).path, self._prefixes)
        published = self._register.find(token) if token else None
        return published.traffic.moved_at(self._clock.monotonic()) if published is not None else None

    # --- requests -----------------------------------------------------------------------------------------------------------

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        self.connections.begin(transport)
        try:
            return await self._answer(request)
        finally:
            self.connections.end(transport)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        token = token_in(request.rel_url.raw_path, self._prefixes)
        if token == "" and request.method in ("GET", "HEAD", "OPTIONS"):
            return web.Response(headers=_COMMON_HEADERS)
        found = self._judge(request, token or "")
        if isinstance(found, Denial):
            return self._refuse(request, found)
        # No await between the judgement and the descriptor's duplicate: nobody can close or reuse the number in between.
        pinned = _pin(found)
        if isinstance(pinned, Denial):
            found.traffic.turned_away += pinned is Denial.BUSY
            return self._refuse(request, pinned)
        try:
            return await self._serve(request, found, pinned)
        except Exception:  # the boundary to the server: it is raised again
            found.traffic.turned_away += 1  # whatever it was, it was ours; the server's log tells of it
            raise
        finally:
            found.source.start(pinned.close)

    def _judge(self, request: web.BaseRequest, token: str) -> Published | Denial:
        if request.method not in ("GET", "HEAD"):
            return Denial.METHOD
        found = self._register.find(token)
        if found is None:
            return Denial.UNKNOWN
        if self._clock.monotonic() >= found.until:
            return Denial.EXPIRED
        if self._settings.require_header:
            return _without_key(request.headers.get(KEY_HEADER), found.ticket) or found
        return found

    def _refuse(self, request: web.BaseRequest, reason: Denial) -> web.Response:
        self._say(self._denials.note(reason, _shown_remote(request.remote), self._clock.monotonic()))
        response = web.Response(status=reason.status, headers=_COMMON_HEADERS)
        response.text = f"{response.reason}\n"
        if reason is Denial.METHOD:
            response.headers["Allow"] = "GET, HEAD"
        if reason.status == 503:
            response.headers["Retry-After"] = "5"
        return response

    def _say(self, reports: Iterable[Report]) -> None:
        for report in reports:
            self._log.event(
                Event.SERVE_DENIED, reason=str(report.reason), count=report.count, remote=report.remote, hint=report.reason.hint
            )

    async def _serve(self, request: web.BaseRequest, published: Published, file: io.FileIO) -> web.StreamResponse:
        look = await self._look(published, file)
        if isinstance(look, Denial):
            published.traffic.turned_away += look in (Denial.SHARE_HANGS, Denial.BUSY)
            return self._refuse(request, look)
        facts = published.source.facts
        changed = min(look.status.st_mtime, self._clock.now())  # a date to come must not be told (RFC 9110, 8.8.2.1)
        what = Representation(facts.sha1, facts.size, max(0, int(changed)))
        decided = answer(request.method, request.headers, what)
        headers = _headers(what, decided, facts.format.mime)
        if decided.status not in (200, 206):
            return web.Response(status=decided.status, headers=headers)
        response = web.StreamResponse(status=decided.status, headers=headers)
        response.content_length = decided.count
        if request.method == "GET" and decided.count:
            await self._download(request, response, published, file, decided, look.content)
        return response

    @staticmethod
    async def _look(published: Published, file: io.FileIO) -> _Look | Denial:
        """What lies behind the descriptor, in a thread that may wait for it; or why it is not served."""
        try:
            look = await published.source.run(partial(_look_at, published.source, file))
        except Unavailable:
            return Denial.SHARE_HANGS
        except (OSError, ValueError) as error:  # a stale handle, a disk that fails, a source that was closed meanwhile
            return Denial.BUSY if _cannot_tell(error) else Denial.CHANGED
        inode = (look.status.st_dev, look.status.st_ino)
        same = inode == published.inode and look.status.st_size == published.source.facts.size
        return look if look.intact and same else Denial.CHANGED

    async def _download(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        published: Published,
        file: io.FileIO,
        span: ResponsePlan,
        small: bytes | None,
    ) -> None:
        """Send the span. A client that went away or stalls ends it without a word; the connection is closed then."""
        started, traffic, sent = self._clock.monotonic(), published.traffic, 0
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._downloads.add(task)
        task.add_done_callback(self._downloads.discard)
        with sending.watched(request, self._clock) as download:
            traffic.downloads.add(download)
            try:
                await sending.send(request, response, published.source, file, span, self._register.note_sent, small)
                sent = span.count
            except (
                OSError,
                NotAnswering,
            ) as error:  # a client that is gone or was cut off, a file that shrank, a disk in trouble
                traffic.turned_away += isinstance(error, NotAnswering) or _cannot_tell(error)
                if request.transport is not None:
                    sending.cut_off(request.transport)
                return
            finally:
                traffic.ended(download, sent, self._clock.monotonic())
                self._register.download_ended()
        self._tell_fetched(published.source.facts, span, started, request.remote)

    def _tell_fetched(self, facts: SourceFacts, span: ResponsePlan, started: float, remote: str | None) -> None:
        self._log.event(
            Event.IMAGE_FETCHED,
            name=shown_name(facts.name),
            sha1=facts.sha1,
            bytes=span.count,
            seconds=round(self._clock.monotonic() - started, 6),
            remote=_shown_remote(remote),
        )


def _shown_remote(remote: str | None) -> str | None:
    """Who asked: an IPv4 client on a socket of both families is shown by its own address."""
    return remote.removeprefix("::ffff:") if remote is not None else None


def _without_key(given: str | None, ticket: Ticket) -> Denial | None:
    if given is None:
        return Denial.KEY_MISSING
    return None if is_equal(given, ticket.secret) else Denial.KEY_WRONG


def _pin(published: Published) -> io.FileIO | Denial:
    """An own descriptor of the source's bytes, or why there is none. Does not wait."""
    try:
        return io.FileIO(os.dup(published.source.fileno()))
    except ValueError:  # the source is closed
        return Denial.CHANGED
    except OSError as error:
        return Denial.CHANGED if error.errno == errno.EBADF else Denial.BUSY


def _cannot_tell(error: Exception) -> bool:
    """Whether an error says nothing of what was asked for: this process has no descriptor left to ask with."""
    return isinstance(error, OSError) and error.errno in CANNOT_TELL


def _look_at(source: Source, file: io.FileIO) -> _Look:
    """May wait for the disk."""
    size = source.facts.size
    content = os.pread(file.fileno(), size, 0) if size <= sending.SMALL_BYTES else None
    return _Look(os.fstat(file.fileno()), source.is_intact(), content)


def _headers(what: Representation, decided: ResponsePlan, mime: str) -> dict[str, str]:
    headers = {**_COMMON_HEADERS, "ETag": what.etag, "Last-Modified": what.last_modified, "Accept-Ranges": "bytes"}
    if decided.status in (200, 206):
        headers["Content-Type"] = mime
    if content_range := decided.content_range(what.size):
        headers["Content-Range"] = content_range
    return headers
