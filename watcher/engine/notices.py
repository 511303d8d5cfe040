"""Author and copyright notice where they stand outside of Exif: in XMP, IPTC and the texts of a PNG. Pure.

What is found becomes Exif's two tags, in UTF-8. Exif's own go before them.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from watcher.engine.rights import ARTIST, COPYRIGHT, LONGEST
from watcher.formats import png

if TYPE_CHECKING:
    from watcher.engine.rights import Rights
    from watcher.formats.bounded_reading import Bytes

MOST_XMP: Final = 1 << 20
_DC: Final = "http://purl.org/dc/elements/1.1/ "
_TIFF: Final = "http://ns.adobe.com/tiff/1.0/ "
_IN_XMP: Final = {
    f"{_DC}rights": COPYRIGHT,
    f"{_TIFF}Copyright": COPYRIGHT,
    f"{_DC}creator": ARTIST,
    f"{_TIFF}Artist": ARTIST,
}
_IN_PNG: Final = {b"copyright": COPYRIGHT, b"author": ARTIST}
_IN_IPTC: Final = {116: COPYRIGHT, 80: ARTIST}
_IPTC_MARK: Final = b"\x1c\x02"


def merged(*found: Rights) -> Rights:
    """Each of the two as the first that has it says it."""
    both: dict[int, bytes] = {}
    for rights in found:
        for tag, text in rights:
            both.setdefault(tag, text)
    return tuple(sorted(both.items()))


def _rights(found: dict[int, list[str]]) -> Rights:
    texts = ((tag, "; ".join(dict.fromkeys(each.strip() for each in said if each.strip()))) for tag, said in found.items())
    return tuple(sorted((tag, _cut(text)) for tag, text in texts if text))


def _cut(text: str) -> bytes:
    return text.replace("\0", "").encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore").encode()


def from_xmp(packet: bytes) -> Rights:
    """What an XMP packet says; nothing where it is damaged or larger than 1 MiB."""
    if not packet or len(packet) > MOST_XMP:
        return ()
    reader = _XmpReader()
    with suppress(expat.ExpatError, LookupError, ValueError):  # what was read until there counts
        reader.read(packet.rstrip(b"\0"))
    return _rights(reader.found)


class _XmpReader:
    """Gathers the texts within the elements that are looked for, and their short form as attributes."""

    def __init__(self) -> None:
        self.found: dict[int, list[str]] = {}
        self._inside: int | None = None
        self._depth = 0
        self._text = ""
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._opened
        self._parser.EndElementHandler = self._closed
        self._parser.CharacterDataHandler = self._read
        self._parser.DefaultHandler = self._ignored  # with it, entities are not expanded

    def read(self, packet: bytes) -> None:
        """Raises ExpatError where the packet is damaged."""
        self._parser.Parse(packet, True)

    def _opened(self, name: str, attributes: dict[str, str]) -> None:
        for attribute, value in attributes.items():
            if attribute in _IN_XMP:
                self.found.setdefault(_IN_XMP[attribute], []).append(value)
        if self._inside is not None:
            self._depth += 1
            self._text = ""
        elif name in _IN_XMP:
            self._inside, self._depth, self._text = _IN_XMP[name], 0, ""

    def _closed(self, _name: str) -> None:
        if self._inside is None:
            return
        self.found.setdefault(self._inside, []).append(self._text)
        self._text = ""
        if self._depth == 0:
            self._inside = None
        self._depth -= 1

    def _read(self, text: str) -> None:
        self._text += text

    def _ignored(self, _text: str) -> None:
        """Comments, processing instructions and entities tell nothing."""


def from_png(data: Bytes) -> Rights:
    """What the texts of a PNG say, whether packed or not, before the pixels or behind them."""
    found: dict[int, list[str]] = {}
    for kind, start, length in png.chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        content = data.some(start, min(length, MOST_XMP))
        keyword, _, rest = content.partition(b"\0")
        if (tag := _IN_PNG.get(keyword.lower())) is not None:
            found.setdefault(tag, []).append(_png_text(kind, rest))
    return _rights(found)


def _png_text(kind: bytes, content: bytes) -> str:
    if kind == b"tEXt":
        return content.decode("latin-1")
    if kind == b"zTXt":
        return _unpacked(content[1:]).decode("latin-1")
    packed, content = content[:1] == b"\1", content[2:]
    text = content.split(b"\0", 2)[-1]
    return (_unpacked(text) if packed else text).decode("utf-8", "replace")


def _unpacked(content: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(content, LONGEST)
    except zlib.error:
        return b""


def from_iptc(block: bytes) -> Rights:
    """What IPTC's records say; with Photoshop's wrapping or without."""
    found: dict[int, list[str]] = {}
    place = block.find(_IPTC_MARK)
    while place >= 0 and place + 5 <= len(block) and block[place : place + 2] == _IPTC_MARK:
        number, length = struct.unpack_from(">BH", block, place + 2)
        text = block[place + 5 : place + 5 + length]
        if number in _IN_IPTC:
            found.setdefault(_IN_IPTC[number], []).append(_iptc_text(text))
        place += 5 + length
    return _rights(found)


def _iptc_text(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
