"""Asks the store itself what lies at an output's key: before anything is sent again, or after every answer if so configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.compressor import verify
from watcher.compressor.wire import FileFacts, Result
from watcher.errand import b2_url
from watcher.model import Absence, Event

if TYPE_CHECKING:
    from watcher.edges import EventLog, ObjectStore
    from watcher.errand import Errand
    from watcher.model import HeadAnswer


class Inquiries:
    """The questions, and the one line for each bucket that does not answer them."""

    def __init__(self, store: ObjectStore, events: EventLog) -> None:
        self._store = store
        self._events = events
        self._hinted: set[str] = set()

    async def head(self, errand: Errand) -> HeadAnswer:
        """What lies at the key. A store that will not say is told once for each bucket."""
        store = errand.rule.store
        head = await self._store.head(errand.bucket, str(store["region"]), errand.key, connector=str(store["id"]))
        if head.absence is Absence.FORBIDDEN:
            self._hint(errand, head)
        return head

    def _hint(self, errand: Errand, head: HeadAnswer) -> None:
        """Without an answer an image is sent, and perhaps paid, again."""
        if errand.bucket in self._hinted:
            return
        self._hinted.add(errand.bucket)
        hint = "set [verify] key_id and application_key (readFiles), or a url where the object can be asked for, or mode"
        message = f"the store does not say what lies in bucket {errand.bucket}: {head.message}; sent again without knowing"
        self._events.event(Event.IMAGE_RETRY, **errand.fields(), message=message, hint=hint)


def is_done(head: HeadAnswer, errand: Errand) -> bool:
    """Whether what lies there is this very work."""
    return verify.is_done(head, errand.visit.facts.sha1, errand.rule.fingerprint)


def contradiction(head: HeadAnswer, errand: Errand, result: Result) -> str | None:
    """What is wrong with the stored object, if the store says what it holds."""
    if head.absence is Absence.FORBIDDEN or (verify.matches(head, result) and is_done(head, errand)):
        return None
    return f"the store does not hold what the API says it stored ({head.absence or 'another object'} at {errand.key})"


def made_up_result(head: HeadAnswer, errand: Errand) -> Result:
    """The answer that was lost, as far as the store and our own facts of the original tell it."""
    facts, store = errand.visit.facts, errand.rule.store
    url = head.url or b2_url(errand.bucket, str(store["region"]), errand.key)
    output = FileFacts(name=errand.key.rpartition("/")[2], type="image", size=head.size)
    source = FileFacts(facts.name, "image", str(facts.format), facts.format.mime, facts.size, facts.sha1)
    return Result(errand.output.job_id or "", url, source, output)
