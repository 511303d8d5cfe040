"""Lengths of an SVG as CSS has them, put into pixels where a renderer knows no such unit. Pure.

Renderers leave out what they cannot measure (`rem`, `Q`, `vw`), and one that does not know the font size gets `em` wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import Bytes
from watcher.formats.svg import BROWSERS_FONT_SIZE, find_start, font_size, has_view_box, side, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.formats.svg import Root

_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_UNKNOWN: Final = r"(?i:rem|q|vw|vh|vmin|vmax)"
_HINT: Final = re.compile(rb"\d\.?\0?(?:rem|q|vw|vh|vmin|vmax)\s*[\"';}!]", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(rf"""(\s[\w:-]+\s*=\s*["']\s*)({_NUMBER})({_UNKNOWN})(?=\s*["'])""")
_STYLES: Final = re.compile(r"""\sstyle\s*=\s*(?:"[^"]*"|'[^']*')|<(?:\w+:)?style\b[^>]*>.*?</(?:\w+:)?style\s*>""", re.DOTALL)
_PROPERTY: Final = re.compile(rf"""(:\s*)({_NUMBER})({_UNKNOWN})(?=\s*["';}}!])""")
_SIDE: Final = re.compile(r"""\s(width|height)\s*=\s*("[^"]*"|'[^']*')""")
_START_TAG: Final = re.compile(r"""(?:[^"'>]|"[^"]*"|'[^']*')*""")
_NATIVE: Final = re.compile(rf"\s*{_NUMBER}(?:px|pt|pc|in|cm|mm|%|)\s*\Z", re.IGNORECASE)
_MEASURES: Final = rb"(?:x|y|width|height|r|rx|ry|cx|cy|[xy][12]|stroke-width|font-size)"
_CALCULATED: Final = re.compile(
    rb"""(?:\s%(measures)s\s*=\s*["']|["';{]\s*%(measures)s\s*:)\s*(?:calc|min|max|clamp)\(""" % {b"measures": _MEASURES},
    re.IGNORECASE,
)
_RELATIVE: Final = re.compile(
    rb"<(?:\w+:)?(?:rect|circle|ellipse|line|image|use|svg|text|foreignObject)\s(?:[^>]*\s)?"
    rb"(?:x|y|width|height|rx?|ry|cx|cy|[xy][12])\s*=\s*[\"']\s*[\d.]+%"
)
"""A shape that is measured by the picture's size."""
BROWSERS_SIDES: Final = {"width": 300, "height": 150}
"""Of a picture that says none."""
_MOST_TAG: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Scale:
    """Pixels of the units that renderers do not know."""

    units: dict[str, float]

    def pixels(self, match: re.Match[str]) -> str:
        factor = self.units.get(match[3].lower())
        return match[0] if factor is None else f"{match[1]}{float(match[2]) * factor:.6g}px"


def has_calculated(text: bytes) -> bool:
    """Whether a length is an expression (`calc(10px + 1em)`), which no renderer of files works out."""
    return b"(" in text and _CALCULATED.search(text.replace(b"\0", b"")) is not None


def in_pixels(text: bytes) -> bytes:
    """The document (not packed) with its size in pixels, the font size that browsers begin with, and no length in units that
    renderers do not know."""
    start = find_start(text)
    if start is None:
        return text
    codec, place, name, root = start.codec, start.place, start.name, start.root
    unit = 2 if codec.startswith("utf-16") else 1
    rest = text[place : place + unit * _MOST_TAG].decode(codec, "surrogatepass")
    end = _START_TAG.match(rest)
    tag = rest[: end.end()] if end is not None else rest
    behind = place + len(tag.encode(codec, "surrogatepass"))
    sized = _SIDE.sub(lambda match: _side(match, root), tag)
    if size(_bytes(text)) is None and not has_view_box(root) and _RELATIVE.search(text[behind:].replace(b"\0", b"")):
        sized = _SIDE.sub("", sized)
        sides = (f'{each}="{side(root, each) or usual:.6g}px"' for each, usual in BROWSERS_SIDES.items())
        opening = len(f"<{name}")
        sized = f"{sized[:opening]} {' '.join(sides)}{sized[opening:]}"
    if "font-size" not in root.attributes:
        opening = len(f"<{name}")
        sized = f'{sized[:opening]} font-size="{BROWSERS_FONT_SIZE}px"{sized[opening:]}'
    whole = text[:place] + sized.encode(codec, "surrogatepass") + text[behind:]
    return _without_unknown(whole, codec, _scale(text, root)) if _HINT.search(whole.replace(b"\0", b"")) else whole


def _side(match: re.Match[str], root: Root) -> str:
    """A side of the root: kept where every renderer understands it, in pixels where it can be worked out, else left to the view
    box, as browsers do with what they do not understand."""
    if _NATIVE.match(match[2][1:-1]):
        return match[0]
    length = side(root, match[1])
    if length is not None:
        return f' {match[1]}="{length:.6g}px"'
    return match[0] if re.search(r"\d(?:em|ex|ch)\s*.\Z", match[2], re.IGNORECASE) else ""


def _bytes(text: bytes) -> Bytes:
    return Bytes(lambda offset, count: text[offset : offset + count], len(text))


def _scale(text: bytes, root: Root) -> _Scale:
    own = font_size(root)
    units = {"q": 96 / 101.6}
    if own is not None:
        units["rem"] = own
    if (canvas := size(_bytes(text))) is not None:
        width, height = canvas[0] / 100, canvas[1] / 100
        units.update(vw=width, vh=height, vmin=min(width, height), vmax=max(width, height))
    return _Scale(units)


def _without_unknown(text: bytes, codec: str, scale: _Scale) -> bytes:
    plain: Callable[[re.Match[str]], str] = scale.pixels
    decoded = text.decode(codec, "surrogatepass")
    decoded = _STYLES.sub(lambda match: _PROPERTY.sub(plain, match[0]), decoded)
    return _ATTRIBUTE.sub(plain, decoded).encode(codec, "surrogatepass")
