"""SVG: recognised by its root element whatever stands before it, whole when the root is closed, sized as CSS says. Pure."""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from watcher.formats.bounded_reading import CHUNK, Bytes, Cut

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP: Final = b"\x1f\x8b"
BROWSERS_FONT_SIZE: Final = 16
_LONGEST_PROLOGUE: Final = 1 << 22
_LARGEST: Final = 1 << 30
_BLANK: Final = b" \t\r\n"
_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<", b"\xef\xbb\xbf", b"<", *(bytes([each]) for each in _BLANK))
_PROLOGUE: Final = re.compile(
    r"\s*+(?>(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+(?:\w+:)?svg\b[^\[>]*+(?>\[.*?\]\s*+)?>)\s*+)*+<(?:[\w.-]+:)?svg[\s/>]",
    re.DOTALL,
)
"""What may stand before the root element, where a strict parser refuses it. Possessive, so that no text makes it slow."""
_PROLOGUE_TEXT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Root:
    """The root element: its name without prefix, and its attributes."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)


class _Found(Exception):
    def __init__(self, root: Root, name: str = "", place: int = 0) -> None:
        super().__init__()
        self.root = root
        self.name = name
        self.place = place


def may_be(head: bytes) -> bool:
    """Whether a file that begins so can be an SVG at all."""
    return head.startswith((GZIP, *_MARKS))


def is_svg(data: Bytes) -> bool:
    """Whether the document's root element is `svg`."""
    root = find_root(data)
    return root is not None and root.name == "svg"


def find_root(data: Bytes) -> Root | None:
    """The root element; None where there is none within the first 4 MiB."""
    try:
        found = _find(data)
    except (expat.ExpatError, LookupError, ValueError):
        return _root_by_text(data)
    return found.root if found is not None else None


def _find(data: Bytes) -> _Found | None:
    parser = expat.ParserCreate()

    def opened(name: str, attributes: dict[str, str]) -> None:
        raise _Found(Root(name.rpartition(":")[2], attributes), name, parser.CurrentByteIndex)

    parser.StartElementHandler = opened
    try:
        _parse(parser, data, _LONGEST_PROLOGUE)
        with suppress(expat.ExpatError):  # more may follow, and need not be well-formed
            parser.Parse(b"", True)  # Expat keeps long comments back, and what follows them in the same bytes
    except _Found as found:
        return found
    return None


@dataclass(frozen=True, slots=True)
class Start:
    """Where the root element begins, its name as written, and how its letters are coded."""

    root: Root
    name: str
    place: int
    codec: str


def find_start(text: bytes) -> Start | None:
    """The root element's place in a document that is not packed; None where it cannot be told."""
    try:
        found = _find(Bytes(lambda offset, size: text[offset : offset + size], len(text)))
    except (Cut, expat.ExpatError, LookupError, ValueError):
        return None
    if found is None:
        return None
    codec = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(text[:2], "latin-1")
    opening = f"<{found.name}".encode(codec if codec != "latin-1" else "utf-8")
    if text[found.place : found.place + len(opening)] != opening:
        return None  # an encoding in which letters are something else
    return Start(found.root, opening[1:].decode("latin-1") if codec == "latin-1" else found.name, found.place, codec)


def _root_by_text(data: Bytes) -> Root | None:
    head = b"".join(_pieces(data, _PROLOGUE_TEXT))
    text = _text(head[:_PROLOGUE_TEXT])
    return Root("svg") if text is not None and _PROLOGUE.match(text) else None


def _text(data: bytes) -> str | None:
    """Markup as text, by its byte order mark; None where it does not begin like markup."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data[: len(data) & ~1].decode("utf-16", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.decode("utf-8", "replace") if data.lstrip()[:1] == b"<" else None


def _parse(parser: expat.XMLParserType, data: Bytes, limit: int) -> None:
    for piece in _pieces(data, limit):
        parser.Parse(piece, False)


def _pieces(data: Bytes, limit: int) -> Iterator[bytes]:
    """The document's bytes, unpacked where it is gzipped, until `limit` is reached."""
    unpacker = zlib.decompressobj(31) if data.some(0, 2) == GZIP else None
    given = 0
    for position in range(0, data.size, CHUNK):
        packed = data.some(position, CHUNK)
        for piece in _unpacked(packed, unpacker) if unpacker else (packed,):
            yield piece
            given += len(piece)
        if given >= limit or (unpacker and unpacker.eof):
            return
    if unpacker and not unpacker.eof:
        raise Cut("the compressed SVG goes on behind the end")


def _unpacked(packed: bytes, unpacker: zlib._Decompress) -> Iterator[bytes]:
    while packed and not unpacker.eof:
        try:
            yield unpacker.decompress(packed, CHUNK)
        except zlib.error:
            raise Cut("the compressed SVG is damaged") from None
        packed = unpacker.unconsumed_tail


# --- wholeness --------------------------------------------------------------------------------------------------------------

_NOT_CLOSED: Final = "the closing </svg> is missing"
_SVG_END: Final = re.compile(r"</(?:[\w.-]+:)?svg\s*>\s*(?:<!--(?:[^-]|-[^-])*-->\s*)*\Z")
_CUT_ERRORS: Final = frozenset(
    expat.errors.codes[text]
    for text in (
        *(expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN),
        *(expat.errors.XML_ERROR_PARTIAL_CHAR, expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION),
    )
)


def check(data: Bytes) -> None:
    """The root element is closed. Markup that is wrong in another way (an unknown entity or encoding) is judged by its end."""
    depth = _Depth()
    parser = expat.ParserCreate()
    parser.StartElementHandler = depth.opened
    parser.EndElementHandler = depth.closed
    parser.DefaultHandler = depth.ignored  # with it, entities are not expanded
    try:
        _parse(parser, data, _LARGEST)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if not depth.done and (error.code in _CUT_ERRORS or not _ends_svg(data)):
            raise Cut(_NOT_CLOSED) from None
    except (LookupError, ValueError):  # what Python's codecs make of the encoding that the document names
        if not _ends_svg(data):
            raise Cut(_NOT_CLOSED) from None


def _ends_svg(data: Bytes) -> bool:
    tail = b""
    for piece in _pieces(data, _LARGEST):
        tail = (tail + piece)[-1024:]
    return _SVG_END.search(tail.replace(b"\0", b"").decode("latin-1")) is not None


class _Depth:
    """Follows the elements of a document; `done` once the root is closed."""

    def __init__(self) -> None:
        self._depth = 0
        self.done = False

    def opened(self, _name: str, _attributes: object) -> None:
        self._depth += 1

    def closed(self, _name: str) -> None:
        self._depth -= 1
        self.done = self.done or self._depth == 0

    def ignored(self, _text: str) -> None:
        """Text, comments and entities tell nothing."""


# --- size -------------------------------------------------------------------------------------------------------------------

_PIXELS: Final = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6}
_FONT_SIZES: Final = {"em": 1.0, "rem": 1.0, "ex": 0.5, "ch": 0.5}
_LENGTH: Final = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(px|pt|pc|in|cm|mm|q|em|rem|ex|ch|)\s*\Z", re.IGNORECASE
)
_FONT_LENGTH: Final = re.compile(_LENGTH.pattern.replace("|ch|)", "|ch|%|)"), re.IGNORECASE)
_FONT_PROPERTY: Final = re.compile(r"(?:^|;)\s*font-size\s*:\s*([^;!]+)", re.IGNORECASE)
_FONT_SHORTHAND: Final = re.compile(r"(?:^|;)\s*font\s*:[^;]*?(?<=[\s:])([\d.]+(?:[a-z]+|%))(?:\s*/|\s)", re.IGNORECASE)
_FONT_WORDS: Final = {
    "xx-small": 9.0,
    "x-small": 10.0,
    "small": 13.0,
    "medium": float(BROWSERS_FONT_SIZE),
    "large": 18.0,
    "x-large": 24.0,
    "xx-large": 32.0,
    "xxx-large": 48.0,
    "larger": BROWSERS_FONT_SIZE * 1.2,
    "smaller": BROWSERS_FONT_SIZE / 1.2,
}
"""Absolute sizes in browsers, in pixels."""
_NUMBERS: Final = re.compile(r"[\s,]+")


def size(data: Bytes) -> tuple[int, int] | None:
    """Width and height in CSS pixels, 96 an inch; a side that is not given follows from the view box. None where none says it."""
    root = find_root(data)
    if root is None:
        return None
    width, height = side(root, "width"), side(root, "height")
    box = _view_box(root)
    if box is not None:
        if width is None and height is None:
            width, height = box
        elif width is None and height is not None:
            width = height * box[0] / box[1]
        elif height is None and width is not None:
            height = width * box[1] / box[0]
    if width is None or height is None:
        return None
    return max(1, _rounded(width)), max(1, _rounded(height))


def unsupported(data: Bytes) -> str:
    """Says that an SVG has no area, where a side of its root has no pixel; empty for all others."""
    root = find_root(data) or Root("")
    for name in ("width", "height"):
        match = _LENGTH.match(root.attributes.get(name, ""))
        if match is not None and float(match[1]) >= 0 and _rounded(float(match[1]) * (_unit(root, match[2].lower()) or 1.0)) == 0:
            return "an SVG whose width or height is 0: give it a size or leave both out"
    return ""


def _rounded(length: float) -> int:
    return int(length + 0.5)


def side(root: Root, name: str) -> float | None:
    """A side in pixels; None where it is not said, depends on where the picture is put, or cannot be worked out."""
    match = _LENGTH.match(root.attributes.get(name, ""))
    length = float(match[1]) * (_unit(root, match[2].lower()) or 0.0) if match else 0.0
    return length if 0 < length < 1e9 else None


def _unit(root: Root, unit: str) -> float | None:
    """Pixels of a unit; None where a font size would have to be known that is not."""
    if unit not in _FONT_SIZES:
        return _PIXELS[unit]
    own = font_size(root)
    return None if own is None else _FONT_SIZES[unit] * own


def font_size(root: Root) -> float | None:
    """The font size of the root in pixels: that of browsers, or its own; None where that cannot be worked out."""
    style = root.attributes.get("style", "")
    own = _FONT_PROPERTY.search(style) or _FONT_SHORTHAND.search(style)
    text = (own[1] if own else root.attributes.get("font-size", "medium")).strip().lower()
    if text in _FONT_WORDS:
        return _FONT_WORDS[text]
    match = _FONT_LENGTH.match(text)
    if match is None:
        return None
    unit = match[2]
    factor = BROWSERS_FONT_SIZE / 100 if unit == "%" else _PIXELS.get(unit) or _FONT_SIZES[unit] * BROWSERS_FONT_SIZE
    return float(match[1]) * factor


def has_view_box(root: Root) -> bool:
    """Whether the root says which part of the drawing is shown."""
    return _view_box(root) is not None


def _view_box(root: Root) -> tuple[float, float] | None:
    try:
        _, _, width, height = (float(each) for each in _NUMBERS.split(root.attributes.get("viewBox", "").strip()))
    except ValueError:
        return None
    return (width, height) if 0 < width < 1e9 and 0 < height < 1e9 else None
