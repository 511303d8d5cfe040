"""BMP and ICO, by the BITMAPINFOHEADER and icon layouts of Windows: recognition, wholeness and size. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.formats.bounded_reading import Bytes

_FEW_PIXELS: Final = "there are fewer pixels than the header says"
_CORE: Final = 12
_BMP_HEADERS: Final = frozenset({_CORE, *range(16, 65, 4), 108, 124})
"""Core, OS/2 2.x (which may be cut short) and Windows 3, 4, 5."""
_PLAIN: Final = (0, 3, 6)
_MASKED_HEADERS: Final = frozenset({40, 52, 56, 108, 124})
_ALPHA_MASKED: Final = 6
_MASKED: Final = (3, _ALPHA_MASKED)
_MASKS: Final = 54
_WITH_ALPHA: Final = 56
"""A header of so many bytes or more has a mask for alpha."""
_FILE_HEADER: Final = 14
_VERSION_5: Final = 124
_COLOUR_SPACE, _PROFILE = 70, 126
_EMBEDDED: Final = b"DEBM"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ICON_ENTRY: Final = 16


def sniff(head: bytes) -> Format | None:
    """BMP and ICO have weak signatures, so their next fields must make sense too."""
    if head[:2] == b"BM" and len(head) >= 18 and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Format.BMP
    if head[:4] == b"\0\0\1\0" and len(head) >= 22:
        count = int.from_bytes(head[4:6], "little")
        length, offset = struct.unpack_from("<II", head, 14)
        if 0 < count <= 1024 and length > _CORE and offset >= 6 + _ICON_ENTRY * count:
            return Format.ICO
    return None


def check_bmp(data: Bytes) -> None:
    """The size in the file header is often wrong, so the pixels are counted."""
    head = data.exactly(0, 26, _FEW_PIXELS)
    start, header = struct.unpack_from("<II", head, 10)
    if header == _CORE:
        width, height, _, depth = struct.unpack_from("<HHHH", head, 18)
        compression = image_size = 0
    else:
        width, height, _, depth = struct.unpack_from("<iiHH", data.exactly(0, 30, _FEW_PIXELS), 18)
        compression, image_size = struct.unpack_from("<II", data.exactly(0, 38, _FEW_PIXELS), 30) if header > 16 else (0, 0)
    plain = compression in _PLAIN
    data.reaches(start + ((abs(width) * depth + 31) // 32 * 4 * abs(height) if plain else image_size), _FEW_PIXELS)


def bmp_size(data: Bytes) -> tuple[int, int]:
    """Width and height; a negative height says that the rows go from the top."""
    head = data.exactly(14, 12, "cut")
    if int.from_bytes(head[:4], "little") == _CORE:
        width, height = struct.unpack_from("<HH", head, 4)
    else:
        width, height = struct.unpack_from("<ii", head, 4)
    return abs(width), abs(height)


@dataclass(frozen=True, slots=True)
class Masked:
    """The pixels of a BMP of 16 or 32 bits: where they are, and which bits of each are red, green, blue and, maybe, alpha."""

    width: int
    height: int
    bits: int
    start: int
    masks: tuple[int, ...]
    top_down: bool

    @property
    def stride(self) -> int:
        """The bytes of a row."""
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def makes_sense(self) -> bool:
        """Whether each mask is one run of at most 16 bits, so that a number can be read through it."""
        runs = (mask // (mask & -mask) for mask in self.masks if mask)
        return any(self.masks[:3]) and all(run & (run + 1) == 0 and run < 1 << 16 for run in runs)


def masks(content: bytes) -> Masked | None:
    """How the bits of a BMP's pixels are laid out; None where the format itself says it. Raises struct.error where it is cut."""
    start, header, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", content, 10)
    if header not in _MASKED_HEADERS or compression not in _MASKED or bits not in (16, 32):
        return None
    count = 4 if header >= _WITH_ALPHA or compression == _ALPHA_MASKED else 3
    found = struct.unpack_from(f"<{count}I", content, _MASKS)
    return Masked(width, abs(height), bits, start, found if found[-1] else found[:3], top_down=height < 0)


def profile(content: bytes) -> bytes | None:
    """The colour profile that a BMP of version 5 holds; None where it holds none. Raises struct.error where its header is cut."""
    if (
        struct.unpack_from("<I", content, _FILE_HEADER)[0] != _VERSION_5
        or content[_COLOUR_SPACE : _COLOUR_SPACE + 4] != _EMBEDDED
    ):
        return None
    place, length = struct.unpack_from("<II", content, _PROFILE)
    found = content[_FILE_HEADER + place : _FILE_HEADER + place + length]
    return found if place and len(found) == length else None


def check_ico(data: Bytes) -> None:
    """Every picture of the directory lies within the file."""
    missing = "a picture of the icon lies behind the end"
    for length, offset in _icon_entries(data, missing):
        data.reaches(offset + length, missing)


def _icon_entries(data: Bytes, missing: str) -> Iterator[tuple[int, int]]:
    count = data.number(4, 2, missing, "<")
    for entry in range(6, 6 + _ICON_ENTRY * count, _ICON_ENTRY):
        yield struct.unpack_from("<II", data.exactly(entry, _ICON_ENTRY, missing), 8)


def ico_size(data: Bytes) -> tuple[int, int] | None:
    """Width and height of the largest picture, by what the pictures themselves say: the directory ends at 256."""
    sizes = [size for _, offset in _icon_entries(data, "cut") if (size := _icon_picture_size(data, offset))]
    return max(sizes, key=lambda each: each[0] * each[1], default=None)


def _icon_picture_size(data: Bytes, offset: int) -> tuple[int, int] | None:
    head = data.some(offset, 24)
    if len(head) < 24:
        return None
    if head.startswith(_PNG):
        width, height = struct.unpack_from(">II", head, 16)
        return width, height
    width, height = struct.unpack_from("<ii", head, 4)
    return abs(width), abs(height) // 2  # a bitmap counts its mask, which lies below, as rows
