"""WebP (RFC 9649): wholeness and size. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import Cut, NoFormalEnd
from watcher.formats.exif import orientation, upright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.formats.bounded_reading import Bytes

_SHORT: Final = "the file is shorter than its RIFF size"
_EXIF_FLAG: Final = 0x08
_MAX_EXIF: Final = 1 << 20


def check(data: Bytes) -> None:
    """Raises Cut where the file ends before the RIFF chunk does; a last padding byte may lack."""
    end = 8 + data.number(4, 4, "the RIFF size is missing", "<")
    if end <= data.size:
        return
    if not any(kind in (b"VP8 ", b"VP8L", b"ANMF") for kind, _, _ in _chunks(data, data.size)) or not _ends_with_a_chunk(data):
        raise Cut(_SHORT)
    if end > data.size + 1:
        raise NoFormalEnd(_SHORT)


def _ends_with_a_chunk(data: Bytes) -> bool:
    """Whether the last chunk is there whole, and no frames are announced that may have been behind it."""
    end = 12
    for kind, start, length in _chunks(data, data.size):
        if kind == b"ANMF":
            return False
        end = start + length
    return data.size - end in (0, 1)


def _chunks(data: Bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of the content of every chunk whose header lies before `end`."""
    position = 12
    while position + 8 <= min(end, data.size):
        header = data.exactly(position, 8, _SHORT)
        length = int.from_bytes(header[4:], "little")
        yield header[:4], position + 8, length
        position += 8 + length + length % 2


def size(data: Bytes) -> tuple[int, int] | None:
    """Width and height as they are looked at."""
    head = data.some(12, 18)
    if head[:4] == b"VP8X":
        width, height = 1 + int.from_bytes(head[12:15], "little"), 1 + int.from_bytes(head[15:18], "little")
        return upright(width, height, _orientation(data) if head[8] & _EXIF_FLAG else 1)
    if head[:4] == b"VP8L":
        bits = int.from_bytes(head[9:13], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if head[:4] == b"VP8 ":
        return int.from_bytes(head[14:16], "little") & 0x3FFF, int.from_bytes(head[16:18], "little") & 0x3FFF
    return None


def _orientation(data: Bytes) -> int:
    for kind, start, length in _chunks(data, data.size):
        if kind == b"EXIF":
            return orientation(data.some(start, min(length, _MAX_EXIF)))
    return 1
