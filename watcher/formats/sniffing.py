"""Which image format bytes are, by their content and never by a name. Pure.

Sources: ITU-T T.81 (JPEG), W3C PNG, RFC 9649 (WebP), GIF89a, ISO/IEC 14496-12 and 23008-12 (HEIF, AVIF), TIFF 6.0, Windows' BMP
and ICO, SVG 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.formats import heif, jpeg, png, svg, tiff, unsupported, windows
from watcher.formats.bounded_reading import HEAD, Bytes, Cut
from watcher.model import Format

if TYPE_CHECKING:
    from watcher.formats.bounded_reading import ReadAt


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is: a format, or an `unsupported` kind of picture (which, and what to do instead), or neither."""

    format: Format | None = None
    unsupported: str = ""


def sniff(read_at: ReadAt, size: int) -> Kind:
    """The kind of a file of `size` bytes. Raises only what `read_at` raises."""
    try:
        return recognise(Bytes(read_at, size))
    except Cut:  # it became shorter meanwhile
        return Kind()


def recognise(data: Bytes) -> Kind:
    """As `sniff`, for bytes that are read further. Raises Cut where the file became shorter."""
    head = data.some(0, HEAD)
    if (found := _by_mark(head)) is not None:
        return Kind(found)
    if words := unsupported.by_mark(head):
        return Kind(None, words)
    if heif.is_boxed(head):
        return _boxed(head, data)
    if head.startswith(tiff.MAGIC):
        raw = tiff.raw_kind(data)
        return Kind(Format.TIFF) if raw is None else Kind(None, unsupported.raw(raw))
    if (found := windows.sniff(head)) is not None:
        return Kind(found)
    return Kind(Format.SVG) if svg.may_be(head) and svg.is_svg(data) else Kind()


def _by_mark(head: bytes) -> Format | None:
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    return None


def _boxed(head: bytes, data: Bytes) -> Kind:
    if (found := heif.by_brands(head)) is not None:
        return Kind(found)
    if not heif.is_general(head):
        return Kind()
    coded, other = heif.by_items(data)
    return Kind(coded, unsupported.heif(other) if other else "")


def unreadable_kind(read_at: ReadAt, size: int, image_format: Format) -> str:
    """Says of a JPEG, PNG or SVG that is valid, and of a kind that nothing can be made of, which kind; empty for all others."""
    data = Bytes(read_at, size)
    try:
        if image_format is Format.JPEG:
            return jpeg.unsupported(data)
        if image_format is Format.SVG:
            return svg.unsupported(data)
        return png.unsupported(data) if image_format is Format.PNG else ""
    except Cut:
        return ""
