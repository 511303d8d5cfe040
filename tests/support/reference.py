"""What a picture looks like by decoders that the engine does not use: Pillow's own, its colours by littleCMS."""

from __future__ import annotations

import io
import warnings
from typing import Final

from PIL import Image, ImageChops, ImageCms, ImageStat

MOST_PIXELS: Final = 150_000_000
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PROFILED: Final = {"RGB ": ("RGB", {"RGB", "RGBA", "P", "PA"}), "GRAY": ("L", {"L", "LA"}), "CMYK": ("CMYK", {"CMYK"})}


def looked_at(content: bytes) -> Image.Image | None:
    """The first picture of a file in sRGB with alpha, upright; None where Pillow cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    return None
                picture.load()
                turned = picture.getexif().get(274, 1) if picture.format not in ("AVIF", "HEIF") else 1
                shown = _coloured(picture).convert("RGBA")
        except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, Image.DecompressionBombError):
            return None  # what its readers raise over damage
    return shown.transpose(_TURNS[turned]) if turned in _TURNS else shown


def _coloured(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode, fitting = _PROFILED[str(source.profile.xcolor_space).ljust(4)]
    except (KeyError, ImageCms.PyCMSError):
        return picture
    if picture.mode not in fitting:
        return picture
    flags, intent = ImageCms.Flags.BLACKPOINTCOMPENSATION, ImageCms.Intent.RELATIVE_COLORIMETRIC
    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(picture.convert(mode), source, target, intent, "RGB", flags=flags)
    if converted is None:
        return picture
    if picture.has_transparency_data:
        converted.putalpha(picture.convert("RGBA").getchannel("A"))
    return converted


def distance(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of the band that differs most, of 255, on white or black; infinite where the sizes differ."""
    if one.size != other.size:
        return float("inf")
    found = 0.0
    for background in ("white", "black"):
        first, second = (_on(background, picture) for picture in (one, other))
        found = max(found, *ImageStat.Stat(ImageChops.difference(first, second)).mean)
    return found


def _on(background: str, picture: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", picture.size, background)
    ground.alpha_composite(picture)
    return ground.convert("RGB")
