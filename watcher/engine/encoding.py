"""From pixels to bytes: what each `compression` means in each format. Runs only in a worker process.

The figures behind the table (SSIM on photographs) are in docs/ENGINE.md. Metadata is not written, but for the colour-neutral
minimum a format needs, and author and copyright notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyvips

from watcher.engine import rasters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.engine.work import Compression

Rights = tuple[tuple[str, str], ...]
LADDER: Final = (0.85, 0.7, 0.55, 0.4)
"""By what a quality is multiplied, try after try, where an output must become smaller."""
QUALITIES: Final[Mapping[str, Mapping[Compression, int]]] = {
    "jpeg": {"medium": 86, "high": 80, "ultra": 66},
    "webp": {"medium": 84, "high": 78, "ultra": 60},
    "avif": {"medium": 65, "high": 55, "ultra": 42},
    "heic": {"medium": 68, "high": 58, "ultra": 45},
    "tiff": {"medium": 100, "high": 90, "ultra": 76},
    "png": {"medium": 100, "high": 92, "ultra": 70},
}
_JPEG: Final[Mapping[Compression, Mapping[str, Any]]] = {
    "medium": {"optimize_coding": True},
    "high": {"optimize_coding": True, "interlace": True, "optimize_scans": True},
    "ultra": {
        "optimize_coding": True,
        "interlace": True,
        "optimize_scans": True,
        "trellis_quant": True,
        "overshoot_deringing": True,
        "quant_table": 3,
    },
}
_GIF: Final[Mapping[Compression, Mapping[str, Any]]] = {
    "medium": {"effort": 7, "dither": 1.0},
    "high": {"effort": 7, "dither": 0.75, "interframe_maxerror": 4, "interpalette_maxerror": 6},
    "ultra": {"effort": 7, "dither": 0.3, "bitdepth": 7, "interframe_maxerror": 12, "interpalette_maxerror": 20},
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to write an image: the format, the compression asked for, and what must not be lost."""

    format: str
    compression: Compression
    quality: int
    lossless: bool = False
    rights: Rights = ()


def quality_of(format_name: str, compression: Compression) -> int:
    """Where on the format's own scale `compression` lies; 100 where it has none."""
    return QUALITIES.get(format_name, {}).get(compression, 100)


def encode(image: pyvips.Image, encoding: Encoding) -> bytes:
    """The bytes of `image`. Raises pyvips.Error where its pixels turn out to be damaged."""
    return _ENCODERS[encoding.format](image, encoding)


def can_be_lowered(encoding: Encoding) -> bool:
    """Whether a lower quality makes the output smaller."""
    return encoding.format in ("jpeg", "webp", "avif", "heic") and not encoding.lossless


def with_only(image: pyvips.Image, rights: Rights) -> pyvips.Image:
    """A copy whose only Exif fields are `rights`."""
    image = image.copy()
    for field in image.get_fields():
        if field.startswith("exif-") or field in ("xmp-data", "iptc-data"):
            image.remove(field)
    for name, text in rights:
        image.set_type(pyvips.GValue.gstr_type, f"exif-ifd0-{name}", text)
    return image


def _kept(encoding: Encoding) -> dict[str, Any]:
    return {"keep": "exif" if encoding.rights else "none"}


def _jpeg(image: pyvips.Image, encoding: Encoding) -> bytes:
    if image.hasalpha():
        image = image.flatten(background=255)
    return bytes(image.jpegsave_buffer(Q=encoding.quality, **_JPEG[encoding.compression], **_kept(encoding)))


def _webp(image: pyvips.Image, encoding: Encoding) -> bytes:
    options: dict[str, Any] = {"lossless": True} if encoding.lossless else {"Q": encoding.quality, "smart_subsample": True}
    return bytes(image.webpsave_buffer(**options, **_kept(encoding)))


def _avif(image: pyvips.Image, encoding: Encoding) -> bytes:
    return bytes(image.heifsave_buffer(compression="av1", Q=encoding.quality, effort=4, bitdepth=8, **_kept(encoding)))


def _heic(image: pyvips.Image, encoding: Encoding) -> bytes:
    return rasters.save_heic(image, encoding.quality, dict(encoding.rights))


def _png(image: pyvips.Image, encoding: Encoding) -> bytes:
    if encoding.compression == "medium":
        return bytes(image.pngsave_buffer(compression=9, filter="all", **_kept(encoding)))
    return bytes(image.pngsave_buffer(palette=True, Q=encoding.quality, effort=7, compression=9, **_kept(encoding)))


def _gif(image: pyvips.Image, encoding: Encoding) -> bytes:
    return bytes(image.gifsave_buffer(**_GIF[encoding.compression], **_kept(encoding)))


def _tiff(image: pyvips.Image, encoding: Encoding) -> bytes:
    if encoding.compression == "medium" or image.hasalpha():
        return bytes(image.tiffsave_buffer(compression="deflate", predictor="horizontal", **_kept(encoding)))
    return bytes(image.tiffsave_buffer(compression="jpeg", Q=encoding.quality, **_kept(encoding)))


def _bmp(image: pyvips.Image, encoding: Encoding) -> bytes:
    return rasters.save_bmp(image, colours=256 if encoding.compression == "ultra" else None)


def _ico(image: pyvips.Image, _: Encoding) -> bytes:
    return rasters.save_ico(image)


_ENCODERS: Final[Mapping[str, Callable[[pyvips.Image, Encoding], bytes]]] = {
    "jpeg": _jpeg,
    "png": _png,
    "webp": _webp,
    "avif": _avif,
    "heic": _heic,
    "gif": _gif,
    "tiff": _tiff,
    "bmp": _bmp,
    "ico": _ico,
}
