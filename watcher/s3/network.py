"""TCP and TLS for the S3 client: like httpx's own, but it listens while it sends.

A store that refuses a large upload answers before it has read it, and hangs up or reads no further. httpx reads nothing while
it sends, so all that it sees is a broken connection: the reason is lost, and the whole file is sent again. Here an answer that
comes early ends the sending, and is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import aiohappyeyeballs
import httpcore
import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENOUGH_BYTES: Final = 256 * 1024
"""What may wait to be read before the other side is held up."""
_NEXT_ADDRESS_SECONDS: Final = 0.25
"""So long the first address of a name may take before the next is tried beside it."""


class _Connection(asyncio.Protocol):
    """Keeps what came in, and wakes who waits for it or for room to send."""

    def __init__(self) -> None:
        self.received: deque[bytes] = deque()
        self.ended = False
        self.error: Exception | None = None
        self.changed = asyncio.Event()
        self._full = False
        self._transport: asyncio.Transport | None = None

    @property
    def may_send(self) -> bool:
        """Whether the kernel takes more."""
        return not self._full

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        if sum(map(len, self.received)) > _ENOUGH_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self.changed.set()

    def take(self, count: int) -> bytes:
        """Up to `count` bytes of what came in."""
        chunk = self.received.popleft()
        if len(chunk) > count:
            self.received.appendleft(chunk[count:])
        if not self.received and self._transport is not None:
            self._transport.resume_reading()
        return chunk[:count]

    def eof_received(self) -> None:
        self.ended = True
        self.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended, self.error = True, error
        self.changed.set()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self.changed.set()


class _Stream(httpcore.AsyncNetworkStream):
    """A connection as httpcore uses it."""

    def __init__(self, transport: asyncio.Transport, connection: _Connection) -> None:
        self._transport = transport
        self._connection = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        connection = self._connection
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                while not connection.received and not connection.ended:
                    await self._change()
        if connection.received:
            return connection.take(max_bytes)
        if connection.error is not None:
            raise httpcore.ReadError(str(connection.error))
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        """Send. Raises WriteError, which makes httpcore read the answer, where one has come already."""
        connection = self._connection
        if not buffer:
            return
        with _translated(httpcore.WriteTimeout, httpcore.WriteError):
            self._transport.write(buffer)
            async with asyncio.timeout(timeout):
                while not connection.may_send and not connection.ended and not connection.received:
                    await self._change()
        if connection.ended or connection.received:
            raise httpcore.WriteError("the other side answered or hung up before everything was sent")

    async def _change(self) -> None:
        self._connection.changed.clear()
        await self._connection.changed.wait()

    async def aclose(self) -> None:
        self._transport.abort() if self._transport.is_closing() else self._transport.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        connection, loop = _Connection(), asyncio.get_running_loop()
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(self._transport, connection, ssl_context, server_hostname=server_hostname)
        if secured is None:
            raise httpcore.ConnectError("the other side hung up")
        connection.connection_made(secured)
        return _Stream(secured, connection)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # of a connection that rests: it was closed, or says what nobody asked
            return self._connection.ended or bool(self._connection.received)
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,  # noqa: ARG002 - as above
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.AsyncNetworkStream:
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                # not asyncio's own way to race addresses: it leaves a socket open where its caller is cancelled in the moment
                # in which it has connected
                loop = asyncio.get_running_loop()
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                connected = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
                transport, connection = await loop.create_connection(_Connection, sock=connected)
        return _Stream(transport, connection)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@contextlib.contextmanager
def _translated(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """httpcore's errors for asyncio's."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(words_of(error)) from error


def words_of(error: OSError) -> str:
    """What happened, without numbers and addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if error.errno and error.errno > 0 and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


class ListeningTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over connections that listen while they send."""

    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits, proxy: str | None) -> None:
        super().__init__(verify=context, limits=limits, proxy=proxy, trust_env=False)
        self._pool._network_backend = _Backend()  # noqa: SLF001 - httpx takes no other backend, httpcore does
