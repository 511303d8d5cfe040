"""Gives a picture the formal end that its file lacks, so that every decoder and every tool reads it. Pure.

Only for files of which `containers.judge` says that nothing but form is missing.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from watcher.formats import gif, jpeg, png, tiff
from watcher.formats.bounded_reading import Bytes, NoFormalEnd
from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFLATE, _FULL_WINDOW = 0x08, 0x78
_IEND: Final = b"\0\0\0\0IEND\xaeB`\x82"


def completed(image_format: Format, content: bytes) -> bytes:
    """The file with its end; what stood behind the picture in its place is cut off."""
    complete = _COMPLETE.get(image_format)
    return content if complete is None else complete(content)


def _bytes(content: bytes) -> Bytes:
    return Bytes(lambda offset, size: content[offset : offset + size], len(content))


def _jpeg(content: bytes) -> bytes:
    end = jpeg.end_of_pixels(_bytes(content))
    return content[:end] + b"\xff\xd9"


def _png(content: bytes) -> bytes:
    end = max((start + length + 4 for _, start, length in png.chunks(_bytes(content))), default=len(content))
    return content[:end] + _IEND


def with_full_window(content: bytes) -> bytes:
    """A PNG that says its packed pixels need the largest window, which always fits.

    Some encoders name one that is too small: libraries that believe it call the file damaged, browsers do not.
    """
    first = next(
        ((start, length) for kind, start, length in png.chunks(_bytes(content)) if kind == b"IDAT" and length >= 2), None
    )
    if first is None or (content[first[0]] & 0x0F) != _DEFLATE or content[first[0]] == _FULL_WINDOW:
        return content
    start, length = first
    level = content[start + 1] & 0xC0
    pixels = bytes([_FULL_WINDOW, level + 31 - (_FULL_WINDOW * 256 + level) % 31]) + content[start + 2 : start + length]
    return content[:start] + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels)) + content[start + length + 4 :]


def _gif(content: bytes) -> bytes:
    end, _ = gif.end_of_pictures(_bytes(content))
    return content[:end] + b";"


def _webp(content: bytes) -> bytes:
    content += b"\0" * (len(content) % 2)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def _tiff(content: bytes) -> bytes:
    """No further directory follows the last one. Values that lie behind the end are none that decoders need."""
    directories = tiff.Tiff(_bytes(content))
    end = len(content)
    try:
        for position in directories.chain():
            end = directories.end_of(position)
    except NoFormalEnd:
        return content[:end] + bytes(8 if directories.big else 4)
    return content


_COMPLETE: Final[dict[Format, Callable[[bytes], bytes]]] = {
    Format.JPEG: _jpeg,
    Format.PNG: _png,
    Format.GIF: _gif,
    Format.WEBP: _webp,
    Format.TIFF: _tiff,
}
