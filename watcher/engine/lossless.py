"""Taking the metadata out of a file without touching its pixels. Pure: bytes in, bytes out.

Used where a compressed copy would be no smaller than what came in. What tells how the pixels are meant stays (colour
profile, gamma, transparency, animation); Exif, XMP, IPTC, comments, thumbnails and bytes behind the end go.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from watcher.engine.rights import exif_block
from watcher.engine.scrub import DamagedContainer, scrub_heif, scrub_tiff, with_tiff_tags
from watcher.formats import gif, webp
from watcher.formats.bounded_reading import Bytes, Cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from watcher.engine.rights import Rights

__all__ = ["DamagedContainer", "with_alpha_flag", "with_rights", "without_metadata"]

_PNG_HEAD: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD pHYs acTL fcTL fdAT".split())
_WEBP_DROPPED: Final = frozenset({b"EXIF", b"XMP "})
_WEBP_EXIF_FLAG: Final = 0x08
_WEBP_METADATA_FLAGS: Final = _WEBP_EXIF_FLAG | 0x04
_WEBP_ALPHA_FLAG: Final = 0x10
_PNG_HEADER_END: Final = 33
_JPEG_END: Final = 0xD9
_JPEG_SCAN: Final = 0xDA


def without_metadata(format_name: str, content: bytes, exif: bytes = b"") -> bytes | None:
    """`content` without metadata, or None where this format's metadata cannot be taken out without decoding.

    `exif` (a TIFF structure, without a prefix) is put in instead: the little that must stay. Raises DamagedContainer where the
    container is broken.
    """
    if format_name == "tiff":  # author, notice and orientation stay where they are
        return scrub_tiff(content)
    if format_name in ("heic", "avif"):
        return scrub_heif(content, exif)
    if format_name == "gif":  # `with_rights` puts a notice in
        return _strip_gif(content)
    if format_name not in _STRIPPERS:
        return None
    strip, insert = _STRIPPERS[format_name]
    stripped = strip(content)
    return insert(stripped, exif) if exif else stripped


def with_rights(format_name: str, content: bytes, rights: Rights) -> bytes:
    """`content`, which holds no metadata, with author and copyright notice; as it is where the format cannot hold them."""
    if not rights:
        return content
    if format_name == "tiff":
        return with_tiff_tags(content, rights)
    if format_name == "gif":
        return _insert_gif(content, b"\n".join(text for _, text in rights))
    if format_name in _STRIPPERS:
        return _STRIPPERS[format_name][1](content, exif_block(rights))
    return content


def _strip_gif(content: bytes) -> bytes:
    try:
        return gif.without_metadata(content)
    except Cut:
        raise DamagedContainer("its blocks are damaged") from None


def _strip_jpeg(content: bytes) -> bytes:
    kept = bytearray(content[:2])
    place = 2
    while place < len(content):
        if content[place] != 0xFF:
            raise DamagedContainer("no marker where one must be")
        marker = content[place + 1] if place + 1 < len(content) else 0xFF
        if marker == 0xFF:
            place += 1
            continue
        if marker == _JPEG_END:
            return bytes(kept + content[place : place + 2])
        end = place + 2 + _length(content, place + 2)
        if marker == _JPEG_SCAN:
            end = _scan_end(content, end)
        if _jpeg_keeps(marker, content[place + 4 : end]):
            kept += content[place:end]
        place = end
    raise DamagedContainer("no end marker")


def _length(content: bytes, place: int) -> int:
    if place + 2 > len(content):
        raise DamagedContainer("cut off")
    length: int = struct.unpack_from(">H", content, place)[0]
    if length < 2:
        raise DamagedContainer("a segment without a length")
    return length


def _scan_end(content: bytes, place: int) -> int:
    """Where the entropy-coded data that begins at `place` ends: at the next marker that is no stuffing and no restart."""
    while True:
        place = content.find(b"\xff", place)
        if place < 0 or place + 1 >= len(content):
            raise DamagedContainer("no end marker")
        following = content[place + 1]
        if following != 0 and not 0xD0 <= following <= 0xD7 and following != 0xFF:
            return place
        place += 1 if following == 0xFF else 2


def _jpeg_keeps(marker: int, payload: bytes) -> bool:
    if marker == 0xFE:
        return False
    if not 0xE0 <= marker <= 0xEF:
        return True
    if marker == 0xE2:
        return payload.startswith(b"ICC_PROFILE\0")
    return (marker == 0xE0 and payload.startswith(b"JFIF\0")) or (marker == 0xEE and payload.startswith(b"Adobe"))


def _strip_png(content: bytes) -> bytes:
    kept = bytearray(_PNG_HEAD)
    place = len(_PNG_HEAD)
    while place + 12 <= len(content):
        length = struct.unpack_from(">I", content, place)[0]
        kind, end = content[place + 4 : place + 8], place + 12 + length
        if end > len(content):
            break
        if kind in _PNG_KEPT:
            kept += content[place:end]
        if kind == b"IEND":
            return bytes(kept)
        place = end
    raise DamagedContainer("cut off")


def _strip_webp(content: bytes) -> bytes:
    chunks = b"".join(
        _webp_header(chunk) if kind == b"VP8X" else chunk for kind, chunk in _webp_chunks(content) if kind not in _WEBP_DROPPED
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = 8 + struct.unpack_from("<I", content, 4)[0]
    place = 12
    if end > len(content) + 1:
        raise DamagedContainer("cut off")
    while place + 8 <= min(end, len(content)):
        length = struct.unpack_from("<I", content, place + 4)[0]
        after = place + 8 + length
        if after > len(content):
            raise DamagedContainer("cut off")
        yield content[place : place + 4], content[place:after] + b"\0" * (length % 2)
        place = after + length % 2


def _webp_header(chunk: bytes) -> bytes:
    return chunk[:8] + bytes([chunk[8] & ~_WEBP_METADATA_FLAGS]) + chunk[9:]


def _insert_jpeg(content: bytes, exif: bytes) -> bytes:
    """Behind JFIF's segment, which has to be the first."""
    place = 4 + _length(content, 4) if content[2:4] == b"\xff\xe0" else 2
    payload = b"Exif\0\0" + exif
    return content[:place] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + content[place:]


def _insert_png(content: bytes, exif: bytes) -> bytes:
    """Behind the header, which has to be the first chunk."""
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    return content[:_PNG_HEADER_END] + chunk + content[_PNG_HEADER_END:]


def _insert_webp(content: bytes, exif: bytes) -> bytes:
    """At the end, announced in the extended header, which a simple file gets first."""
    if content[12:16] != b"VP8X":
        content = _extended_webp(content)
    chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    size = struct.pack("<I", len(content) - 8 + len(chunk))
    return content[:4] + size + content[8:20] + bytes([content[20] | _WEBP_EXIF_FLAG]) + content[21:] + chunk


def with_alpha_flag(content: bytes) -> bytes:
    """A WebP that says it has alpha, as one must whose frames cover only part of it; a simple one says so itself."""
    if content[12:16] != b"VP8X":
        return content
    return content[:20] + bytes([content[20] | _WEBP_ALPHA_FLAG]) + content[21:]


def _extended_webp(content: bytes) -> bytes:
    size = webp.size(Bytes(lambda offset, count: content[offset : offset + count], len(content)))
    if size is None:
        raise DamagedContainer("no picture")
    alpha = _WEBP_ALPHA_FLAG if content[12:16] == b"VP8L" and content[24] & 0x10 else 0
    flags = bytes([alpha, 0, 0, 0])
    header = b"VP8X" + struct.pack("<I", 10) + flags + b"".join((side - 1).to_bytes(3, "little") for side in size)
    chunks = header + content[12:]
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _insert_gif(content: bytes, comment: bytes) -> bytes:
    """As a comment, behind the header and its palette; with comments, it is a GIF of 1989."""
    place = 13 + (3 << ((content[10] & 7) + 1) if content[10] & 0x80 else 0)
    blocks = (comment[start : start + 255] for start in range(0, len(comment), 255))
    extension = b"\x21\xfe" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return b"GIF89a" + content[6:place] + extension + content[place:]


_STRIPPERS: Final[dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bytes]]]] = {
    "jpeg": (_strip_jpeg, _insert_jpeg),
    "png": (_strip_png, _insert_png),
    "webp": (_strip_webp, _insert_webp),
}
