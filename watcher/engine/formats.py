"""Image formats: what they are called on the wire, and how their first bytes tell them apart. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

HEAD_BYTES: Final = 4096
"""As many first bytes as `sniff` wants."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format as `input` and `output` name it; `extension` is the canonical one (the vendor's sample says `image.jpeg`)."""

    name: str
    mime: str

    @property
    def extension(self) -> str:
        """Without the dot; equal to the format's name."""
        return self.name


FORMATS: Final = {
    name: Format(name, mime)
    for name, mime in (
        ("jpeg", "image/jpeg"),
        ("png", "image/png"),
        ("webp", "image/webp"),
        ("avif", "image/avif"),
        ("heic", "image/heic"),
        ("gif", "image/gif"),
        ("tiff", "image/tiff"),
        ("bmp", "image/bmp"),
        ("svg", "image/svg+xml"),
        ("ico", "image/x-icon"),
    )
}
ACCEPTED: Final = "JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP, SVG, ICO"

_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"BM", "bmp"),
    (b"\x00\x00\x01\x00", "ico"),
)
_HEVC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_STILL_BRANDS: Final = frozenset({b"mif1", b"msf1", b"miaf"})
_SVG: Final = re.compile(
    rb"^(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE\s+svg\b.*?>\s*)?(?:<!--.*?-->\s*)*<(?:\w+:)?svg[\s>]",
    re.DOTALL | re.IGNORECASE,
)


def sniff(head: bytes) -> str | None:
    """The format that a file's first bytes (up to HEAD_BYTES) show, or None for what is no accepted image."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _heif(head)
    return "svg" if _SVG.match(_as_bytes(head)) else None


def _heif(head: bytes) -> str | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, size - 3, 4))]
    if brands[0] in _AVIF_BRANDS or (brands[0] in _STILL_BRANDS and _AVIF_BRANDS & set(brands)):
        return "avif"
    if brands[0] in _HEVC_BRANDS or brands[0] in _STILL_BRANDS:
        return "heic"
    return None


def _as_bytes(head: bytes) -> bytes:
    """UTF-16 text as UTF-8, since an SVG may be written so; everything else as it is."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) & ~1].decode("utf-16", "replace").encode()
    return head
