"""The whole log object of each of the four endings, composed from what is known of an image. Pure.

The same object is the line on standard output and, with `seq` and `prev` added, the line of the audit file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from watcher.json_text import dumps
from watcher.log import line_fields
from watcher.model import Event, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.compressor.wire import FileFacts, Result
    from watcher.model import FailedReason, Image, OutputRule, Record, SourceFacts


@dataclass(frozen=True, slots=True)
class ResultDetails:
    """What a stored ending says besides the result: the key asked for, how many attempts it took, who said that it is done."""

    key: str = ""
    attempts: int = 1
    recovered: bool = False
    """The store answered instead of the API."""
    url_mismatch: bool = False
    """The API's `url` is not the address that bucket, region and key give."""
    warnings: tuple[Notice, ...] = ()


def stored_record(
    image: Image, rule: OutputRule, facts: SourceFacts, result: Result, details: ResultDetails, now: float
) -> Record:
    """The line of `image.stored`. What the API did not state of the input is filled in from our own facts of it."""
    pixels = {} if facts.width is None else {"width": facts.width, "height": facts.height}
    source = {"name": facts.name, "size": facts.size, "sha1": facts.sha1, **result.input.body(), **pixels}
    return _record(
        Event.IMAGE_STORED,
        image,
        rule.rendition,
        now,
        url=result.url,
        **({"link": link_address(rule.link, details.key)} if rule.link else {}),
        bucket=rule.store.get("bucket"),
        region=rule.store.get("region"),
        key=details.key,
        request_id=result.id or None,
        input=source,
        output=result.output.body(),
        **savings(facts.size, result.output),
        attempts=details.attempts,
        seconds=_seconds(image, now),
        recovered=details.recovered,
        url_mismatch=details.url_mismatch,
        **_warnings(details.warnings),
    )


def with_replacement(record: Record, *, replaced: bool, hidden: bool) -> Record:
    """The line of `image.stored`, now that it is known whether other content lay at the key.

    `hidden`: caches may keep that for long.
    """
    warnings = (*record.get("warnings", ()), *((Notice.CACHED_FOREVER,) if replaced and hidden else ()))
    return {**record, "replaced": replaced, **_warnings(warnings)}


def _warnings(words: Sequence[str]) -> Record:
    return {"warnings": [str(each) for each in words]} if words else {}


def published(record: Record) -> Record | None:
    """What stays known of a stored image for as long as its object is: the fields of the line that links and manifests need.

    None where the line is another one.
    """
    if record.get("event") != Event.IMAGE_STORED or not isinstance(record.get("url"), str):
        return None
    sides = {side: _only(record.get(side), _PUBLISHED_FACTS) for side in ("input", "output")}
    return {"at": record.get("timestamp"), **_only(record, ("id", "url", "link", "saved_percent")), **sides}


_PUBLISHED_FACTS = ("format", "mime", "size", "sha1", "width", "height")


def _only(facts: object, names: tuple[str, ...]) -> Record:
    known = facts if isinstance(facts, dict) else {}
    return {name: known[name] for name in names if name in known}


def failed_record(
    image: Image,
    rendition: str | None,
    reason: FailedReason,
    message: str,
    hint: str,
    attempts: int,
    status: int | None,
    now: float,
) -> Record:
    """The line of `image.failed`. `status` is the HTTP status of the last answer, where there was one."""
    formless = image.facts is not None and image.facts.no_formal_end
    return _record(
        Event.IMAGE_FAILED,
        image,
        rendition,
        now,
        reason=str(reason),
        message=message,
        hint=hint,
        attempts=attempts,
        status=status,
        seconds=_seconds(image, now),
        **_warnings((Notice.NO_FORMAL_END,) if formless else ()),
    )


def superseded_record(image: Image, rendition: str | None, now: float, by: str | None) -> Record:
    """The line of `image.superseded`. `by` is the id of the image that took its place, where it is known already."""
    return _record(Event.IMAGE_SUPERSEDED, image, rendition, now, by=by, seconds=_seconds(image, now))


def vanished_record(image: Image, rendition: str | None, now: float) -> Record:
    """The line of `image.vanished`."""
    return _record(Event.IMAGE_VANISHED, image, rendition, now, seconds=_seconds(image, now))


def link_address(template: str, key: str) -> str:
    """The address behind a CDN: `{key}` replaced by the key, percent-encoded but for its slashes."""
    return template.replace("{key}", quote(key, safe="/~"))


def savings(input_size: int, output: FileFacts) -> Record:
    """`saved_bytes` and `saved_percent` (one decimal); both None where the size of the output is not known."""
    if output.size is None:
        return {"saved_bytes": None, "saved_percent": None}
    saved = input_size - output.size
    return {"saved_bytes": saved, "saved_percent": round(100 * saved / input_size, 1) if input_size else 0.0}


def printable(value: Any) -> Any:
    """The same value with every text in it fit for UTF-8: what a broken name or answer smuggled in is shown as \\udcXX."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {printable(key): printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable(each) for each in value]
    return value


def _record(event: Event, image: Image, rendition: str | None, now: float, **fields: Any) -> Record:
    record: Record = line_fields(event, now, id=image.id, **image.file.fields(), rendition=rendition, **fields)
    return record if _is_printable(record) else printable(record)


def _is_printable(record: Record) -> bool:
    """Whether all text in it is fit for UTF-8, as nearly always: a fifth of the work of making it so."""
    try:
        dumps(record)
    except UnicodeEncodeError:
        return False
    return True


def _seconds(image: Image, now: float) -> float:
    return round(max(0.0, now - image.detected_at), 3)
