"""Getting the source: one GET, streamed into a file while it is hashed, never to an address that is not permitted.

A host is resolved here, every address it has is judged, and the connection goes to exactly the addresses that were judged,
so that a name cannot change its meaning in between (DNS rebinding). Redirects are followed by hand and judged anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from watcher.config.units import human_duration, human_size
from watcher.engine.refusal import Refusal, disk_trouble, unprocessable
from watcher.errors import CANNOT_TELL

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from watcher.engine.addresses import AddressPolicy

USER_AGENT: Final = "Compressor/1.0 (+https://compressor.app)"
MAX_REDIRECTS: Final = 5
MAX_NAME: Final = 200
_CHUNK: Final = 256 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_UNFIT_FOR_NAMES: Final = re.compile(r"[\x00-\x1f\x7f/\\]")


class _Forbidden(OSError):
    """The host is, or resolves to, an address that the engine does not connect to."""


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """What was fetched: its name, its bytes' number and SHA-1 (hexadecimal)."""

    name: str
    size: int
    sha1: str


class JudgedResolver(AbstractResolver):
    """Resolves names and lets through only what the policy permits. One forbidden address forbids the host."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The judged addresses of `host`. Raises OSError where there are none or one is forbidden."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        judge(self._policy, host, port, addresses)
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=entry[0], proto=entry[2], flags=int(socket.AI_NUMERICHOST)
            )
            for entry, address in zip(found, addresses, strict=True)
        ]

    async def close(self) -> None:
        """Nothing is held."""


def judge(policy: AddressPolicy, host: str, port: int, addresses: list[str]) -> None:
    """Raises OSError unless the policy permits every address."""
    if not addresses or not all(policy.permits(host, port, address) for address in addresses):
        raise _Forbidden("address not permitted")


def judged_session(policy: AddressPolicy) -> aiohttp.ClientSession:
    """A client session that can only reach permitted hosts, sends no cookies and trusts no proxy of the environment.

    Addresses written as numbers do not go through the resolver: requests must be made with what `request_url` gives.
    """
    connector = aiohttp.TCPConnector(resolver=JudgedResolver(policy), use_dns_cache=False, limit=0)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=15),
        trust_env=False,
    )


def request_url(policy: AddressPolicy, url: str) -> URL:
    """`url` as it is requested: without user, password and fragment. Names are judged later, when they are resolved.

    Raises OSError where its host is an address that is not permitted, in whatever notation. Judged is the host as the client
    library reads it, so that no other reading of the same text can be connected to.
    """
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    request = URL(bare, encoded=bare.isascii())
    host = request.raw_host or ""
    try:
        numeric = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return request
    judge(policy, host, request.port or 0, [str(entry[4][0]) for entry in numeric])
    return request


class Fetcher:
    """Fetches sources. `time_limit` in seconds and `byte_limit` hold for a whole fetch, redirects included."""

    def __init__(self, policy: AddressPolicy, time_limit: float, byte_limit: int) -> None:
        self._policy = policy
        self._time_limit = time_limit
        self._byte_limit = byte_limit
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the client session."""
        self._session = judged_session(self._policy)

    async def stop(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str, headers: Mapping[str, str], target: Path, on_size: Callable[[int], None]) -> FetchedSource:
        """Write what `url` gives to `target`. `on_size` hears each newly known size in bytes: announced, then as it grows.

        Raises Refusal: 413 for more bytes than allowed, 422 for every other failure, with its cause.
        """
        try:
            async with asyncio.timeout(self._time_limit):
                return await self._follow(url, headers, target, on_size)
        except TimeoutError:
            raise unprocessable(f"the source took longer than {human_duration(self._time_limit)}") from None
        except ValueError:  # what yarl, idna and aiohttp find wrong with an address
            raise unprocessable("the source's address cannot be read") from None
        except aiohttp.ClientPayloadError:
            raise unprocessable("the source broke off before its end, or its content encoding is damaged") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error, url) from None

    async def _follow(self, url: str, headers: Mapping[str, str], target: Path, on_size: Callable[[int], None]) -> FetchedSource:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._get(url, headers) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url, headers = _redirected(url, response.headers["Location"], headers)
                    continue
                if response.status != 200:
                    raise unprocessable(f"the source answered with status {response.status}")
                return await self._receive(response, url, target, on_size)
        raise unprocessable(f"the source redirects more than {MAX_REDIRECTS} times")

    def _get(self, url: str, headers: Mapping[str, str]) -> aiohttp.client._RequestContextManager:
        if self._session is None:
            raise RuntimeError("the fetcher was not started")
        credentials = _credentials(url)
        sent = {"Accept": "image/*,*/*;q=0.8", "Accept-Encoding": "identity", **headers}
        if credentials and not any(name.lower() == "authorization" for name in sent):
            sent["Authorization"] = credentials
        return self._session.get(request_url(self._policy, url), headers=sent, allow_redirects=False)

    async def _receive(
        self, response: aiohttp.ClientResponse, url: str, target: Path, on_size: Callable[[int], None]
    ) -> FetchedSource:
        announced = response.content_length
        if announced is not None:
            self._check_size(announced)
            on_size(announced)
        digest, size = hashlib.sha1(usedforsecurity=False), 0
        with _own_files():
            file = await asyncio.to_thread(target.open, "wb", buffering=0)
        with file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                self._check_size(size)
                on_size(size)
                digest.update(chunk)
                with _own_files():
                    await asyncio.to_thread(_write_all, file, chunk)
        if size == 0:
            raise unprocessable("the source is empty")
        return FetchedSource(source_name(url), size, digest.hexdigest())

    def _check_size(self, size: int) -> None:
        if size > self._byte_limit:
            raise Refusal(413, f"the source is larger than {human_size(self._byte_limit)}")


@contextlib.contextmanager
def _own_files() -> Iterator[None]:
    """Errors of the engine's own disk are no errors of the source."""
    try:
        yield
    except OSError as error:
        if (trouble := disk_trouble(error)) is None:
            raise
        raise trouble from None


def _write_all(file: io.FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def source_name(url: str) -> str:
    """The file name in a URL's path, decoded and made harmless; "image" where there is none."""
    last = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    name = _UNFIT_FOR_NAMES.sub("-", last).strip(". ").encode("utf-8", "replace").decode()
    return name[-MAX_NAME:] if name else "image"


def _redirected(url: str, location: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Where a redirect leads, and what may go along: the caller's headers stay within the origin they were meant for."""
    after = urljoin(url, location)
    if urlsplit(after).scheme not in ("http", "https") or not urlsplit(after).hostname:
        raise unprocessable("the source redirects to something that is not http or https")
    if _origin(url) != _origin(after):
        return after, {}
    return after, headers


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _credentials(url: str) -> str:
    """The Authorization header that a URL's user and password stand for; empty where it has none."""
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return ""
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _unreachable(error: Exception, url: str) -> Refusal:
    """Words for a connection that did not come about; of the URL only host and port are repeated."""
    system = getattr(error, "os_error", error)
    if isinstance(system, OSError) and system.errno in CANNOT_TELL and (trouble := disk_trouble(system)):
        return trouble
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    if _caused_by(error, _Forbidden):
        return unprocessable(f"the source is not at a public address ({place}), or redirects to one that is not")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return unprocessable(f"the source's TLS certificate or handshake is not in order ({place})")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return unprocessable(f"the source's host name cannot be resolved ({place})")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return unprocessable(f"the source closed the connection without an answer ({place})")
    return unprocessable(f"the source could not be reached ({place})")


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind) or isinstance(getattr(error, "os_error", None), kind):
            return True
        error = error.__cause__ or error.__context__
    return False
