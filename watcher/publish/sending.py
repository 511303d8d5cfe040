"""Sends the bytes of an original to a client, without the loop ever waiting for the disk or the share they lie on.

Whatever touches the file runs in a thread of the file's folder: it reads a small file, or gives the kernel as much of a large one
as the socket takes (sendfile). A share that hangs keeps that thread; the loop and everybody else go on.

A client is cut off when it acknowledges nothing for STALL_SECONDS, however slow it is otherwise.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import struct
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.publish.traffic import Download

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from watcher.ports import Clock, Source
    from watcher.publish.answers import ResponsePlan

STALL_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 10.0
"""How often a download is looked at: whether it moves."""
QUICK_MILLISECONDS: Final = 5
_READ_BYTES: Final = 256 * 1024
_SLICE_BYTES: Final = 8 * 1024 * 1024
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSOCK})
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` in Linux's struct tcp_info."""


class Pinned:
    """A descriptor of one's own of an original. To make one touches the descriptor alone, never the disk or the share behind it.

    A file object would ask for the file's kind, and hang with its share.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._descriptor

    def close(self) -> None:
        """Give it back. May wait for the share."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


@contextmanager
def watched(request: web.BaseRequest, clock: Clock) -> Iterator[Download]:
    """A response under way. The connection is cut off when the other side stops taking bytes."""
    transport = request.transport
    download = Download(_acknowledgements(transport), clock.monotonic())
    loop, timers = asyncio.get_running_loop(), deque[asyncio.TimerHandle](maxlen=1)

    def look() -> None:
        now = clock.monotonic()
        if now - download.look(now) >= STALL_SECONDS and transport is not None:
            cut_off(transport)
        else:
            look_later()

    def look_later() -> None:
        timers.append(loop.call_later(min(LOOK_SECONDS, STALL_SECONDS), look))

    look_later()
    try:
        yield download
    finally:
        timers[0].cancel()


def cut_off(transport: asyncio.Transport) -> None:
    """End a connection at once, for every descriptor that leads to it."""
    with suppress(OSError):
        transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    transport.abort()


def _acknowledgements(transport: asyncio.Transport | None) -> Callable[[], int]:
    """Asks how many bytes the other side has confirmed on this connection."""
    connection: socket.socket | None = transport.get_extra_info("socket") if transport is not None else None

    def acknowledged() -> int:
        if connection is None:
            return -1
        try:
            information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
            return int(_ACKNOWLEDGED.unpack(information)[0])
        except (OSError, struct.error):  # closed meanwhile, or a kernel that does not tell
            return -1

    return acknowledged


async def send(
    request: web.BaseRequest,
    response: web.StreamResponse,
    source: Source,
    original: Pinned | bytes,
    span: ResponsePlan,
    note: Callable[[int], None],
) -> None:
    """Send the span, headers first; `note` hears of bytes given to the kernel.

    Raises ConnectionError for a client that went away or was cut off, and for a file that shrank: what was promised cannot be
    sent any more, and the client must not take what follows on the connection for the rest. Raises OSError where the file cannot
    be read, NotAnswering where its share hangs.
    """
    await response.prepare(request)
    if isinstance(original, bytes):
        await response.write_eof()  # they are part of the response
        note(span.count)
        return
    offset, end, transport = span.start, span.start + span.count, request.transport
    if transport is not None and _takes_bytes_itself(transport):
        offset = await _send_by_kernel(transport, source, original, (offset, end), note)
    while offset < end:
        chunk = await source.run(partial(os.pread, original.fileno(), min(_READ_BYTES, end - offset), offset))
        _expect(bool(chunk))
        await _write(response, chunk, note)
        offset += len(chunk)


async def _write(response: web.StreamResponse, chunk: bytes, note: Callable[[int], None]) -> None:
    await response.write(chunk)
    note(len(chunk))


def _expect(whole: bool) -> None:
    if not whole:
        raise ConnectionAbortedError("the file is shorter than it was")


def _takes_bytes_itself(transport: asyncio.Transport) -> bool:
    """Whether the socket may be written to beside the transport: no TLS, and nothing of the headers is left to send."""
    if transport.is_closing():
        raise ConnectionResetError("the client is gone")
    return transport.get_extra_info("ssl_object") is None and transport.get_write_buffer_size() == 0


async def _send_by_kernel(
    transport: asyncio.Transport,
    source: Source,
    file: Pinned,
    span: tuple[int, int],
    note: Callable[[int], None],
) -> int:
    """Sendfile from `span`'s start to its end; gives how far it came where the file system cannot do it."""
    offset, end = span
    connection = os.dup(transport.get_extra_info("socket").fileno())  # the loop watches the number of the transport itself
    try:
        while offset < end:
            sent = await source.run(partial(_sendfile, connection, file.fileno(), offset, min(_SLICE_BYTES, end - offset)))
            if sent is None:
                return offset
            offset += sent
            note(sent)
            if offset < end:
                await _writable(connection)
    finally:
        os.close(connection)
    return offset


def _sendfile(connection: int, file: int, offset: int, count: int) -> int | None:
    """Give the kernel what the socket takes now; the number of bytes, None where it has to be read and written."""
    start, ready = offset, select.poll()
    ready.register(connection, select.POLLOUT)
    while offset < start + count:
        try:
            sent = os.sendfile(connection, file, offset, start + count - offset)
        except BlockingIOError:
            if ready.poll(QUICK_MILLISECONDS):  # a quick client: cheaper than going back to the loop
                continue
            break
        except OSError as error:
            if error.errno in _NO_SENDFILE and offset == start:
                return None
            raise
        _expect(sent > 0)
        offset += sent
    return offset - start


async def _writable(connection: int) -> None:
    """Until the socket takes more, or is closed."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(connection, tell)
    try:
        await ready
    finally:
        loop.remove_writer(connection)
