"""Which image format bytes are, and whether the container is whole: its end is there, not only its beginning. Pure.

Formats are told by their content, never by a name. Whole means that the container's own structure says where it ends and that
the file reaches there; bytes behind that end (phones and editors add them) are fine. Nothing is decoded.

Sources: ITU-T T.81 annex B (JPEG), W3C PNG 5.2-5.3, RFC 9649 (WebP), GIF89a appendix A, ISO/IEC 14496-12 4.2 and 23008-12
(HEIF, AVIF), TIFF 6.0 section 2 and its 64-bit extension (BigTIFF), the BITMAPINFOHEADER and ICO layouts of Windows, SVG 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from watcher.model import Format

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, size)`: up to `size` bytes from `offset` (never negative), fewer only where the file ends."""

_HEAD: Final = 4096
_CHUNK: Final = 1 << 18
_SVG_HEAD: Final = 1 << 16
_MAX_DIRECTORIES: Final = 10_000
_MAX_VALUES: Final = 1_000_000
_MAX_STEPS: Final = 8_000_000
"""A file of a gigabyte made of the smallest sensible parts stays below; one made to keep us busy does not."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the bytes are (None: no image format we know), and what is missing of the container, in words ("": it is whole)."""

    format: Format | None
    missing: str = ""

    @property
    def whole(self) -> bool:
        """Whether it is an image and its container is complete."""
        return self.format is not None and not self.missing


class _Cut(Exception):
    """The container goes on where the file ends."""


def judge(read_at: ReadAt, size: int) -> Verdict:
    """The format of `size` bytes and whether they hold the whole container. Raises only what `read_at` raises.

    A file may become shorter meanwhile: the verdict holds only where its size is still the same afterwards.
    """
    found = sniff(read_at(0, size if size <= _SVG_HEAD else _HEAD))
    if found is None and size > _SVG_HEAD:
        found = _sniff_text(read_at(0, _SVG_HEAD))
    if found is None:
        return Verdict(None)
    try:
        _CHECKS[found](_Bytes(read_at, size))
    except _Cut as cut:
        return Verdict(found, str(cut))
    return Verdict(found)


def sniff(head: bytes) -> Format | None:
    """The format that a file beginning with `head` (at least 64 bytes, or all of it) has, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _sniff_brands(head)
    return _sniff_tiff(head) or _sniff_windows(head) or _sniff_text(head)


_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS: Final = frozenset({b"mif1", b"mif2", b"msf1"})


def _sniff_brands(head: bytes) -> Format | None:
    """The major brand decides; the general HEIF brands leave it to the compatible ones."""
    length = int.from_bytes(head[:4], "big")
    brands = [head[position : position + 4] for position in (8, *range(16, min(length, len(head)) - 3, 4))]
    relevant = brands if brands[0] in _HEIF_BRANDS else brands[:1]
    if not _AVIF_BRANDS.isdisjoint(relevant):
        return Format.AVIF
    if not _HEIC_BRANDS.isdisjoint(relevant):
        return Format.HEIC
    return None


def _sniff_tiff(head: bytes) -> Format | None:
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    return None if head[8:11] == b"CR\x02" else Format.TIFF  # Canon's raw files borrow TIFF's clothes


_BMP_HEADERS: Final = frozenset({12, 40, 52, 56, 64, 108, 124})


def _sniff_windows(head: bytes) -> Format | None:
    """BMP and ICO have weak signatures, so their next fields must make sense too."""
    if head[:2] == b"BM" and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Format.BMP
    if head[:4] == b"\0\0\1\0" and len(head) >= 22:
        count = int.from_bytes(head[4:6], "little")
        offset = int.from_bytes(head[18:22], "little")
        if 0 < count <= 1024 and head[9] == 0 and offset >= 6 + 16 * count:
            return Format.ICO
    return None


_PROLOGUE: Final = re.compile(
    r"\s*+(?>(?:<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+(?:\w+:)?svg\b[^\[>]*+(?>\[.*?\]\s*+)?>)\s*+)*+<(?:[\w.-]+:)?svg[\s/>]",
    re.DOTALL,
)
"""What may stand before the root element. Possessive, so that no text makes it slow."""


def _sniff_text(head: bytes) -> Format | None:
    text = _text(head)
    return Format.SVG if text is not None and _PROLOGUE.match(text) else None


def _text(data: bytes) -> str | None:
    """Markup as text, by its byte order mark; None where it does not begin like markup."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data[: len(data) & ~1].decode("utf-16", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    return data.decode("utf-8", "replace") if data.lstrip()[:1] == b"<" else None


class _Bytes:
    """Reads a file through a window, so that small steps cost no system call each."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        self._read_at = read_at
        self.size = size
        self._start = 0
        self._window = b""
        self._steps = 0

    def some(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes, fewer only where `size` ends; none before the beginning. Raises _Cut where bytes are gone."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _Cut("the container has too many parts to be checked")
        if not 0 <= offset < self.size:
            return b""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._window):
            self._start = offset
            self._window = self._read_at(offset, min(max(count, _HEAD), self.size - offset))
            begin = 0
            if len(self._window) < min(count, self.size - offset):
                raise _Cut("the file became shorter while it was read")
        return self._window[begin : begin + count]

    def exactly(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes; raises _Cut where they are not all there."""
        data = self.some(offset, count)
        if len(data) < count:
            raise _Cut(what)
        return data

    def reaches(self, end: int, what: str) -> None:
        """Raises _Cut where the file ends before `end`."""
        if end > self.size:
            raise _Cut(what)

    def number(self, offset: int, count: int, what: str, order: str) -> int:
        """An unsigned number of `count` bytes; `order` "<" or ">"."""
        return int.from_bytes(self.exactly(offset, count, what), "little" if order == "<" else "big")


# --- JPEG -------------------------------------------------------------------------------------------------------------------

_NO_END: Final = "the end marker (EOI) is missing"
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker within entropy-coded data: not a stuffed byte, not a restart marker."""


def _check_jpeg(data: _Bytes) -> None:
    """From the first scan on, the first EOI that is no part of a segment ends the image (T.81 B.1.1.3: coded data hold none).

    A thumbnail's EOI lies inside an APPn segment, which is stepped over.
    """
    position = _first_scan(data)
    if data.some(data.size - 2, 2) == b"\xff\xd9":
        data.reaches(position + 2, _NO_END)
        return
    while True:
        position = _next_marker(data, position)
        code = data.exactly(position + 1, 1, _NO_END)[0]
        if code == 0xD9:
            return
        position = _behind_segment(data, position)


def _first_scan(data: _Bytes) -> int:
    """Where the entropy-coded data of the first scan begin."""
    position = 2
    while True:
        position = _next_marker(data, position)
        code = data.exactly(position + 1, 1, _NO_END)[0]
        if code == 0xD9:
            raise _Cut("there is no picture before the end marker")
        if code in (0x01, 0xD8):
            position += 2
            continue
        position = _behind_segment(data, position)
        if code == 0xDA:
            return position


def _behind_segment(data: _Bytes, marker: int) -> int:
    length = data.number(marker + 2, 2, _NO_END, ">")
    end = marker + 2 + max(length, 2)
    data.reaches(end, _NO_END)
    return end


def _next_marker(data: _Bytes, position: int) -> int:
    """The position of the last 0xFF before the next marker's code."""
    while position < data.size - 1:
        at_once = data.some(position, 2)
        if at_once[0] == 0xFF and at_once[1] not in (0x00, 0xFF) and not 0xD0 <= at_once[1] <= 0xD7:
            return position
        window = data.some(position, _CHUNK)
        if match := _MARKER.search(window):
            return position + match.end() - 2
        position += max(len(window) - 1, 1)
    raise _Cut(_NO_END)


# --- PNG, GIF, WebP ---------------------------------------------------------------------------------------------------------

_IEND: Final = b"\0\0\0\0IEND\xaeB`\x82"


def _check_png(data: _Bytes) -> None:
    if data.some(data.size - len(_IEND), len(_IEND)) == _IEND:
        return
    position = 8
    while True:
        header = data.exactly(position, 8, "the IEND chunk is missing")
        position += 12 + int.from_bytes(header[:4], "big")
        data.reaches(position, "the IEND chunk is missing")
        if header[4:] == b"IEND":
            return


def _check_gif(data: _Bytes) -> None:
    missing = "the trailer is missing"
    position = _behind_color_table(data, 13, data.number(10, 1, missing, "<"))
    while True:
        kind = data.number(position, 1, missing, "<")
        if kind == 0x3B:
            return
        if kind == 0x2C:
            position = _behind_color_table(data, position + 10, data.number(position + 9, 1, missing, "<")) + 1
        elif kind == 0x21:
            position += 2
        elif kind == 0:
            position += 1  # some encoders pad between blocks, and decoders step over it
            continue
        else:
            raise _Cut("its blocks are damaged")
        while length := data.number(position, 1, missing, "<"):
            position += 1 + length
        position += 1


def _behind_color_table(data: _Bytes, position: int, flags: int) -> int:
    end = position + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    data.reaches(end, "the trailer is missing")
    return end


def _check_webp(data: _Bytes) -> None:
    data.reaches(8 + data.number(4, 4, "the RIFF size is missing", "<"), "the file is shorter than its RIFF size")


# --- AVIF, HEIC -------------------------------------------------------------------------------------------------------------


def _check_boxes(data: _Bytes) -> None:
    """Every top-level box lies within the file, and there are both a description and the coded data."""
    kinds: set[bytes] = set()
    position = 0
    while position < data.size:
        end, kind, content = _box(data, position)
        data.reaches(end, f"the box `{kind.decode('latin-1')}` goes on behind the end")
        kinds.add(kind)
        if kind == b"meta" and _holds_data(data, content + 4, end):
            kinds.add(b"mdat")
        position = end
    if not kinds & {b"meta", b"moov"} or b"mdat" not in kinds:
        raise _Cut("the boxes with the picture are missing")


def _box(data: _Bytes, position: int) -> tuple[int, bytes, int]:
    """Where a box ends, its type, and where its content begins."""
    header = data.exactly(position, 8, "a box is cut")
    length, kind = int.from_bytes(header[:4], "big"), header[4:]
    if length == 1:
        return position + max(data.number(position + 8, 8, "a box is cut", ">"), 16), kind, position + 16
    if length == 0:
        return data.size, kind, position + 8
    return position + max(length, 8), kind, position + 8


def _holds_data(data: _Bytes, position: int, end: int) -> bool:
    """Whether an `idat` box lies between the two positions: small pictures live in `meta` itself."""
    while position + 8 <= end:
        following, kind, _ = _box(data, position)
        if kind == b"idat":
            return True
        position = following
    return False


# --- TIFF -------------------------------------------------------------------------------------------------------------------

_TIFF_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_NUMBERS: Final = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_OFFSETS: Final = {273: 279, 324: 325, 513: 514}
"""Tags with offsets of strips, tiles and an old-style JPEG stream, to the tags with their byte counts."""
_SUB_DIRECTORIES: Final = 330


@dataclass(frozen=True, slots=True)
class _Tiff:
    data: _Bytes
    order: str
    big: bool

    def number(self, offset: int, count: int) -> int:
        return self.data.number(offset, count, "an image directory lies behind the end", self.order)


def _check_tiff(data: _Bytes) -> None:
    order = "<" if data.some(0, 1) == b"I" else ">"
    tiff = _Tiff(data, order, data.number(2, 2, "the header is cut", order) == 43)
    todo = [tiff.number(8, 8) if tiff.big else tiff.number(4, 4)]
    seen: set[int] = set()
    while todo and len(seen) < _MAX_DIRECTORIES:
        position = todo.pop()
        if position and position not in seen:
            seen.add(position)
            todo += _check_directory(tiff, position)
    if not seen:
        raise _Cut("there is no image directory")


def _check_directory(tiff: _Tiff, position: int) -> list[int]:
    """Raises _Cut where anything that the directory points to is not there; gives the directories that follow from it."""
    count = tiff.number(position, 8 if tiff.big else 2)
    start, step = (position + 8, 20) if tiff.big else (position + 2, 12)
    tiff.data.reaches(start + count * step, "an image directory is cut")
    values = dict(_entries(tiff, start, count, step))
    for offsets_tag, counts_tag in _OFFSETS.items():
        counts = values.get(counts_tag, ())
        for number, offset in enumerate(values.get(offsets_tag, ())):
            length = counts[number] if number < len(counts) else 1
            tiff.data.reaches(offset + length, "a strip or tile lies behind the end")
    end = start + count * step
    following = tiff.number(end, 8 if tiff.big else 4)
    return [following, *values.get(_SUB_DIRECTORIES, ())]


def _entries(tiff: _Tiff, start: int, count: int, step: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The tags whose values are offsets or counts; every value, of whatever tag, must lie within the file."""
    wanted = {*_OFFSETS, *_OFFSETS.values(), _SUB_DIRECTORIES}
    inline = 8 if tiff.big else 4
    for entry in range(start, start + count * step, step):
        tag, kind = tiff.number(entry, 2), tiff.number(entry + 2, 2)
        amount = tiff.number(entry + 4, inline)
        length = amount * _TIFF_SIZES.get(kind, 0)
        place = entry + 4 + inline if length <= inline else tiff.number(entry + 4 + inline, inline)
        tiff.data.reaches(place + length, "a value lies behind the end")
        if tag in wanted and amount <= _MAX_VALUES and (code := _TIFF_NUMBERS.get(kind)):
            raw = tiff.data.exactly(place, length, "a value lies behind the end")
            yield tag, struct.unpack(f"{tiff.order}{amount}{code}", raw)


# --- BMP, ICO, SVG ----------------------------------------------------------------------------------------------------------


def _check_bmp(data: _Bytes) -> None:
    """The size in the file header is often wrong, so the pixels are counted."""
    missing = "there are fewer pixels than the header says"
    head = data.exactly(0, 26, missing)
    start, header = struct.unpack_from("<II", head, 10)
    if header == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", head, 18)
        compression = image_size = 0
    else:
        head = data.exactly(0, 38, missing)
        width, height, _, depth, compression, image_size = struct.unpack_from("<iiHHII", head, 18)
    plain = compression in (0, 3, 6)
    data.reaches(start + ((abs(width) * depth + 31) // 32 * 4 * abs(height) if plain else image_size), missing)


def _check_ico(data: _Bytes) -> None:
    missing = "a picture of the icon lies behind the end"
    count = data.number(4, 2, missing, "<")
    for entry in range(6, 6 + 16 * count, 16):
        length, offset = struct.unpack_from("<II", data.exactly(entry, 16, missing), 8)
        data.reaches(offset + length, missing)


_NOT_CLOSED: Final = "the closing </svg> is missing"
_SVG_END: Final = re.compile(r"</(?:[\w.-]+:)?svg\s*>\s*\Z")
_CUT_ERRORS: Final = frozenset(
    expat.errors.codes[text]
    for text in (
        *(expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN),
        *(expat.errors.XML_ERROR_PARTIAL_CHAR, expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION),
    )
)


def _check_svg(data: _Bytes) -> None:
    """The root element is closed. Markup that is wrong in another way (an unknown entity or encoding) is judged by its end."""
    depth = _Depth()
    parser = expat.ParserCreate()
    parser.StartElementHandler = depth.opened
    parser.EndElementHandler = depth.closed
    parser.DefaultHandler = depth.ignored  # with it, entities are not expanded
    try:
        for position in range(0, data.size, _CHUNK):
            parser.Parse(data.some(position, _CHUNK), False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        if not depth.done and (error.code in _CUT_ERRORS or not _ends_svg(data)):
            raise _Cut(_NOT_CLOSED) from None
    except (LookupError, ValueError):  # what Python's codecs make of the encoding that the document names
        if not _ends_svg(data):
            raise _Cut(_NOT_CLOSED) from None


def _ends_svg(data: _Bytes) -> bool:
    count = min(data.size, 256)
    tail = data.some(data.size - count, count).replace(b"\0", b"")
    return _SVG_END.search(tail.decode("latin-1")) is not None


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


_CHECKS: Final[dict[Format, Callable[[_Bytes], None]]] = {
    Format.JPEG: _check_jpeg,
    Format.PNG: _check_png,
    Format.GIF: _check_gif,
    Format.WEBP: _check_webp,
    Format.AVIF: _check_boxes,
    Format.HEIC: _check_boxes,
    Format.TIFF: _check_tiff,
    Format.BMP: _check_bmp,
    Format.ICO: _check_ico,
    Format.SVG: _check_svg,
}
