"""The B2 connector: Backblaze's S3-compatible API, or any other.

B2's ways (Backblaze's documentation and known reports): only the headers it knows may be sent; `x-amz-acl` must equal the
bucket's own; a key of another region is called invalid; caps are 403 and stay until they are raised or the day ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from watcher.engine.connectors import StoredAt, StoredFacts, StoreError
from watcher.s3.addresses import B2_OBJECT, b2_endpoint, object_url, path_style
from watcher.s3.bucket import Bucket
from watcher.s3.errors import S3Error, S3ErrorKind
from watcher.s3.signing import Credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from watcher.s3.client import S3Client

_METADATA: Final = "x-amz-meta-"
_CHUNK_BYTES: Final = 256 * 1024


class B2Connector:
    """See watcher.engine.connectors.Connector. `client` is closed with the connector."""

    def __init__(self, client: S3Client, key_id: str, application_key: str, endpoint: str | None = None) -> None:
        self._client = client
        self._key_id = key_id
        self._application_key = application_key
        self._endpoint = endpoint

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
        ours = {f"{_METADATA}{name}": value for name, value in metadata.items()}
        sent = {**headers, **ours, "x-amz-acl": acl}
        size = (await asyncio.to_thread(content.stat)).st_size
        try:
            await self._bucket(bucket, region).put(key, sent, size, lambda: _chunks(content))
        except S3Error as error:
            raise store_error(error, acl=acl) from None
        return StoredAt(self.address(bucket, region, key))

    async def head(self, bucket: str, region: str, key: str) -> StoredFacts | None:
        """See Connector. Takes the capability `readFiles`."""
        try:
            headers = await self._bucket(bucket, region).head(key)
        except S3Error as error:
            raise store_error(error) from None
        if headers is None:
            return None
        metadata = {name.removeprefix(_METADATA): value for name, value in headers.items() if name.startswith(_METADATA)}
        return StoredFacts(int(headers.get("content-length", "0")), metadata, headers.get("content-type"))

    async def sweep(self, now: float) -> None:
        """See Connector. Objects go up in one call: such a store keeps no halves."""

    async def close(self) -> None:
        """See Connector."""
        await self._client.aclose()

    def address(self, bucket: str, region: str, key: str) -> str:
        """The object's URL: B2's virtual-host form, or below the endpoint."""
        template = B2_OBJECT if self._endpoint is None else path_style(self._endpoint)
        return object_url(template, bucket, key, region)

    def _bucket(self, name: str, region: str) -> Bucket:
        credentials = Credentials(self._key_id, self._application_key, region)
        return Bucket(self._client, self._endpoint or b2_endpoint(region), name, credentials)


async def _chunks(content: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(content.open, "rb")
    with file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def store_error(error: S3Error, *, acl: str | None = None) -> StoreError:
    """What a store's refusal means, in words that name the cause and the way out. `acl`: what was sent, where a file was put.

    Nothing of the store's own words is repeated: B2 puts key ids there. Pure.
    """
    if error.kind is S3ErrorKind.UNREACHABLE:
        return StoreError("the store cannot be reached", "is store.region the bucket's?", retryable=True)
    if error.kind is S3ErrorKind.BUSY:
        return StoreError(f"the store is busy (status {error.status})", retryable=True)
    if error.kind is S3ErrorKind.ACL:
        return StoreError(f"store.acl is `{acl}`, which is not the bucket's own", "B2 objects have the access of their bucket")
    if error.kind is S3ErrorKind.DENIED:
        return _denied("read" if acl is None else "write")
    if words := _WORDS.get(error.kind):
        return StoreError(*words)
    return StoreError(f"the store refused the object (status {error.status} {error.code})".replace(" )", ")"))


def _denied(what: str) -> StoreError:
    return StoreError(
        f"the connector's application key may not {what} there",
        f"it needs the capability {what}Files, for this bucket and this name prefix",
    )


_WORDS: Final[Mapping[S3ErrorKind, tuple[str, str]]] = {
    S3ErrorKind.KEY: (
        "the connector's key is not valid in store.region",
        "either the bucket is in another region, or key_id is wrong (the account's master key is not taken)",
    ),
    S3ErrorKind.SECRET: ("the connector's application_key does not fit its key_id", "copy both anew"),
    S3ErrorKind.BUCKET: ("there is no such bucket in store.region", "check store.bucket and store.region"),
    S3ErrorKind.REGION: (
        "the bucket is not in store.region",
        "the bucket's page in the Backblaze account shows its endpoint",
    ),
    S3ErrorKind.CLOCK: ("the clock of the engine's machine is wrong", "set it by NTP"),
    S3ErrorKind.CAP: ("a cap of the Backblaze account is reached", "raise it under Caps & Alerts, or wait until 00:00 UTC"),
}
