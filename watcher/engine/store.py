"""The engine's connectors as somebody who asks for stored objects sees them: the embedded daemon's recovery question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.engine.connectors import StoreError
from watcher.model import Absence, HeadAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.engine.connectors import Connector


class ConnectorStore:
    """Implements `watcher.ports.ObjectStore` on the engine's own connectors."""

    def __init__(self, connectors: Mapping[str, Connector]) -> None:
        self._connectors = connectors

    async def head(self, bucket: str, region: str, key: str, *, connector: str) -> HeadAnswer:
        """What lies at the key. An unknown connector holds nothing."""
        store = self._connectors.get(connector)
        if store is None:
            return HeadAnswer(Absence.ABSENT)
        try:
            facts = await store.head(bucket, region, key)
        except StoreError as error:
            return HeadAnswer(Absence.UNREACHABLE if error.retryable else Absence.FORBIDDEN, message=error.message)
        if facts is None:
            return HeadAnswer(Absence.ABSENT)
        return HeadAnswer(size=facts.size, metadata=facts.metadata, url=store.address(bucket, region, key))
