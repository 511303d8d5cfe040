"""Author and copyright notice: out of an Exif block and into one, byte for byte. Pure.

Rights information must not be lost (17 USC 1202, section 95c UrhG), so its bytes are carried as they are, in whatever letters.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmap import mmap

Rights = tuple[tuple[int, bytes], ...]
"""Exif tags and the bytes of their texts, without the last zero."""

ARTIST: Final = 315
COPYRIGHT: Final = 33432
PREFIX: Final = b"Exif\0\0"
_TEXTS: Final = frozenset({1, 2, 7, 129})
_MOST_ENTRIES: Final = 1_000
LONGEST: Final = 16_384


def read_rights(block: bytes | mmap) -> Rights:
    """What an Exif block (with or without its prefix) says of author and copyright."""
    place = block[:32].find(PREFIX)
    block = block[place + len(PREFIX) :] if 0 <= place <= 16 else block
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return ()
    start: int = struct.unpack_from(order + "I", block, 4)[0]
    count = struct.unpack_from(order + "H", block, start)[0] if start + 2 <= len(block) else 0
    places = range(start + 2, min(start + 2 + 12 * min(count, _MOST_ENTRIES), len(block) - 11), 12)
    found = (_text(block, place, order) for place in places)
    return tuple(sorted(each for each in found if each is not None))


def _text(block: bytes | mmap, place: int, order: str) -> tuple[int, bytes] | None:
    tag, kind, length = struct.unpack_from(order + "HHI", block, place)
    if tag not in (ARTIST, COPYRIGHT) or kind not in _TEXTS:
        return None
    offset = place + 8 if length <= 4 else struct.unpack_from(order + "I", block, place + 8)[0]
    text = block[offset : offset + min(length, LONGEST)].rstrip(b"\0 ")
    return (tag, text) if text.strip(b"\0 ") else None


def exif_block(rights: Rights, orientation: int = 1) -> bytes:
    """A TIFF structure (without a prefix) that holds nothing but these; empty where there is nothing to say."""
    entries = [(tag, 2, text + b"\0") for tag, text in rights]
    if orientation != 1:
        entries.append((274, 3, struct.pack("<HH", orientation, 0)))
    if not entries:
        return b""
    heap, table = b"", b""
    start = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, content in sorted(entries):
        table += struct.pack("<HHI", tag, kind, 1 if kind == 3 else len(content))
        if len(content) <= 4:
            table += content.ljust(4, b"\0")
        else:
            table += struct.pack("<I", start + len(heap))
            heap += content + b"\0" * (len(content) % 2)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + bytes(4) + heap
