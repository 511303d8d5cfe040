"""One bucket of an S3-compatible store: put, head, delete and list, version by version.

No HeadBucket is sent: an ordinary application key of Backblaze may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.s3.addresses import bucket_url, object_url, path_style
from watcher.s3.client import S3Request
from watcher.s3.errors import S3Error, S3ErrorKind
from watcher.s3.listing import Version, object_page, version_page
from watcher.s3.signing import signed_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

    import httpx

    from watcher.s3.client import S3Client
    from watcher.s3.listing import Page
    from watcher.s3.signing import Credentials


@dataclass(frozen=True, slots=True)
class PutObject:
    """An object was put: its version where the store keeps versions, and whether an earlier try may have put one too."""

    version: str | None
    alone: bool


class Bucket:
    """A bucket, spoken to with an application key: `credentials`, which may be replaced. Every call raises S3Error."""

    def __init__(self, client: S3Client, endpoint: str, name: str, credentials: Credentials, page_size: int = 1000) -> None:
        self.name = name
        self.credentials = credentials
        self._client = client
        self._endpoint = endpoint
        self.page_size = page_size

    def url(self, key: str) -> str:
        """The address of an object, path style."""
        return object_url(path_style(self._endpoint), self.name, key)

    def link(self, key: str, signed_at: float, lifetime: int) -> str:
        """A link for GET, made without asking anybody."""
        return signed_link(self.credentials, self.url(key), signed_at, lifetime)

    async def put(
        self, key: str, headers: Mapping[str, str], size: int, content: Callable[[], AsyncIterable[bytes]]
    ) -> PutObject:
        """Put an object of exactly `size` bytes; `content` is called for every try."""
        sent = {**headers, "Content-Length": str(size)}
        answer, tries = await self._call(S3Request("PUT", self.url(key), headers=sent, content=content))
        return PutObject(answer.headers.get("x-amz-version-id") or None, tries == 1)

    async def head(self, key: str) -> httpx.Headers | None:
        """The headers of an object; None where there is none."""
        try:
            answer, _ = await self._call(S3Request("HEAD", self.url(key)))
        except S3Error as error:
            if error.kind is S3ErrorKind.MISSING:
                return None
            raise
        return answer.headers

    async def delete(self, version: Version) -> None:
        """Delete for good: the version where there is one. One that is not there is fine."""
        query = {"versionId": version.id} if version.id else {}
        try:
            await self._call(S3Request("DELETE", self.url(version.key), query=query))
        except S3Error as error:
            if error.kind is not S3ErrorKind.MISSING:
                raise

    async def versions(self, prefix: str) -> AsyncIterator[Version]:
        """All versions and deletion markers below a prefix; plain objects where the store knows no versions."""
        try:
            async for version in self._listing({"versions": "", "prefix": prefix}, version_page):
                yield version
        except S3Error as error:
            if error.kind is not S3ErrorKind.UNSUPPORTED:
                raise
            async for version in self._listing({"list-type": "2", "prefix": prefix}, object_page):
                yield version

    async def _listing(self, query: Mapping[str, str], read: Callable[[str], Page]) -> AsyncIterator[Version]:
        following: Mapping[str, str] = {}
        while True:
            asked = {**query, "max-keys": str(self.page_size), **following}
            answer, _ = await self._call(S3Request("GET", bucket_url(self._endpoint, self.name), query=asked))
            page = read(answer.text)
            for version in page.versions:
                yield version
            if not page.following:
                return
            following = page.following

    async def _call(self, request: S3Request) -> tuple[httpx.Response, int]:
        return await self._client.send_until_answered(request, self.credentials)
