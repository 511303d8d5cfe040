"""JPEG (ITU-T T.81 annex B): wholeness, size and kinds that cannot be read. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import CHUNK, Cut, NoFormalEnd
from watcher.formats.exif import orientation, upright
from watcher.formats.huffman import end_of_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.formats.bounded_reading import Bytes

_NO_END: Final = "the end marker (EOI) is missing"
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker within entropy-coded data: not a stuffed byte, not a restart marker."""
_NO_MARKERS: Final = frozenset({0x00, 0xFF, *range(0xD0, 0xD8)})
"""What may follow 0xFF within entropy-coded data."""
_EOI, _SOS, _SOI, _TEM, _APP1 = 0xD9, 0xDA, 0xD8, 0x01, 0xE1
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_HUFFMAN_FRAMES: Final = frozenset({0xC0, 0xC1})
_JPEG_LS: Final = 0xF7
_LOSSLESS: Final = frozenset({0xC3, 0xCB})
_HIERARCHICAL: Final = frozenset({0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF})
_EXPORT: Final = "save it as an ordinary JPEG with 8 bits a colour"
_MOST_SCANNED: Final = 64_000_000


def check(data: Bytes) -> None:
    """From the first scan on, the first EOI that is no part of a segment ends the image (T.81 B.1.1.3: coded data hold none).

    A thumbnail's EOI lies inside an APPn segment, which is stepped over. Raises NoFormalEnd where there is no EOI and yet every
    block of a baseline picture.
    """
    position = _first_scan(data)
    if data.some(data.size - 2, 2) == b"\xff\xd9":
        data.reaches(position + 2, _NO_END)
        return
    try:
        while True:
            position = _next_marker(data, position)
            head = data.some(position, 4)
            if head[1] == _EOI:
                return
            position = _behind_segment(data, position, head)
    except Cut as cut:
        if str(cut) == _NO_END and end_of_pixels(data) is not None:
            raise NoFormalEnd(_NO_END) from None
        raise


def end_of_pixels(data: Bytes) -> int | None:
    """Where the one scan of a baseline picture ends, if all its blocks are there; None also for progressive ones."""
    tables, frame, kind = [], b"", 0
    restart = 0
    for code, start, length in _segments(data):
        if code == 0xC4:
            tables.append(data.some(start, length))
        elif code in _FRAMES:
            kind, frame = code, data.some(start, length)
        elif code == 0xDD:
            restart = int.from_bytes(data.some(start, 2), "big")
        elif code == _SOS and kind in _HUFFMAN_FRAMES:
            coded = data.some(start + length, min(data.size - start - length, _MOST_SCANNED))
            end = end_of_blocks(frame, tables, data.some(start, length), restart, coded)
            return None if end is None else start + length + end
    return None


def _segments(data: Bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and length of the content of every segment up to the first scan's header."""
    position = 2
    while True:
        head = data.some(position, 4)
        if not _begins_with_marker(head):
            position = _next_marker(data, position)
            head = data.some(position, 4)
        code = head[1]
        if code == _EOI:
            raise Cut("there is no picture before the end marker")
        if code in (_TEM, _SOI):
            position += 2
            continue
        end = _behind_segment(data, position, head)
        yield code, position + 4, end - position - 4
        if code == _SOS:
            return
        position = end


def _first_scan(data: Bytes) -> int:
    """Where the entropy-coded data of the first scan begin."""
    return max(start + length for _, start, length in _segments(data))


def _behind_segment(data: Bytes, marker: int, head: bytes) -> int:
    """Where the segment of a marker ends; `head` is the marker and its length. Raises Cut where the file ends before."""
    if len(head) < 4:
        raise Cut(_NO_END)
    end = marker + 2 + max(head[2] << 8 | head[3], 2)
    data.reaches(end, _NO_END)
    return end


def _begins_with_marker(data: bytes) -> bool:
    return len(data) > 1 and data[0] == 0xFF and data[1] not in _NO_MARKERS


def _next_marker(data: Bytes, position: int) -> int:
    """The position of the last 0xFF before the next marker's code."""
    while position < data.size - 1:
        if _begins_with_marker(data.some(position, 2)):
            return position
        window = data.some(position, CHUNK)
        if match := _MARKER.search(window):
            return position + match.end() - 2
        position += max(len(window) - 1, 1)
    raise Cut(_NO_END)


def unsupported(data: Bytes) -> str:
    """Says of a kind of JPEG that ordinary decoders do not read which it is; empty for all others."""
    for code, start, _ in _segments(data):
        if code == _JPEG_LS:
            return f"a JPEG-LS picture: {_EXPORT}"
        if code in _FRAMES:
            return _unsupported_frame(code, data.number(start, 1, _NO_END, ">"))
    return ""


def _unsupported_frame(code: int, precision: int) -> str:
    if code in _LOSSLESS:
        return f"a lossless JPEG: {_EXPORT}"
    if code in _HIERARCHICAL:
        return f"a hierarchical JPEG: {_EXPORT}"
    return f"a JPEG with {precision} bits a colour: {_EXPORT}" if precision != 8 else ""


def size(data: Bytes) -> tuple[int, int] | None:
    """Width and height as they are looked at; None where only the end of the scan would tell the height."""
    turned = None
    for code, start, length in _segments(data):
        if code == _APP1 and turned is None and data.some(start, 6) == b"Exif\0\0":
            turned = orientation(data.some(start, length))
        if code in _FRAMES:
            height, width = data.number(start + 1, 2, _NO_END, ">"), data.number(start + 3, 2, _NO_END, ">")
            return upright(width, height, turned or 1) if height else None
    return None
