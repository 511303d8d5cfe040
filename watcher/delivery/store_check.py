"""Asks the store itself what lies at an output's key: before anything is sent again, or after every answer if so configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.model import Absence, Event

if TYPE_CHECKING:
    from watcher.delivery.delivery import Delivery
    from watcher.model import HeadAnswer
    from watcher.ports import EventLog, ObjectStore


class StoreCheck:
    """The questions, and the one line for each bucket that does not answer them."""

    def __init__(self, store: ObjectStore, events: EventLog) -> None:
        self._store = store
        self._events = events
        self._hinted: set[str] = set()

    async def head(self, delivery: Delivery) -> HeadAnswer:
        """What lies at the key. A store that will not say is reported once for each bucket."""
        connector = str(delivery.rule.store["id"])
        head = await self._store.head(delivery.bucket, delivery.region, delivery.key, connector=connector)
        if head.absence is Absence.FORBIDDEN:
            self._hint(delivery, head)
        return head

    def _hint(self, delivery: Delivery, head: HeadAnswer) -> None:
        """Without an answer an image is sent, and perhaps paid, again."""
        if delivery.bucket in self._hinted:
            return
        self._hinted.add(delivery.bucket)
        hint = "set [verify] key_id and application_key (readFiles), or a url where the object can be asked for, or mode"
        message = f"the store does not say what lies in bucket {delivery.bucket}: {head.message}; sent again without knowing"
        self._events.event(Event.IMAGE_RETRY, **delivery.fields(), message=message, hint=hint)
