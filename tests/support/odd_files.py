"""Builders of files that no ordinary encoder writes: TIFF directories, ICC profiles, PNG chunks, icons. Deterministic."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_CODES: Final = {BYTE: "B", SHORT: "H", LONG: "I"}
_LENGTHS: Final = {BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1}

Value = tuple[int, "Sequence[int] | bytes"]


@dataclass
class Page:
    """A directory of a TIFF: tags (tag -> type and values), the strips' bytes, and directories below it."""

    tags: dict[int, Value]
    strips: list[bytes] = field(default_factory=list)
    below: list[Page] = field(default_factory=list)


def rgb_page(picture: Image.Image, tags: Mapping[int, Value] | None = None, below: list[Page] | None = None) -> Page:
    """A picture as one uncompressed strip of 8-bit RGB."""
    return page(picture.size, (8, 8, 8), 2, picture.convert("RGB").tobytes(), tags, below)


def page(
    size: tuple[int, int],
    bits: Sequence[int],
    photometric: int,
    content: bytes,
    tags: Mapping[int, Value] | None = None,
    below: list[Page] | None = None,
) -> Page:
    """A directory with one uncompressed strip."""
    width, height = size
    own: dict[int, Value] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, list(bits)),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [len(bits)]),
        278: (LONG, [height]),
        **(tags or {}),
    }
    return Page(own, [content], below or [])


def tiff(*pages: Page, order: str = "<") -> bytes:
    """A TIFF of these pages. The position of the next directory is the last thing in the file."""
    return _Writer(order).file(pages)


class _Writer:
    def __init__(self, order: str) -> None:
        self._order = order
        self._out = bytearray(struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0))

    def file(self, pages: Sequence[Page]) -> bytes:
        link = 4
        for each in pages:
            position, following = self._directory(each)
            struct.pack_into(self._order + "I", self._out, link, position)
            link = following
        return bytes(self._out)

    def _put(self, content: bytes) -> int:
        self._out += b"\0" * (len(self._out) % 2)
        self._out += content
        return len(self._out) - len(content)

    def _directory(self, written: Page) -> tuple[int, int]:
        tags = dict(written.tags)
        if written.strips:
            tags[273] = (LONG, [self._put(strip) for strip in written.strips])
            tags.setdefault(279, (LONG, [len(strip) for strip in written.strips]))
        if written.below:
            tags[330] = (LONG, [self._directory(each)[0] for each in written.below])
        entries = b"".join(self._entry(tag, *tags[tag]) for tag in sorted(tags))
        position = self._put(struct.pack(self._order + "H", len(tags)) + entries + bytes(4))
        return position, len(self._out) - 4

    def _entry(self, tag: int, kind: int, values: Sequence[int] | bytes) -> bytes:
        raw = bytes(values) if isinstance(values, bytes) else struct.pack(f"{self._order}{len(values)}{_CODES[kind]}", *values)
        head = struct.pack(self._order + "HHI", tag, kind, len(raw) // _LENGTHS[kind])
        if len(raw) <= 4:
            return head + raw.ljust(4, b"\0")
        return head + struct.pack(self._order + "I", self._put(raw))


PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunks(png: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with whole chunks put in before the first one of a kind."""
    place = png.index(before) - 4
    return png[:place] + b"".join(chunks) + png[place:]


def cgbi_png(size: tuple[int, int] = (60, 40)) -> bytes:
    """A PNG as Xcode writes it into app bundles."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = b"".join(b"\0" + b"\x10\x20\x30\xff" * size[0] for _ in range(size[1]))
    header = struct.pack(">IIBBBBB", *size, 8, 6, 0, 0, 0)
    parts = ((b"CgBI", b"\x50\0\x20\x02"), (b"IHDR", header), (b"IDAT", packer.compress(rows) + packer.flush()), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(chunk(*part) for part in parts)


def icon(*pictures: tuple[int, bytes]) -> bytes:
    """An ICO of square pictures: side, and bytes of a PNG."""
    place, entries, bodies = 6 + 16 * len(pictures), b"", b""
    for side, content in pictures:
        entries += struct.pack("<BBBBHHII", side % 256, side % 256, 0, 0, 1, 32, len(content), place + len(bodies))
        bodies += content
    return struct.pack("<HHH", 0, 1, len(pictures)) + entries + bodies


# --- ICC profiles: XYZ columns for D50 --------------------------------------------------------------------------------------

Matrix = tuple[tuple[float, float, float], ...]
DISPLAY_P3: Final[Matrix] = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
SRGB: Final[Matrix] = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
ADOBE_RGB: Final[Matrix] = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_D50: Final = (0.9642, 1.0, 0.82491)


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65_536)) for number in numbers)


def srgb_curve() -> bytes:
    """The transfer function of sRGB, as a parametric curve."""
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def gamma_curve(gamma: float) -> bytes:
    """A plain power."""
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def icc_profile(name: str, columns: Matrix | None, curve: bytes) -> bytes:
    """A display profile of that name; a grey one without `columns`."""
    text = name.encode("utf-16-be")
    label = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
    tags = [(b"desc", label), (b"cprt", label), (b"wtpt", b"XYZ \0\0\0\0" + _fixed(*_D50))]
    if columns is None:
        tags.append((b"kTRC", curve))
    else:
        tags += [
            (letter + b"XYZ", b"XYZ \0\0\0\0" + _fixed(*column))
            for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)
        ]
        tags += [(letter + b"TRC", curve) for letter in (b"r", b"g", b"b")]
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags:
        padded = content + b"\0" * (-len(content) % 4)
        table += tag + struct.pack(">II", place + len(body), len(content))
        body += padded
    space = b"GRAY" if columns is None else b"RGB "
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x04300000, b"mntr", space, b"XYZ ").ljust(36, b"\0") + b"acsp"
    return head.ljust(68, b"\0") + _fixed(*_D50).ljust(60, b"\0") + struct.pack(">I", len(tags)) + table + body
