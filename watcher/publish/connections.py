"""Who may be connected: a limit for all, one for each peer, and idle connections make room for new ones.

Everything is counted from the moment of `accept`, so a client that never begins TLS takes up room like any other. The server's
own test of itself is known by its address and never refused: strangers cannot make it look dead.
"""

from __future__ import annotations

import asyncio
import resource
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from aiohttp import web

MOST_CONNECTIONS: Final = 1024
"""More are not kept, so that a flood leaves descriptors for the files."""
PEER_SHARE: Final = 2
"""One address may have at most the limit divided by this; a proxy in front of us is one address."""
HANDSHAKE_SECONDS: Final = 10.0


def connection_limit() -> int:
    """How many connections this process can afford: half of its descriptors at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(MOST_CONNECTIONS, soft // 2))


class Connections:
    """The connections of one server, oldest first. `own` are the addresses of the server's own tests."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.own: set[Any] = set()
        self._peers: dict[asyncio.Transport, str] = {}
        self._busy: set[asyncio.Transport] = set()
        self._below: weakref.WeakKeyDictionary[asyncio.Transport, asyncio.Transport] = weakref.WeakKeyDictionary()

    def secured(self, upper: asyncio.Transport, lower: asyncio.Transport) -> None:
        """`upper` is TLS over the connection `lower`."""
        self._below[upper] = lower

    def admit(self, transport: asyncio.Transport) -> bool:
        """Whether a new connection may stay. An idle one is closed for it where there are too many."""
        name = transport.get_extra_info("peername")
        if name is None or name in self.own:
            return name is not None
        self._forget_closed()
        peer = str(name[0])
        of_peer = [each for each, other in self._peers.items() if other == peer]
        if len(of_peer) >= max(1, self.limit // PEER_SHARE) and not self._close_idle(of_peer):
            return False
        if len(self._peers) >= self.limit and not self._close_idle(self._peers):
            return False
        self._peers[transport] = peer
        return True

    def begin(self, transport: asyncio.Transport | None) -> None:
        """A request is being answered on it: it is not idle."""
        if transport is not None:
            self._busy.add(self._below.get(transport, transport))

    def end(self, transport: asyncio.Transport | None) -> None:
        """The request is answered. What was used last is closed last."""
        if transport is None:
            return
        raw = self._below.get(transport, transport)
        self._busy.discard(raw)
        if (peer := self._peers.pop(raw, None)) is not None:
            self._peers[raw] = peer

    def __len__(self) -> int:
        self._forget_closed()
        return len(self._peers)

    def _forget_closed(self) -> None:
        self._peers = {transport: peer for transport, peer in self._peers.items() if not transport.is_closing()}

    def _close_idle(self, among: Iterable[asyncio.Transport]) -> bool:
        oldest = next((each for each in among if each not in self._busy), None)
        if oldest is None:
            return False
        self._peers.pop(oldest, None)
        oldest.abort()
        return True


class Doorkeeper(asyncio.Protocol):
    """The first protocol of each connection: lets it in or not, and hands it over to the HTTP server, behind TLS if wanted."""

    def __init__(self, connections: Connections, server: web.Server, context: Callable[[], ssl.SSLContext | None]) -> None:
        self._connections = connections
        self._server = server
        self._context = context
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decide at once; nothing is read before."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP server
        if not self._connections.admit(transport):
            transport.abort()
            return
        context = self._context()
        if context is None:
            handler = self._server()
            transport.set_protocol(handler)
            handler.connection_made(transport)
            return
        transport.pause_reading()
        self._handshake = asyncio.get_running_loop().create_task(self._secure(transport, context))

    async def _secure(self, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        handler, loop = self._server(), asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(transport, handler, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        except (OSError, asyncio.CancelledError):  # no TLS, too late, or gone
            transport.abort()
            return
        if secured is not None:
            self._connections.secured(secured, transport)
            handler.connection_made(secured)
