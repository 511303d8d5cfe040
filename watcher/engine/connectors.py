"""What a storage connector is: where outputs are put, whatever the store, behind the same calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from watcher.errors import WatcherError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class StoreError(WatcherError):
    """A store did not take or show an object. `retryable` tells whether the same call may succeed later."""

    def __init__(self, message: str, hint: str = "", *, retryable: bool = False, retry_after: int | None = None) -> None:
        super().__init__(message, hint)
        self.retryable = retryable
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class StoredAt:
    """Where an object lies: its address, correctly escaped."""

    url: str


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What a store knows of an object. `metadata` has lower-case names."""

    size: int
    metadata: Mapping[str, str]
    content_type: str | None


class Connector(Protocol):
    """A store. Both calls raise StoreError."""

    @property
    def any_region(self) -> bool:
        """Whether `region` may be other than one of Backblaze's."""
        ...

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
        """Store the file `content` as the object `key`, durably, whole or not at all; an object of that key is replaced."""
        ...

    async def head(self, bucket: str, region: str, key: str) -> StoredFacts | None:
        """What is known of an object; None where there is none."""
        ...

    def address(self, bucket: str, region: str, key: str) -> str:
        """The address of an object, correctly escaped."""
        ...

    async def sweep(self, now: float) -> None:
        """Remove what crashes left half stored, as far as that takes up room. `now` in Unix seconds. Raises nothing."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
