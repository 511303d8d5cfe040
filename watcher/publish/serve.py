"""Temporary URLs: originals served by this process while their images are under way."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from watcher.config.values import split_address
from watcher.errors import ConfigurationError, Unavailable
from watcher.model import Event
from watcher.network.listening import listening_sockets, origin
from watcher.ports import Publication
from watcher.publish.answers import prefixes_of, shown_name, temporary_url, token_in
from watcher.publish.connections import Connections, Doorkeeper
from watcher.publish.listen_words import default_listen, listen_problem
from watcher.publish.probing import answers_ok
from watcher.publish.register import Register
from watcher.publish.responder import KEY_HEADER, Responder, cannot_tell
from watcher.publish.tls import ServerCertificate

if TYPE_CHECKING:
    import ssl

    from watcher.config.publish_settings import ServeSettings
    from watcher.model import Ticket
    from watcher.ports import Clock, EventLog, Source

IDLE_SECONDS: Final = 30.0
"""So long may a connection stay without a whole request: idle, or sending one byte at a time."""
MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 64
HOUSEKEEPING_SECONDS: Final = 60.0
PROBE_SECONDS: Final = 5.0
_BACKLOG: Final = 1024
_CLOSE_SECONDS: Final = 0.1


class TemporaryUrls:
    """The Publisher of `[publish] mode = "serve"`: `{public_url}/t/{token}/{name}`.

    The server's life, and what is published on it; `responder` answers the requests.
    """

    def __init__(self, settings: ServeSettings, log: EventLog, clock: Clock) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._address = settings.listen or default_listen(settings.public_url)
        self._prefixes = prefixes_of(urlsplit(settings.public_url or "").path)
        self._register = Register(clock)
        self._responder = Responder(self._register, self._prefixes, log, clock, asks_for_key=settings.require_header)
        self._base: str | None = None
        self.local_url = ""
        """Where this process itself reaches the server (no path); empty before `start`."""
        self._certificate: ServerCertificate | None = None
        self._server: web.Server | None = None
        self._listeners: list[asyncio.Server] = []
        self._housekeeping: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Listen; gives the public base URL (`public_url`, or the address itself where that is not set).

        Raises Unavailable where the address is not available, ConfigurationError where the certificate cannot be used.
        """
        settings = self._settings
        if settings.certificate is not None and settings.private_key is not None:
            self._certificate = ServerCertificate(settings.certificate, settings.private_key)
        self._server = web.Server(
            self._responder.respond,
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
        if self._responder.downloads:
            await asyncio.wait(self._responder.downloads, timeout=grace)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait([self._housekeeping])
        if self._server is not None:
            await self._server.shutdown(_CLOSE_SECONDS)
        self._responder.report_rest()

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
            return cannot_tell(error)

    @property
    def connections(self) -> Connections:
        """Who is connected, and how many may be."""
        return self._responder.connections

    @property
    def downloads(self) -> int:
        """How many downloads are under way."""
        return len(self._responder.downloads)

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
            self._responder.report_due()

    # --- Publisher ----------------------------------------------------------------------------------------------------------

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """Serve the source under the ticket. Again with the same ticket: the same URL, and from then on the new source.

        Raises Unavailable before `start`, and where the original's file system has it no more.
        """
        if self._base is None:
            raise Unavailable("temporary URLs are not served yet", "this is a fault of the program: publish came before start")
        inode = await _inode(source) if source.held is None else None
        await self._register.room_for(source.facts.size)
        self._register.add(ticket, source, inode)
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


async def _inode(source: Source) -> tuple[int, int]:
    """What the source's descriptor leads to. Raises Unavailable."""
    try:
        status = await source.run(partial(os.fstat, source.fileno()))
    except OSError as error:
        name = shown_name(source.facts.name)
        raise Unavailable(f"{name} cannot be published: {error.strerror}", "the file or its disk went away") from error
    return (status.st_dev, status.st_ino)
