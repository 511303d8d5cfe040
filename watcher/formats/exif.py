"""What an Exif block says of orientation. Pure."""

from __future__ import annotations

import struct
from typing import Final

UPRIGHT: Final = 1
_PREFIX: Final = b"Exif\0\0"
_ORIENTATION: Final = 274
_NUMBERS: Final = {3: "H", 4: "I"}
"""The types that programs write it in; SHORT is the right one."""
_MOST_ENTRIES: Final = 1_000


def orientation(block: bytes) -> int:
    """The orientation, 1 to 8, in an Exif block (with or without its prefix); 1 where it says none that is valid."""
    block = block.removeprefix(_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return UPRIGHT
    start: int = struct.unpack_from(order + "I", block, 4)[0]
    if start + 2 > len(block):
        return UPRIGHT
    count = min(struct.unpack_from(order + "H", block, start)[0], _MOST_ENTRIES)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", block, entry)
        if tag == _ORIENTATION and kind in _NUMBERS:
            value: int = struct.unpack_from(order + _NUMBERS[kind], block, entry + 8)[0]
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def upright(width: int, height: int, turned: int) -> tuple[int, int]:
    """The size as it is looked at: orientations 5 to 8 lie on their side."""
    return (height, width) if turned >= 5 else (width, height)
