"""Metadata out of TIFF, HEIC and AVIF files in place: what describes is overwritten, nothing moves, so no offset is wrong. Pure.

Pixels, profile, orientation and, in a TIFF, author and copyright notice stay.
"""

from __future__ import annotations

import struct
from typing import Final

from watcher.formats import heif
from watcher.formats.bounded_reading import Bytes, Cut

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_DIRECTORIES: Final = frozenset({34665, 34853, 40965})
_DESCRIBING: Final = frozenset({269, 270, 271, 272, 285, 305, 306, 316, 700, 33723, 34377, 37724, *_DIRECTORIES})
"""Document, description, camera, page name, software, date, host, XMP, IPTC, Photoshop, and the directories of Exif and GPS."""
_EMPTY_EXIF: Final = b"II*\0\x08\0\0\0" + bytes(6)
"""A structure that says nothing. Decoders refuse an item that is none."""
_MOST_DIRECTORIES: Final = 10_000


class DamagedContainer(ValueError):
    """The container is not whole, or not what it says."""


def scrub_tiff(content: bytes) -> bytes | None:
    """The TIFF without describing tags; None for a BigTIFF. Raises DamagedContainer."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return None
    out = bytearray(content)
    try:
        position: int = struct.unpack_from(order + "I", out, 4)[0]
        seen: set[int] = set()
        while position and position not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(position)
            position = _scrub_directory(out, order, position)
    except struct.error:
        raise DamagedContainer("an image directory is cut") from None
    return bytes(out)


def _scrub_directory(out: bytearray, order: str, position: int) -> int:
    """Overwrite the describing entries of a directory; the position of the next one."""
    count: int = struct.unpack_from(order + "H", out, position)[0]
    start, end = position + 2, position + 2 + 12 * count
    following: int = struct.unpack_from(order + "I", out, end)[0] if end + 4 <= len(out) else 0
    entries = [bytes(out[place : place + 12]) for place in range(start, end, 12)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] not in _DESCRIBING]
    for entry in entries:
        if entry not in kept:
            _blank(out, order, entry)
    table = struct.pack(order + "H", len(kept)) + b"".join(kept) + struct.pack(order + "I", following)
    space = 2 + 12 * count + 4
    out[position : position + space] = table.ljust(space, b"\0")[: len(out) - position]
    return following


def _blank(out: bytearray, order: str, entry: bytes) -> None:
    tag, kind, amount, place = struct.unpack(order + "HHII", entry)
    if tag in _DIRECTORIES and place + 2 <= len(out):
        inner = struct.unpack_from(order + "H", out, place)[0]
        for each in range(place + 2, min(place + 2 + 12 * inner, len(out) - 11), 12):
            below = bytes(out[each : each + 12])
            if struct.unpack_from(order + "H", below)[0] not in _DIRECTORIES:
                _blank(out, order, below)
        _zero(out, place, 2 + 12 * inner + 4)
    length = amount * _SIZES.get(kind, 0)
    if length > 4:
        _zero(out, place, length)


def _zero(out: bytearray, place: int, length: int) -> None:
    end = min(place + length, len(out))
    if 8 <= place < end:
        out[place:end] = bytes(end - place)


def scrub_heif(content: bytes, exif: bytes) -> bytes | None:
    """The HEIC or AVIF with its Exif and XMP items overwritten; `exif` (a TIFF structure) takes the place of the first Exif.

    None where they are not plain bytes of the file. Raises DamagedContainer.
    """
    try:
        found = heif.structure(Bytes(lambda offset, size: content[offset : offset + size], len(content)))
    except Cut:
        raise DamagedContainer("the boxes are damaged") from None
    out = bytearray(content)
    for item in found.items.values():
        if item.kind not in (b"Exif", b"mime", b"uri "):
            continue
        if item.inside or len(item.extents) != 1:
            return None
        (offset, length), filling = item.extents[0], b""
        if item.kind == b"Exif":
            filling, exif = bytes(4) + (exif or _EMPTY_EXIF[: max(0, length - 4)]), b""
        if len(filling) > length or offset + length > len(out):
            return None
        out[offset : offset + length] = filling.ljust(length, b"\0")
    return None if exif else bytes(out)


def with_tiff_tags(content: bytes, entries: tuple[tuple[int, bytes], ...]) -> bytes:
    """A TIFF whose first directory, written anew at the end, also has these texts."""
    order = "<" if content[:2] == b"II" else ">"
    position = struct.unpack_from(order + "I", content, 4)[0]
    count = struct.unpack_from(order + "H", content, position)[0]
    table = content[position + 2 : position + 2 + 12 * count]
    following = content[position + 2 + 12 * count : position + 6 + 12 * count]
    content += b"\0" * (len(content) % 2)
    heap, added = b"", {}
    for tag, text in entries:
        raw = text + b"\0"
        value = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(order + "I", len(content) + len(heap))
        added[tag] = struct.pack(order + "HHI", tag, 2, len(raw)) + value
        heap += raw + b"\0" * (len(raw) % 2) if len(raw) > 4 else b""
    all_entries = {
        struct.unpack_from(order + "H", table, place)[0]: table[place : place + 12] for place in range(0, len(table), 12)
    }
    all_entries.update(added)
    directory = struct.pack(order + "H", len(all_entries)) + b"".join(all_entries[tag] for tag in sorted(all_entries)) + following
    place = struct.pack(order + "I", len(content) + len(heap))
    return content[:4] + place + content[8:] + heap + directory
