"""From pixels to bytes: what each `compression` means in each format. Runs only in a worker process.

The figures behind the table (SSIM on photographs) are in docs/ENGINE.md. Metadata is not written, but for the colour-neutral
minimum a format needs, and author and copyright notice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyvips

from watcher.engine import rasters
from watcher.engine.lossless import with_alpha_flag, with_rights
from watcher.engine.rights import PREFIX, exif_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.config.units import Colour
    from watcher.engine.rights import Rights
    from watcher.engine.work import Compression

WHITE: Final = (255, 255, 255)
LADDER: Final = (0.85, 0.7, 0.55, 0.4)
"""By what a quality is multiplied, try after try, where an output must become smaller."""
QUALITIES: Final[Mapping[str, Mapping[Compression, int]]] = {
    "jpeg": {"medium": 85, "high": 79, "ultra": 66},
    "webp": {"medium": 88, "high": 80, "ultra": 66},
    "avif": {"medium": 69, "high": 62, "ultra": 49},
    "heic": {"medium": 58, "high": 50, "ultra": 40},
    "tiff": {"medium": 100, "high": 88, "ultra": 76},
    "png": {"medium": 100, "high": 92, "ultra": 40},
}
_BOTH: Final = {"interlace": True, "overshoot_deringing": True}
"""Progressive scans cost a few ms for 3 % fewer bytes; calmer edges cost nothing and are worth 1.7 points of SSIMULACRA2."""
_JPEG: Final[Mapping[Compression, Mapping[str, Any]]] = {
    "medium": {**_BOTH, "quant_table": 4},
    "high": {**_BOTH, "quant_table": 4},
    "ultra": {**_BOTH, "quant_table": 2, "optimize_scans": True, "trellis_quant": True},
}
"""Optimised scans and trellis quantisation take three times the CPU for 5 to 12 % fewer bytes: for ultra only."""
_GIF: Final[Mapping[Compression, Mapping[str, Any]]] = {
    "medium": {"dither": 1.0},
    "high": {"dither": 0.6, "bitdepth": 7, "interframe_maxerror": 4, "interpalette_maxerror": 6},
    "ultra": {"dither": 0.4, "bitdepth": 6, "interframe_maxerror": 12, "interpalette_maxerror": 20},
}
_BARE: Final = {"keep": "none"}
_OWN_RIGHTS: Final = frozenset({"avif", "heic"})
"""Formats whose encoder writes author and notice itself."""
_SMALL_QUALITY: Final = 95
_SMALL: Final = 256
"""Pixels. So small a picture is not worth halving its colours' resolution."""
_PALETTE_ERROR: Final = 4.0
"""Root of the mean squared error (of 255; 36 dB) up to which a palette of 256 colours is taken for `high`."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to write an image: the format, the compression asked for, and what must not be lost."""

    format: str
    compression: Compression
    quality: int
    lossless: bool = False
    rights: Rights = ()
    background: Colour = WHITE
    """What alpha is laid on where the format has none."""


def quality_of(format_name: str, compression: Compression) -> int:
    """Where on the format's own scale `compression` lies; 100 where it has none."""
    return QUALITIES.get(format_name, {}).get(compression, 100)


def encode(image: pyvips.Image, encoding: Encoding) -> bytes:
    """The bytes of `image`, without metadata but for author and notice. Raises pyvips.Error where its pixels are damaged."""
    content = _ENCODERS[encoding.format](image, encoding)
    return content if encoding.format in _OWN_RIGHTS else with_rights(encoding.format, content, encoding.rights)


def _is_small(image: pyvips.Image) -> bool:
    """Whether a picture has so few pixels that the colour of each is seen: icons, swatches."""
    return bool(image.width * image.height <= _SMALL)


def can_be_lowered(encoding: Encoding) -> bool:
    """Whether a lower quality makes the output smaller."""
    return encoding.format in ("jpeg", "webp", "avif", "heic") and not encoding.lossless


def _jpeg(image: pyvips.Image, encoding: Encoding) -> bytes:
    image = _opaque(image, encoding.background)
    options = {**_JPEG[encoding.compression], **_BARE}
    quality = encoding.quality
    if _is_small(image):
        options["subsample_mode"], quality = "off", max(quality, _SMALL_QUALITY)
    return bytes(image.jpegsave_buffer(Q=quality, optimize_coding=True, **options))


def _webp(image: pyvips.Image, encoding: Encoding) -> bytes:
    options: dict[str, Any] = {"lossless": True} if encoding.lossless or _is_small(image) else {"Q": encoding.quality}
    content = bytes(image.webpsave_buffer(**options, **_BARE))
    return with_alpha_flag(content) if image.hasalpha() else content


def _avif(image: pyvips.Image, encoding: Encoding) -> bytes:
    image = image.copy()
    for field in image.get_fields():
        if field.startswith("exif-") or field in ("xmp-data", "iptc-data", "icc-profile-data"):
            image.remove(field)
    if block := exif_block(encoding.rights):
        image.set_type(pyvips.GValue.blob_type, "exif-data", PREFIX + block)
    options: dict[str, Any] = {"compression": "av1", "Q": encoding.quality, "effort": 2, "bitdepth": 8}
    options["subsample_mode"] = "off"  # colours at full resolution: 2 points of SSIMULACRA2 at equal bytes
    if _is_small(image):
        options["Q"] = max(encoding.quality, _SMALL_QUALITY)
    return bytes(image.heifsave_buffer(**options, keep="exif" if block else "none"))


def _heic(image: pyvips.Image, encoding: Encoding) -> bytes:
    return rasters.save_heic(image, encoding.quality, encoding.rights)


def _png(image: pyvips.Image, encoding: Encoding) -> bytes:
    """Lossless for medium; with a palette for ultra, and for high where the palette does the picture no visible harm."""
    if encoding.compression == "medium":
        return _lossless_png(image)
    image = image.copy_memory()
    options = {"Q": encoding.quality, "dither": 0.4 if encoding.compression == "ultra" else 1.0}
    reduced = bytes(image.pngsave_buffer(palette=True, effort=7, compression=9, **options, **_BARE))
    if encoding.compression == "ultra" or _error(image, pyvips.Image.pngload_buffer(reduced)) <= _PALETTE_ERROR:
        return reduced
    return _lossless_png(image)


def _lossless_png(image: pyvips.Image) -> bytes:
    return bytes(image.pngsave_buffer(compression=6, filter="all", **_BARE))


def _error(image: pyvips.Image, reduced: pyvips.Image) -> float:
    """Root of the mean squared difference of what is seen, on white."""
    first, second = (_opaque(each.colourspace("srgb")) for each in (image, reduced))
    mean: float = ((first - second) ** 2).avg()
    return math.sqrt(mean)


def _opaque(image: pyvips.Image, background: Colour = WHITE) -> pyvips.Image:
    if not image.hasalpha():
        return image
    if image.bands < 3 and len(set(background)) > 1:
        image = image.colourspace("srgb")
    return image.flatten(background=list(background[: image.bands - 1]))


def _gif(image: pyvips.Image, encoding: Encoding) -> bytes:
    return bytes(image.gifsave_buffer(**_GIF[encoding.compression], **_BARE))


def _tiff(image: pyvips.Image, encoding: Encoding) -> bytes:
    if encoding.compression == "medium" or image.hasalpha():
        return bytes(image.tiffsave_buffer(compression="deflate", predictor="horizontal", **_BARE))
    return bytes(image.tiffsave_buffer(compression="jpeg", Q=encoding.quality, **_BARE))


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
