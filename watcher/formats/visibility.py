"""What hides a published picture from those who should see it: a format that browsers do not show, caches that keep an old one.

`check` warns of it before, the line of an ending says it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from watcher.config.keys import fields_of
from watcher.formats.targets import NOT_WEB_SAFE, stored_format, wanted
from watcher.model import Format, Notice

LONGEST_HIDDEN: Final = 86_400
"""Seconds that a replaced picture may stay hidden behind an old copy without a word: a day."""
_AGE: Final = re.compile(r"\b(?:s-maxage|max-age)\s*=\s*\"?(\d{1,12})", re.IGNORECASE)
_NOT_KEPT: Final = re.compile(r"\bno-(?:store|cache)\b", re.IGNORECASE)
_IMMUTABLE: Final = re.compile(r"\bimmutable\b", re.IGNORECASE)
_BY_MIME: Final = {each.mime: each for each in Format} | {"image/heif": Format.HEIC, "image/x-ms-bmp": Format.BMP}


def notices(
    source: Format,
    image: Mapping[str, Any],
    *,
    stated: tuple[str | None, str | None] = (None, None),
    no_formal_end: bool = False,
    renders_svg: bool = False,
) -> tuple[Notice, ...]:
    """What a stored output's line warns of. `stated`: `format` and `mime` of the output, as the answer says them."""
    stored = _format_of(*stated) or stored_format(source, wanted(image), renders_svg=renders_svg)
    unsafe = (Notice.NOT_WEB_SAFE,) if stored in NOT_WEB_SAFE else ()
    return (*unsafe, *((Notice.NO_FORMAL_END,) if no_formal_end else ()))


def _format_of(name: str | None, mime: str | None) -> Format | None:
    known = next((each for each in Format if each == (name or "").lower()), None)
    return known or _BY_MIME.get((mime or "").partition(";")[0].strip().lower())


def hidden_for(store: Mapping[str, Any]) -> float | None:
    """For how many seconds caches go on showing what lay at a key before, by the Cache-Control of a `store` object.

    Infinity where it says `immutable`; None where it is no more than a day, or not said.
    """
    headers = store.get("headers")
    named = headers.items() if isinstance(headers, Mapping) else ()
    control = next((str(value) for name, value in named if name.lower() == "cache-control"), "")
    if _NOT_KEPT.search(control):
        return None
    if _IMMUTABLE.search(control):
        return float("inf")
    longest = max((int(age) for age in _AGE.findall(control)), default=0)
    return longest if longest > LONGEST_HIDDEN else None


def tells_contents_apart(template: str) -> bool:
    """Whether a key template gives another key for another content."""
    return "sha1" in fields_of(template)
