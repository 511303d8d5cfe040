"""Asks the store itself what lies at a key: HEAD on the object."""

from __future__ import annotations

import asyncio
import random
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

import httpx

from watcher.clock import SystemClock
from watcher.model import Absence, HeadAnswer
from watcher.s3.addresses import object_url
from watcher.s3.client import S3Client, S3Request
from watcher.s3.errors import S3Error
from watcher.s3.signing import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.config.schema import VerifySettings
    from watcher.network.proxies import Proxies
    from watcher.ports import Clock

TIMEOUT_SECONDS: Final = 30.0
_S3_METADATA: Final = "x-amz-meta-"
_NATIVE_METADATA: Final = "x-bz-info-"
_ASK_AGAIN: Final = frozenset({408, 425, 429})


class HttpObjectStore:
    """Implements `watcher.ports.ObjectStore` over HTTP(S).

    `verify.url` is the template with "{bucket}", "{region}" and "{key}" in it; with a key in `verify` each HEAD is signed (a
    private bucket). At most `concurrency` questions are asked at once. `aclose` it.
    """

    def __init__(
        self,
        verify: VerifySettings,
        *,
        concurrency: int = 16,
        timeout: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._template = verify.url
        self._verify = verify
        self._timeout = timeout
        self._turns = asyncio.Semaphore(concurrency)
        each_step = httpx.Timeout(timeout)
        self._client = S3Client(
            clock or SystemClock(), random.random, proxies=proxies, connections=concurrency, timeout=each_step
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
        address, _, query = object_url(self._template, bucket, key, region).partition("?")
        request = S3Request("HEAD", address, dict(parse_qsl(query, keep_blank_values=True)))
        try:
            async with self._turns, asyncio.timeout(self._timeout):
                answer = await self._client.send(request, _credentials(self._verify, region))
        except TimeoutError:
            return HeadAnswer(Absence.UNREACHABLE, message=f"the store did not answer within {self._timeout:g} s")
        except S3Error as error:
            return HeadAnswer(Absence.UNREACHABLE, message=error.message) if error.status is None else read_head(error.status)
        return read_head(answer.status_code, answer.headers)


def _credentials(verify: VerifySettings, region: str) -> Credentials | None:
    if verify.key_id is None or verify.application_key is None:
        return None
    return Credentials(verify.key_id.get_secret_value(), verify.application_key.get_secret_value(), region)


def read_head(status: int, headers: Mapping[str, str] = MappingProxyType({})) -> HeadAnswer:
    """The answer in a status and its headers, whose names are in lower case."""
    if 200 <= status < 300:
        length = headers.get("content-length", "")
        return HeadAnswer(size=int(length) if length.isdecimal() else None, metadata=_metadata(headers))
    message = f"the store answered {status}"
    if status in (404, 410):
        return HeadAnswer(Absence.ABSENT, message=message)
    if status >= 500 or status in _ASK_AGAIN:
        return HeadAnswer(Absence.UNREACHABLE, message=message)
    return HeadAnswer(Absence.FORBIDDEN, message=message)


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Custom metadata, names in lower case. B2's native headers carry percent-encoded values, the S3 ones plain."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith(_NATIVE_METADATA):
            found[name.removeprefix(_NATIVE_METADATA)] = unquote(value)
        elif name.startswith(_S3_METADATA):
            found[name.removeprefix(_S3_METADATA)] = value
    return found
