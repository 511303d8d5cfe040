"""The B2 connector: Backblaze's S3-compatible API, or any other, through obstore.

B2's ways (Backblaze's documentation and known reports): only the headers it knows may be sent; `x-amz-acl` must equal the
bucket's own; 503 and 500 are normal and mean "try again on a new connection"; a key of another region is called invalid; caps
are 403 and stay until they are raised or the day ends.
"""

from __future__ import annotations

import asyncio
import random
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from watcher.engine.connectors import StoredAt, StoredFacts, StoreError
from watcher.errors import WatcherError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from obstore.store import ClientConfig

    from watcher.config.schema import B2Connector as B2Settings

TRIES: Final = 6
"""Calls of a busy store before it counts as down (three are known to be too few)."""
_FIRST_PAUSE: Final = 0.2
_CALL_LIMIT: Final = timedelta(seconds=120)
_CONNECT_LIMIT: Final = timedelta(seconds=10)
_ANSWER: Final = re.compile(r"Server returned non-2xx status code: (\d{3})(.*?)(?:\n\nDebug source:|\Z)", re.DOTALL)
_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_CAP: Final = re.compile(r"<Message>[^<]*\bcaps?\b[^<]*</Message>|cap_?exceeded", re.IGNORECASE)
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})
_ELSEWHERE: Final = frozenset({"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})

T = TypeVar("T")


class B2Connector:
    """See watcher.engine.connectors.Connector."""

    def __init__(
        self,
        key_id: str,
        application_key: str,
        endpoint: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._key_id = key_id
        self._application_key = application_key
        self._endpoint = endpoint
        self._sleep = sleep
        self._random = random
        self._stores: dict[tuple[str, str, str | None], S3Store] = {}

    @classmethod
    def from_settings(cls, identity: str, settings: B2Settings) -> B2Connector:
        """The connector of `[engine.connectors.<identity>]`. Raises WatcherError where a key is missing."""
        if settings.key_id is None or settings.application_key is None:
            raise WatcherError(
                f"connector {identity} has no key_id or no application_key",
                f"set both in [engine.connectors.{identity}], the environment or a systemd credential",
            )
        return cls(settings.key_id.get_secret_value(), settings.application_key.get_secret_value(), settings.endpoint)

    @property
    def any_region(self) -> bool:
        """See Connector: other stores than B2 have other regions."""
        return self._endpoint is not None

    async def put(
        self,
        bucket: str,
        region: str,
        key: str,
        content: Path,
        *,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        acl: str,
    ) -> StoredAt:
        """See Connector. `acl` must be the bucket's own, else StoreError says so."""
        attributes: dict[str, Any] = {**headers, **metadata}
        body = await asyncio.to_thread(content.read_bytes)

        async def call(store: S3Store) -> None:
            await obstore.put_async(store, key, body, attributes=attributes, use_multipart=False)

        await self._persistently((bucket, region, acl), call)
        return StoredAt(self.address(bucket, region, key))

    async def head(self, bucket: str, region: str, key: str) -> StoredFacts | None:
        """See Connector. Takes the capability `readFiles`."""

        async def call(store: S3Store) -> StoredFacts | None:
            try:
                found = await obstore.get_async(store, key, options={"head": True})
            except FileNotFoundError:
                return None
            attributes = {str(name).lower(): str(value) for name, value in found.attributes.items()}
            return StoredFacts(found.meta["size"], attributes, attributes.pop("content-type", None))

        return await self._persistently((bucket, region, None), call)

    async def sweep(self, now: float) -> None:
        """See Connector. Objects go up in one call: such a store keeps no halves."""

    async def close(self) -> None:
        """See Connector."""
        self._stores.clear()

    def address(self, bucket: str, region: str, key: str) -> str:
        """The object's URL: B2's virtual-host form, or below the endpoint."""
        escaped = quote(key, safe="/~")
        if self._endpoint is not None:
            return f"{self._endpoint}/{bucket}/{escaped}"
        return f"https://{bucket}.s3.{region}.backblazeb2.com/{escaped}"

    async def _persistently(self, place: tuple[str, str, str | None], call: Callable[[S3Store], Awaitable[T]]) -> T:
        """Call until it succeeds or is hopeless; each new try is made on new connections, as B2 asks."""
        _, _, acl = place
        for attempt in range(TRIES):
            try:
                return await call(self._store(place))
            except (BaseError, OSError) as error:
                failure = judged(str(error), acl)
            self._stores.pop(place, None)
            if not failure.retryable or attempt == TRIES - 1:
                raise failure
            await self._sleep(_FIRST_PAUSE * 2**attempt * (0.5 + self._random() / 2))
        raise AssertionError("unreachable: the last try returns or raises")

    def _store(self, place: tuple[str, str, str | None]) -> S3Store:
        if place not in self._stores:
            self._stores[place] = self._connected(*place)
        return self._stores[place]

    def _connected(self, bucket: str, region: str, acl: str | None) -> S3Store:
        endpoint = self._endpoint or f"https://s3.{region}.backblazeb2.com"
        options: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "timeout": _CALL_LIMIT,
            "connect_timeout": _CONNECT_LIMIT,
        }
        if acl is not None:
            options["default_headers"] = {"x-amz-acl": acl}
        return S3Store(
            bucket,
            endpoint=endpoint,
            region=region,
            access_key_id=self._key_id,
            secret_access_key=self._application_key,
            virtual_hosted_style_request=False,
            client_options=options,
            retry_config={"max_retries": 0, "retry_timeout": timedelta(0)},
        )


def judged(report: str, acl: str | None) -> StoreError:
    """What obstore's report of a failed call means, in words that name the cause and the way out. Pure.

    Nothing of the store's own words is repeated: B2 puts key ids there.
    """
    answer = _ANSWER.search(report)
    if answer is None:
        return _without_answer(report)
    status, body = int(answer[1]), answer[2]
    found = _CODE.search(body)
    code = found[1] if found else ""
    if status in _BUSY:
        return StoreError(f"the store is busy (status {status})", retryable=True)
    if status == 403 and _CAP.search(body):
        return StoreError("a cap of the Backblaze account is reached", "raise it under Caps & Alerts, or wait until 00:00 UTC")
    if "canned acl" in body:
        return StoreError(f"store.acl is `{acl}`, which is not the bucket's own", "B2 objects have the access of their bucket")
    if code in _ELSEWHERE or status == 301:
        return _elsewhere()
    words = _BY_CODE.get(code)
    return (
        StoreError(*words) if words else StoreError(f"the store refused the object (status {status} {code})".replace(" )", ")"))
    )


def _without_answer(report: str) -> StoreError:
    if "redirect" in report:
        return _elsewhere()
    return StoreError("the store cannot be reached", "is store.region the bucket's?", retryable=True)


def _elsewhere() -> StoreError:
    return StoreError("the bucket is not in store.region", "the bucket's page in the Backblaze account shows its endpoint")


_NOT_ENTITLED: Final = (
    "the connector's application key may not write there",
    "it needs the capability writeFiles, for this bucket and this name prefix",
)
_BY_CODE: Final[Mapping[str, tuple[str, str]]] = {
    "InvalidAccessKeyId": (
        "the connector's key is not valid in store.region",
        "either the bucket is in another region, or key_id is wrong (the account's master key is not taken)",
    ),
    "SignatureDoesNotMatch": ("the connector's application_key does not fit its key_id", "copy both anew"),
    "AccessDenied": _NOT_ENTITLED,
    "UnauthorizedAccess": _NOT_ENTITLED,
    "NoSuchBucket": ("there is no such bucket in store.region", "check store.bucket and store.region"),
    "RequestTimeTooSkewed": ("the clock of the engine's machine is wrong", "set it by NTP"),
}
