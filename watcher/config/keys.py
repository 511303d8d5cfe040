"""Object-key templates: from a file's place in its folder to a clean object key. Pure.

What a key may be comes from B2's rules on file names: at most 1,024 bytes of UTF-8 in all (we keep to 900), a segment of at most
250 bytes, no control characters, no backslash, no empty segment.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Final

from watcher.errors import WatcherError

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_KEY_TEMPLATE: Final = "{folder}/{dir}/{name}"
CONVERTED_KEY_TEMPLATE: Final = "{folder}/{dir}/{stem}.{ext}"
"""What takes the default's place where another format is stored than came."""
MAX_KEY_BYTES: Final = 900
MAX_SEGMENT_BYTES: Final = 250
FIELDS: Final = {
    "name": "the file's name",
    "stem": "the name without its extension",
    "ext": "the extension, in lower case; where `image.output` converts, that of the format that is stored",
    "dir": "the path inside the folder, empty at its top",
    "folder": "the folder's `name`",
    "rendition": "the rendition's `name`, empty for the folder's own output",
    "sha1": "SHA-1 of the original; `{sha1:.8}` is its first eight digits",
    "date": "when the file was detected, UTC: `{date:%Y/%m/%d}`",
}
"""The fields of a template, and what they stand for."""

_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_SHA1_PRECISION: Final = re.compile(r"\.([1-9]|[123]\d|40)")


class InvalidKey(WatcherError):
    """A template gives no usable key for a file: it is empty or longer than 900 bytes."""


@dataclass(frozen=True, slots=True)
class KeyFields:
    """What a template may speak of. `relative_path` is the path inside the folder, with "/" between its parts.

    `converted` is the extension of the format that is stored, where that is another one than came.
    """

    relative_path: str
    folder: str
    rendition: str | None
    sha1: str
    detected_at: datetime
    converted: str | None = None


def template_problem(template: str) -> str | None:
    """Why `template` cannot be used, or None."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        return f"not a template: {error}"
    for _, field, specification, conversion in parts:
        if field is None:
            continue
        if field not in FIELDS or conversion:
            return f"no such field {{{field}}}; there are " + ", ".join(f"{{{known}}}" for known in FIELDS)
        if problem := _specification_problem(field, specification or ""):
            return problem
    if template.startswith("/"):
        return "an object key has no leading slash"
    if not template.strip("/ "):
        return "is empty"
    return None


def fields_of(template: str) -> frozenset[str]:
    """The fields that a template speaks of."""
    return frozenset(field for _, field, _, _ in Formatter().parse(template) if field is not None)


def _specification_problem(field: str, specification: str) -> str | None:
    if not specification:
        return None
    if field == "sha1" and _SHA1_PRECISION.fullmatch(specification):
        return None
    if field == "date" and "%" in specification:
        return None
    return f"{{{field}:{specification}}} is not known; {{sha1:.8}} and {{date:%Y/%m/%d}} are"


def render_key(template: str, fields: KeyFields) -> str:
    """The object key of a file. Raises InvalidKey where nothing is left of it or it is too long."""
    if fields.converted is not None and template == DEFAULT_KEY_TEMPLATE:
        template = CONVERTED_KEY_TEMPLATE
    values = _values(fields)
    text = ""
    for literal, field, specification, _ in Formatter().parse(template):
        text += literal
        if field is not None:
            text += _field_text(field, specification or "", fields, values)
    key = "/".join(segment for segment in map(clean_segment, text.split("/")) if segment)
    if not key:
        raise InvalidKey("the key template gives an empty key for this file", "use {name} or {sha1} in store.path")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise InvalidKey(
            f"the object key would be longer than {MAX_KEY_BYTES} bytes",
            "shorten folder names, or use {sha1} in store.path",
        )
    return key


def _field_text(field: str, specification: str, fields: KeyFields, values: dict[str, str]) -> str:
    if field == "date":
        return fields.detected_at.strftime(specification or "%Y-%m-%d")
    return format(values[field], specification)


def _values(fields: KeyFields) -> dict[str, str]:
    directory, _, name = fields.relative_path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem:
        stem, extension = name, ""
    return {
        "name": _one_segment(name),
        "stem": _one_segment(stem),
        "ext": fields.converted or _one_segment(extension.lower()),
        "dir": directory,
        "folder": _one_segment(fields.folder),
        "rendition": _one_segment(fields.rendition or ""),
        "sha1": fields.sha1,
    }


def _one_segment(value: str) -> str:
    return value.replace("/", "-")


def clean_segment(segment: str) -> str:
    """One part of a key as B2 takes it: NFC, control characters and backslashes replaced, never `.` or `..`, cut to 250 bytes.

    Bytes of a file name that are no UTF-8 become "-" as well. What is cut keeps its extension, and stays whole characters.
    """
    text = segment.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "-")
    text = _UNFIT.sub("-", unicodedata.normalize("NFC", text)).strip(" ")
    if text in (".", ".."):
        return ""
    return _cut(text)


def _cut(text: str) -> str:
    if len(text.encode()) <= MAX_SEGMENT_BYTES:
        return text
    stem, dot, extension = text.rpartition(".")
    tail = (dot + extension) if stem and len(extension.encode()) <= 16 else ""
    head = (stem if tail else text).encode()[: MAX_SEGMENT_BYTES - len(tail.encode())]
    return head.decode("utf-8", "ignore") + tail
