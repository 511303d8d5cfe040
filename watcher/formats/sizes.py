"""The size of a picture in pixels, from its header. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.formats import gif, heif, jpeg, png, svg, tiff, webp, windows
from watcher.formats.bounded_reading import Bytes, Cut, ReadAt
from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Callable

Size = tuple[int, int]


def pixel_size(read_at: ReadAt, size: int, image_format: Format) -> Size | None:
    """Width and height of a picture as it is looked at (orientation applied), of one frame or the first page.

    An ICO's is that of its largest picture, an SVG's in CSS pixels. None where the header does not say it or is damaged. Reads
    headers only, decodes nothing, and raises only what `read_at` raises.
    """
    try:
        found = _SIZES[image_format](Bytes(read_at, size))
    except Cut:
        return None
    return found if found is not None and found[0] > 0 and found[1] > 0 else None


_SIZES: Final[dict[Format, Callable[[Bytes], Size | None]]] = {
    Format.JPEG: jpeg.size,
    Format.PNG: png.size,
    Format.GIF: gif.size,
    Format.WEBP: webp.size,
    Format.AVIF: lambda data: heif.structure(data).size,
    Format.HEIC: lambda data: heif.structure(data).size,
    Format.TIFF: tiff.size,
    Format.BMP: windows.bmp_size,
    Format.ICO: windows.ico_size,
    Format.SVG: svg.size,
}
