"""Resizing in numbers: from a source's size and the `resize` object to the scaled size and the part that is kept. Pure.

`auto` keeps the picture inside the box; `fit` covers the box and crops what sticks out, where `gravity` says. Both keep the
aspect ratio. `auto` enlarges only when asked (`upscale: true`), `fit` unless told not to (`upscale: false`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_WASTEFUL: Final = 8
"""More than so many times the kept pixels are not made only to be cropped."""
Mode = Literal["auto", "fit"]
Gravity = Literal["center", "top-left", "top", "top-right", "right", "bottom-right", "bottom", "bottom-left", "left"]
GRAVITIES: Final[tuple[Gravity, ...]] = (
    "center",
    "top-left",
    "top",
    "top-right",
    "right",
    "bottom-right",
    "bottom",
    "bottom-left",
    "left",
)


@dataclass(frozen=True, slots=True)
class Resize:
    """`image.resize`: the box in pixels (`auto` may leave one side open) and how the picture is put into it."""

    width: int | None
    height: int | None
    mode: Mode = "auto"
    gravity: Gravity = "center"
    upscale: bool | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Scale the whole picture to `width` x `height`, then keep `crop_width` x `crop_height` of it from (`left`, `top`)."""

    width: int
    height: int
    left: int
    top: int
    crop_width: int
    crop_height: int

    @property
    def crops(self) -> bool:
        """Whether anything is cut away."""
        return (self.crop_width, self.crop_height) != (self.width, self.height)

    @property
    def wasteful(self) -> bool:
        """Whether most of what would be scaled up is cut away again: then it is better to crop first."""
        return self.width * self.height > _WASTEFUL * self.crop_width * self.crop_height

    @property
    def worked_on(self) -> tuple[int, int]:
        """The sides of the picture that is really made."""
        return (self.crop_width, self.crop_height) if self.wasteful else (self.width, self.height)

    def source(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, width and height of the part of a picture of `width` x `height` that is kept, in its own pixels."""
        left, part_width = _part(width, self.width, self.left, self.crop_width)
        top, part_height = _part(height, self.height, self.top, self.crop_height)
        return left, top, part_width, part_height


def _part(side: int, scaled: int, offset: int, kept: int) -> tuple[int, int]:
    length = min(side, max(1, round(kept * side / scaled)))
    return min(side - length, round(offset * side / scaled)), length


def place(width: int, height: int, resize: Resize | None) -> Placement:
    """Where a picture of `width` x `height` (as it is looked at, orientation applied) ends up."""
    if resize is None:
        return Placement(width, height, 0, 0, width, height)
    if resize.mode == "fit" and resize.width and resize.height:
        return _cover(width, height, resize.width, resize.height, resize)
    return _contain(width, height, resize)


def _contain(width: int, height: int, resize: Resize) -> Placement:
    ratios = [box / side for box, side in ((resize.width, width), (resize.height, height)) if box]
    scale = min(ratios)
    if scale > 1 and not resize.upscale:
        scale = 1
    scaled_width, scaled_height = _scaled(width, scale, resize.width), _scaled(height, scale, resize.height)
    return Placement(scaled_width, scaled_height, 0, 0, scaled_width, scaled_height)


def _scaled(side: int, scale: float, box: int | None) -> int:
    """Rounded, at least one pixel, and never beyond the box."""
    length = max(1, round(side * scale))
    return min(length, box) if box else length


def _cover(width: int, height: int, box_width: int, box_height: int, resize: Resize) -> Placement:
    scale = max(box_width / width, box_height / height)
    if scale > 1 and resize.upscale is False:
        scaled_width, scaled_height = width, height
    else:
        scaled_width = max(box_width, round(width * scale))
        scaled_height = max(box_height, round(height * scale))
    crop_width, crop_height = min(box_width, scaled_width), min(box_height, scaled_height)
    left = _offset(scaled_width - crop_width, resize.gravity, "left", "right")
    top = _offset(scaled_height - crop_height, resize.gravity, "top", "bottom")
    return Placement(scaled_width, scaled_height, left, top, crop_width, crop_height)


def _offset(excess: int, gravity: str, low: str, high: str) -> int:
    sides = gravity.split("-")
    if low in sides:
        return 0
    return excess if high in sides else excess // 2
