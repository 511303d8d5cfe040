"""Pictures for tests: made on the spot, deterministic, and with enough texture to be compressed like photographs."""

from __future__ import annotations

import io
from functools import cache
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

GRAIN = 0.65
"""How much of a uniform noise is left of it: about the spread of a sensor's at night."""


@cache
def photograph(width: int = 320, height: int = 200) -> Image.Image:
    """Soft gradients, hard edges and grain; its four corners have colours of their own (red, green, blue, yellow)."""
    grain = Image.frombytes("L", (width, height), Random(width * height).randbytes(width * height))
    noise = grain.point(lambda value: 128 + (value - 128) * GRAIN).filter(ImageFilter.GaussianBlur(1.2))
    gradient = Image.linear_gradient("L").resize((width, height))
    turned = Image.linear_gradient("L").rotate(90).resize((width, height))
    picture = Image.merge("RGB", [Image.blend(gradient, noise, 0.3), Image.blend(turned, noise, 0.3), noise])
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width * 0.3, height * 0.2, width * 0.7, height * 0.8), fill=(200, 120, 60))
    side = max(2, min(width, height) // 4)
    right, bottom = width - side, height - side
    draw.rectangle((0, 0, side, side), fill=(255, 0, 0))
    draw.rectangle((right, 0, width, side), fill=(0, 255, 0))
    draw.rectangle((0, bottom, side, height), fill=(0, 0, 255))
    draw.rectangle((right, bottom, width, height), fill=(255, 255, 0))
    return picture


def encoded(picture: Image.Image, format_name: str, **options: Any) -> bytes:
    """The bytes of a picture in one of Pillow's formats."""
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()


def jpeg(width: int = 320, height: int = 200, **options: Any) -> bytes:
    """A JPEG of high quality."""
    return encoded(photograph(width, height), "JPEG", **{"quality": 94, **options})


def decoded(content: bytes) -> Image.Image:
    """The picture in some bytes, every pixel read."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def corner_colours(picture: Image.Image) -> dict[str, tuple[int, int, int]]:
    """The colours a little inside the four corners, rounded so that lossy formats compare equal."""
    rgb = picture.convert("RGB")
    inset = max(1, min(rgb.size) // 16)
    right, bottom = rgb.width - 1 - inset, rgb.height - 1 - inset
    places = {
        "top-left": (inset, inset),
        "top-right": (right, inset),
        "bottom-left": (inset, bottom),
        "bottom-right": (right, bottom),
    }
    return {name: tuple(255 if band > 127 else 0 for band in _pixel(rgb, place)) for name, place in places.items()}  # type: ignore[misc]


def _pixel(picture: Image.Image, place: tuple[int, int]) -> tuple[int, int, int]:
    value = picture.getpixel(place)
    assert isinstance(value, tuple)
    return value[0], value[1], value[2]


UPRIGHT_CORNERS = {
    "top-left": (255, 0, 0),
    "top-right": (0, 255, 0),
    "bottom-left": (0, 0, 255),
    "bottom-right": (255, 255, 0),
}
"""The corners of a photograph() that stands upright."""
