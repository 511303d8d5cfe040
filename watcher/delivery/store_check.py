"""Asks the store itself what lies at an output's key: before anything is sent again, or after every answer if so configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.compressor import answer_check
from watcher.compressor.wire import FileFacts, Result
from watcher.model import Absence, Event
from watcher.s3.addresses import B2_OBJECT, object_url

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
        store = delivery.rule.store
        head = await self._store.head(delivery.bucket, str(store["region"]), delivery.key, connector=str(store["id"]))
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


def is_done(head: HeadAnswer, delivery: Delivery) -> bool:
    """Whether what lies there is this very work."""
    return answer_check.is_done(head, delivery.opened.facts.sha1, delivery.rule.fingerprint)


def contradiction(head: HeadAnswer, delivery: Delivery, result: Result) -> str | None:
    """What is wrong with the stored object, if the store says what it holds."""
    if head.absence is Absence.FORBIDDEN or (answer_check.matches(head, result) and is_done(head, delivery)):
        return None
    return f"the store does not hold what the API says it stored ({head.absence or 'another object'} at {delivery.key})"


def made_up_result(head: HeadAnswer, delivery: Delivery) -> Result:
    """The answer that was lost, as far as the store and our own facts of the original tell it."""
    facts, store = delivery.opened.facts, delivery.rule.store
    url = head.url or object_url(B2_OBJECT, delivery.bucket, delivery.key, str(store["region"]))
    output = FileFacts(name=delivery.key.rpartition("/")[2], type="image", size=head.size)
    pixels = (facts.width, facts.height)
    source = FileFacts(facts.name, "image", str(facts.format), facts.format.mime, facts.size, facts.sha1, *pixels)
    return Result(delivery.output.job_id or "", url, source, output)
