"""What bytes are, and whether the container is whole: its end is there, not only its beginning. Pure.

Whole means that the container's own structure says where it ends and that the file reaches there; bytes behind that end (phones
and editors add them) are fine. Nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.formats import gif, heif, jpeg, png, svg, tiff, webp, windows
from watcher.formats.bounded_reading import Bytes, Cut, NoFormalEnd, ReadAt
from watcher.formats.sniffing import recognise
from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ContainerFacts", "ReadAt", "judge"]


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What the bytes are (None: no image format that is taken), and what is missing of the container, in words ("": it is whole).

    `unsupported`: which kind of picture it is instead, and what to do. `formal`: only form is missing, every pixel is there.
    """

    format: Format | None
    missing: str = ""
    unsupported: str = ""
    formal: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is an image and its container is complete."""
        return self.format is not None and not self.missing

    @property
    def has_pixels(self) -> bool:
        """Whether it is an image that every decoder reads: whole, or whole but for form."""
        return self.whole or (self.format is not None and self.formal)


def judge(read_at: ReadAt, size: int) -> ContainerFacts:
    """The format of `size` bytes and whether they hold the whole container. Raises only what `read_at` raises.

    A file may become shorter meanwhile: the verdict holds only where its size is still the same afterwards.
    """
    return judge_bytes(Bytes(read_at, size))


def judge_bytes(data: Bytes) -> ContainerFacts:
    """As `judge`, for bytes that are read already or elsewhere."""
    try:
        kind = recognise(data)
    except Cut:
        return ContainerFacts(None)
    if kind.format is None:
        return ContainerFacts(None, unsupported=kind.unsupported)
    try:
        _CHECKS[kind.format](data)
    except Cut as cut:
        return ContainerFacts(kind.format, str(cut), formal=isinstance(cut, NoFormalEnd))
    return ContainerFacts(kind.format)


_CHECKS: Final[dict[Format, Callable[[Bytes], None]]] = {
    Format.JPEG: jpeg.check,
    Format.PNG: png.check,
    Format.GIF: gif.check,
    Format.WEBP: webp.check,
    Format.AVIF: heif.check,
    Format.HEIC: heif.check,
    Format.TIFF: tiff.check,
    Format.BMP: windows.check_bmp,
    Format.ICO: windows.check_ico,
    Format.SVG: svg.check,
}
