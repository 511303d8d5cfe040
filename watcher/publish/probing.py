"""The server's own test of itself: one request over a connection of its own.

Its address is made known before it connects, so that the server can tell it from strangers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import MutableSet


async def answers_ok(url: str, own: MutableSet[Any]) -> bool:
    """Whether `url`, on this machine, is answered with 200. `own` holds the test's address meanwhile. Raises OSError."""
    parts = urlsplit(url)
    host = str(parts.hostname)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        connection.bind((host, 0))
        name = connection.getsockname()
        own.add(name)
        try:
            await asyncio.get_running_loop().sock_connect(connection, (host, parts.port))
            return await _ask(connection, parts.path, host, secure=parts.scheme == "https")
        finally:
            own.discard(name)


async def _ask(connection: socket.socket, path: str, host: str, *, secure: bool) -> bool:
    context = None
    if secure:
        # the own certificate names the public host, not the address that is asked here
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(sock=connection.dup(), ssl=context, server_hostname=host if secure else None)
    try:
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    finally:
        writer.transport.abort()
