"""Which TIFFs the engine reads rightly, by what their directories say; of all others what they are. Pure.

libtiff and libvips open more than they understand: kinds that come out as other colours are refused, not cast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.formats.tiff import BITS, COMPRESSION, EXTRA, INKS, PHOTOMETRIC, PLANES, SAMPLE_FORMAT, SAMPLES, TILE_OFFSETS

if TYPE_CHECKING:
    from watcher.formats.tiff import Directory

_EXPORT: Final = "save it as an RGB or grey TIFF with 8 or 16 bits a colour, or as a PNG"
_READ: Final = frozenset({1, 2, 3, 4, 5, 7, 8, 32771, 32773, 32946})
_COMPRESSIONS: Final = {
    6: "old-style JPEG",
    34661: "JBIG",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34676: "LogLuv",
    34677: "LogLuv",
    32909: "PixarLog",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}
_JPEG: Final = 7
_GREY, _RGB, _PALETTE, _MASK, _INKS, _YCBCR = (0, 1), 2, 3, 4, 5, 6
_COLOURS: Final = {0: 1, 1: 1, _RGB: 3, _PALETTE: 1, _INKS: 4, _YCBCR: 3}
_NAMES: Final = {_MASK: "transparency mask", 8: "Lab", 9: "Lab", 10: "Lab", 32844: "LogL", 32845: "LogLuv"}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 1: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _INKS: (8, 16), _YCBCR: (8,)}
_UNSIGNED: Final = frozenset({1, 4})
_CMYK: Final = 1
_PREMULTIPLIED, _ALPHA = 1, 2


def trouble(page: Directory) -> str:
    """What kind of TIFF a page is that cannot be read rightly, and what to do; empty where it can."""
    words = _compression_trouble(page) or _colour_trouble(page) or _sample_trouble(page)
    return f"a TIFF with {words}: {_EXPORT}" if words else ""


def _compression_trouble(page: Directory) -> str:
    compression = page.first(COMPRESSION, 1)
    if compression not in _READ:
        name = _COMPRESSIONS.get(compression)
        return f"{name} compression" if name else f"a compression that has the number {compression}"
    tiled, samples = TILE_OFFSETS in page.values, page.first(SAMPLES, 1)
    if tiled and samples > 1 and page.first(PLANES, 1) == 2:
        return "tiled colour planes"
    if tiled and compression == _JPEG and samples > _COLOURS.get(page.first(PHOTOMETRIC, 1), samples):
        return "JPEG tiles that have alpha"
    return ""


def _colour_trouble(page: Directory) -> str:
    photometric = page.first(PHOTOMETRIC, 1)
    if photometric not in _COLOURS:
        return f"{_NAMES.get(photometric, f'colours of kind {photometric}')} colours"
    if photometric == _YCBCR and page.first(COMPRESSION, 1) != _JPEG:
        return "YCbCr colours outside of a JPEG"
    if photometric == _INKS and page.first(INKS, _CMYK) != _CMYK:
        return "other inks than CMYK"
    if page.first(SAMPLES, 1) < _COLOURS[photometric]:
        return "fewer samples than colours"
    return ""


def _sample_trouble(page: Directory) -> str:
    if not _UNSIGNED.issuperset(page.values.get(SAMPLE_FORMAT, (1,))):
        return "signed or floating point samples"
    depths = set(page.values.get(BITS, (1,)))
    if len(depths) > 1 or not depths <= set(_DEPTHS[page.first(PHOTOMETRIC, 1)]):
        return f"{' and '.join(str(each) for each in sorted(depths))} bits a sample"
    return ""


def visible_bands(page: Directory) -> tuple[int, ...]:
    """Which bands are to be shown: the colours, and the first extra one that is said to be alpha.

    A fourth one of RGB of which nothing is said is alpha, as libtiff has it.
    """
    photometric = page.first(PHOTOMETRIC, 1)
    colours = 3 if photometric == _PALETTE else _COLOURS[photometric]
    extra = page.values.get(EXTRA)
    if extra is None:
        extra = (_ALPHA,) if photometric == _RGB and page.first(SAMPLES, 1) == colours + 1 else ()
    alpha = next((place for place, kind in enumerate(extra) if kind in (_PREMULTIPLIED, _ALPHA)), None)
    return (*range(colours), *(() if alpha is None else (colours + alpha,)))
