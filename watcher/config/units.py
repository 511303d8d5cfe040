"""Durations ("500ms", "2s", "5m", "1h", "90d"), sizes ("32MB", "1GiB"), file modes ("0644") and colours ("#fff"). Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_FORM: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_duration(value: object) -> float:
    """Seconds of a text such as "90s" or "1.5h". ValueError where it has no known unit."""
    return _parse(value, _SECONDS, 'a duration is written like "500ms", "2s", "5m", "1h" or "90d"')


def parse_size(value: object) -> int:
    """Bytes of a text such as "32MB" (10^6) or "32MiB" (2^20). ValueError where it has no known unit."""
    return int(_parse(value, _BYTES, 'a size is written like "500KB", "32MB" or "1GiB"'))


def _parse(value: object, units: dict[str, float] | dict[str, int], form: str) -> float:
    if not isinstance(value, str):
        raise ValueError(form)  # noqa: TRY004 - pydantic reports ValueError as a problem with its place
    match = _FORM.fullmatch(value)
    if match is None or match[2] not in units:
        raise ValueError(form)
    return float(match[1]) * units[match[2]]


def parse_mode(value: object) -> int:
    """The mode in a text such as "0644". ValueError where it is none, or keeps its owner from the file."""
    if not isinstance(value, str) or re.fullmatch("0?[0-7]{3}", value) is None:
        raise ValueError('a mode is written like "0644": the rights of owner, group and others')
    mode = int(value, 8)
    if mode & 0o600 != 0o600:
        raise ValueError("the owner has to read and write")
    return mode


def _positive(value: object) -> float:
    if (seconds := parse_duration(value)) <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _positive_size(value: object) -> int:
    if (size := parse_size(value)) <= 0:
        raise ValueError("must be more than nothing")
    return size


DURATION_SCHEMA: Final = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w)\s*$"}
SIZE_SCHEMA: Final = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGT]i?)?B\s*$"}

Duration = Annotated[float, BeforeValidator(_positive), WithJsonSchema(DURATION_SCHEMA)]
"""Seconds, written with a unit; more than zero."""
DurationOrZero = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(DURATION_SCHEMA)]
"""Seconds, written with a unit; zero is allowed."""
Size = Annotated[int, BeforeValidator(_positive_size), WithJsonSchema(SIZE_SCHEMA)]
"""Bytes, written with a unit; more than zero."""


MODE_SCHEMA: Final = {"type": "string", "pattern": "^0?[67][0-7]{2}$"}

FileMode = Annotated[int, BeforeValidator(parse_mode), WithJsonSchema(MODE_SCHEMA)]
"""Rights of a file, written in octal digits."""


Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
COLOUR_FORM: Final = 'a colour is written like "#fff", "#ffffff" or "white"'
_NAMED_COLOURS: Final[dict[str, Colour]] = {
    "white": (255, 255, 255),
    "silver": (192, 192, 192),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "maroon": (128, 0, 0),
    "yellow": (255, 255, 0),
    "olive": (128, 128, 0),
    "lime": (0, 255, 0),
    "green": (0, 128, 0),
    "aqua": (0, 255, 255),
    "teal": (0, 128, 128),
    "blue": (0, 0, 255),
    "navy": (0, 0, 128),
    "fuchsia": (255, 0, 255),
    "purple": (128, 0, 128),
}
"""Those of HTML 4."""


def parse_colour(text: str) -> Colour:
    """The colour in a text such as "#fff", "#f8f8f8" or "white". ValueError where it is none."""
    if (named := _NAMED_COLOURS.get(text.lower())) is not None:
        return named
    digits = re.fullmatch(r"#([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})", text)
    if digits is None:
        raise ValueError(COLOUR_FORM)
    full = digits[1] if len(digits[1]) == 6 else "".join(each * 2 for each in digits[1])
    return int(full[:2], 16), int(full[2:4], 16), int(full[4:], 16)


def human_size(count: float) -> str:
    """A size for people: "3.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_duration(seconds: float) -> str:
    """A duration for people: "850 ms", "12.3 s", "4 min 10 s", "3 h 20 min"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
