"""Asks the store itself what lies at a key: HEAD on the object."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import httpx

from watcher.compressor.client import USER_AGENT, uses_proxies
from watcher.compressor.failures import CAUGHT, failure_of_exception
from watcher.model import Absence, HeadAnswer
from watcher.s3.signing import Credentials, signed_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.config.schema import VerifySettings

TIMEOUT_SECONDS: Final = 30.0
_S3_METADATA: Final = "x-amz-meta-"
_NATIVE_METADATA: Final = "x-bz-info-"
_ASK_AGAIN: Final = frozenset({408, 425, 429})


class HttpObjectStore:
    """Implements `watcher.ports.ObjectStore` over HTTP(S).

    `verify.url` is the template with "{bucket}", "{region}" and "{key}" in it; with a key in `verify` each HEAD is signed (a
    private bucket). `wall_clock` gives Unix seconds. At most `concurrency` questions are asked at once. `aclose` it.
    """

    def __init__(
        self,
        verify: VerifySettings,
        *,
        concurrency: int = 16,
        timeout: float = TIMEOUT_SECONDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._template = verify.url
        self._wall_clock = wall_clock
        self._verify = verify
        self._timeout = timeout
        self._turns = asyncio.Semaphore(concurrency)
        # httpx's own transport: the other one rewrites the percent-encoding of the path, and a signature would no longer fit
        self._client = httpx.AsyncClient(
            timeout=timeout,
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            trust_env=uses_proxies(verify.url),
            follow_redirects=False,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def use_keys(self, verify: VerifySettings) -> None:
        """Sign with these keys from now on (none: do not sign). The address stays what it was."""
        self._verify = verify

    async def head(self, bucket: str, region: str, key: str, *, connector: str) -> HeadAnswer:  # noqa: ARG002 - the embedded engine's store needs it
        """What lies at the key. Never raises: what cannot be learnt is said by `absence`.

        A store that answers neither yes nor no (a redirect, 400, 405) will not do so later either, so that counts as FORBIDDEN:
        `[verify]` has to be set right. UNREACHABLE is what may pass.
        """
        url = object_url(self._template, bucket, region, key)
        try:
            async with self._turns, asyncio.timeout(self._timeout):
                response = await self._client.head(url, headers=self._signature(url, region))
        except CAUGHT as error:
            return HeadAnswer(Absence.UNREACHABLE, message=failure_of_exception(error, urlsplit(url).netloc).message)
        return read_head(response.status_code, response.headers)

    def _signature(self, url: str, region: str) -> dict[str, str]:
        credentials = _credentials(self._verify, region)
        if credentials is None:
            return {}
        address, _, query = url.partition("?")
        return signed_headers(
            credentials, "HEAD", address, dict(parse_qsl(query, keep_blank_values=True)), {}, self._wall_clock()
        )


def _credentials(verify: VerifySettings, region: str) -> Credentials | None:
    if verify.key_id is None or verify.application_key is None:
        return None
    return Credentials(verify.key_id.get_secret_value(), verify.application_key.get_secret_value(), region)


def object_url(template: str, bucket: str, region: str, key: str) -> str:
    """The address of an object: the key percent-encoded as B2 and S3 want it (space %20, + %2B), slashes kept."""
    filled = template.replace("{bucket}", quote(bucket, safe="")).replace("{region}", quote(region, safe=""))
    return filled.replace("{key}", quote(key, safe="/-._~"))


def read_head(status: int, headers: httpx.Headers) -> HeadAnswer:
    """The answer in a status and its headers."""
    if 200 <= status < 300:
        length = headers.get("content-length", "")
        return HeadAnswer(size=int(length) if length.isdecimal() else None, metadata=_metadata(headers))
    message = f"the store answered {status}"
    if status in (404, 410):
        return HeadAnswer(Absence.ABSENT, message=message)
    if status >= 500 or status in _ASK_AGAIN:
        return HeadAnswer(Absence.UNREACHABLE, message=message)
    return HeadAnswer(Absence.FORBIDDEN, message=message)


def _metadata(headers: httpx.Headers) -> dict[str, str]:
    """Custom metadata, names in lower case. B2's native headers carry percent-encoded values, the S3 ones plain."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_NATIVE_METADATA):
            found[name.removeprefix(_NATIVE_METADATA)] = unquote(value)
        elif name.startswith(_S3_METADATA):
            found[name.removeprefix(_S3_METADATA)] = value
    return found
