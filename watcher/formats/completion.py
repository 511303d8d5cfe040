"""Gives a picture the formal end that its file lacks, so that every decoder and every tool reads it. Pure.

Only for files of which `containers.judge` says that nothing but form is missing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from watcher.formats import gif, jpeg, png, tiff
from watcher.formats.reading import Bytes, NoFormalEnd
from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Callable

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
