"""Backblaze B2's ways, in front of a real S3 store. A proxy on loopback: what it does not answer itself it passes on unchanged.

    async with b2_quirks(s3) as b2:            # b2.endpoint is what a client is given instead of s3.endpoint
    with b2_quirks_aside(s3) as b2:            # the same in a thread of its own, for tests without a loop
        b2.bucket_acl = "private"              # a PUT whose x-amz-acl differs is refused (default "public-read")
        b2.region = "eu-central-003"           # a signature for another region: "key is not valid" (default: any region)
        b2.capabilities.discard("writeFiles")  # of the application key: readFiles, writeFiles, deleteFiles, listFiles
        b2.faults.extend([Fault.SLOW_DOWN])    # each one is used up by the next PUT, before anything is stored
        b2.requests                            # every request: method, path, query, headers, and its connection's number

What B2 does, and this imitates: unknown `x-amz-*` headers are refused, an expired link says UnauthorizedAccess. That buckets
keep every version comes from the store itself (`s3.new_bucket(versioned=True)`). Sources: Backblaze's documentation of its
S3-compatible API, and dated reports of its answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.s3 import S3Server

KNOWN_HEADERS = frozenset(
    {"x-amz-acl", "x-amz-date", "x-amz-content-sha256", "x-amz-expected-bucket-owner", "x-amz-security-token"}
)
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})
_CAPABILITY = {"PUT": "writeFiles", "GET": "readFiles", "HEAD": "readFiles", "DELETE": "deleteFiles"}


class Fault(Enum):
    """What may befall an upload: status, code and message of the answer; RESET closes the connection without one."""

    SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
    NO_TOMES = (503, "ServiceUnavailable", "no tomes available")
    INTERNAL = (500, "InternalError", "An internal error occurred.  Please retry your upload.")
    TIMEOUT = (408, "RequestTimeout", "Your socket connection to the server was not read from in time.")
    CAP = (403, "AccessDenied", "Cannot upload files, storage cap exceeded.")
    RESET = (0, "", "")


@dataclass(frozen=True)
class Seen:
    """A request that came in. `connection` tells requests on one TCP connection from those on another."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    connection: int


@dataclass
class B2Quirks:
    """The proxy and its switches."""

    store: S3Server
    endpoint: str = ""
    bucket_acl: str = "public-read"
    region: str | None = None
    capabilities: set[str] = field(default_factory=lambda: {"readFiles", "writeFiles", "deleteFiles", "listFiles"})
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[Seen] = field(default_factory=list)
    _connections: dict[int, int] = field(default_factory=dict)
    _transports: list[object] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Refuse as B2 would, or pass on."""
        path = unquote(request.raw_path.partition("?")[0])
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Seen(request.method, path, request.query_string, headers, self._connection(request)))
        body = await request.content.read()  # request.read() takes a megabyte at most
        if refusal := self._refusal(request, headers):
            return refusal
        if request.method == "PUT" and path.count("/") > 1 and self.faults:
            return _failed(self.faults.popleft(), request)
        return await self.pass_on(request, body)

    def _refusal(self, request: web.BaseRequest, headers: dict[str, str]) -> web.Response | None:
        for name in headers:
            if name.startswith("x-amz-") and name not in KNOWN_HEADERS and not name.startswith("x-amz-meta-"):
                return error(400, "InvalidArgument", f"Unsupported header '{name}' received for this API call.")
        acl = headers.get("x-amz-acl")
        if request.method == "PUT" and acl is not None and acl != self.bucket_acl:
            return error(400, "InvalidArgument", f"Unsupported value for canned acl '{acl}'")
        signed = headers.get("authorization", "") + unquote(request.query_string)
        if self.region is not None and "AWS4-HMAC" in signed and f"/{self.region}/s3/aws4_request" not in signed:
            return error(403, "InvalidAccessKeyId", f"The key '{self.store.key_id}' is not valid")
        if (needed := self._needed(request)) not in self.capabilities:
            return error(403, "AccessDenied", f"not entitled ({needed})" if request.method != "HEAD" else "")
        return None

    def _needed(self, request: web.BaseRequest) -> str:
        if request.method == "GET" and request.path.count("/") == 1:
            return "listFiles"
        if request.method == "DELETE" and "versionId" not in request.query:
            return "writeFiles"
        return _CAPABILITY.get(request.method, "writeFiles")

    def _connection(self, request: web.BaseRequest) -> int:
        transport = request.transport
        if id(transport) not in self._connections:
            self._transports.append(transport)
            self._connections[id(transport)] = len(self._transports)
        return self._connections[id(transport)]

    async def pass_on(self, request: web.BaseRequest, body: bytes) -> web.Response:
        url = URL(self.store.endpoint + request.raw_path, encoded=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        async with (
            aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["User-Agent", "Accept", "Content-Type"]) as session,
            session.request(
                request.method, url, headers=headers, data=BytesIO(body) if body else None, allow_redirects=False
            ) as response,
        ):
            content = await response.read()
            dropped = _HOP_BY_HOP - {"content-length"} if request.method == "HEAD" else _HOP_BY_HOP
            kept = [(name, value) for name, value in response.headers.items() if name.lower() not in dropped]
            if response.status == 403 and b"Request has expired" in content:
                return error(401, "UnauthorizedAccess", "Request has expired given timestamp and expiration")
            return web.Response(status=response.status, body=None if request.method == "HEAD" else content, headers=kept)


def error(status: int, code: str, message: str) -> web.Response:
    """An S3 error document."""
    text = (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    )
    return web.Response(status=status, text=text, content_type="application/xml")


def _failed(fault: Fault, request: web.BaseRequest) -> web.Response:
    status, code, message = fault.value
    if fault is Fault.RESET and request.transport is not None:
        request.transport.abort()
        return web.Response()
    response = error(status, code, message)
    if fault is Fault.SLOW_DOWN:
        response.headers["Retry-After"] = "1"
    return response


@asynccontextmanager
async def b2_quirks(store: S3Server) -> AsyncIterator[B2Quirks]:
    """The proxy, on a free port, while the context lasts."""
    quirks = B2Quirks(store)
    runner = web.ServerRunner(web.Server(quirks.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    quirks.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield quirks
    finally:
        await runner.cleanup()


@contextmanager
def b2_quirks_aside(store: S3Server) -> Iterator[B2Quirks]:
    """The proxy in a thread with a loop of its own, while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, loop).result(30)

    context = b2_quirks(store)
    try:
        yield call(context.__aenter__())
    finally:
        call(context.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
