"""What a picture looks like by decoders that the engine does not use: Pillow's own, its colours by littleCMS; resvg for SVG."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zlib
from contextlib import suppress
from typing import Final

import pillow_heif
import resvg_py
from PIL import Image, ImageChops, ImageCms, ImageStat

from watcher.formats.sniffing import sniff
from watcher.model import Format

_COARSE: Final = 24
_DAMAGE: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, RuntimeError, zlib.error),
    Image.DecompressionBombError,
)
"""What readers raise over damage."""
MOST_PIXELS: Final = 150_000_000
_ORIENTATION: Final = 274
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
    """The first picture of a file in sRGB with alpha, upright; None where none of the decoders can read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if _is_svg(content):
                return drawn_by_resvg(_unpacked(content))
            return _by_libheif(content) if content[4:8] == b"ftyp" and content[8:12] != b"avif" else _by_pillow(content)
        except _DAMAGE:
            return None


def _is_svg(content: bytes) -> bool:
    return sniff(lambda offset, size: content[offset : offset + size], len(content)).format == Format.SVG


def _unpacked(content: bytes) -> str:
    plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return plain.decode("utf-16" if plain[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def drawn_by_resvg(text: str) -> Image.Image:
    """An SVG as resvg draws it, of the size that it says. Raises ValueError."""
    drawn = resvg_py.svg_to_bytes(svg_string=text, dpi=96)
    with Image.open(io.BytesIO(drawn)) as picture:
        return picture.convert("RGBA")


def _by_pillow(content: bytes) -> Image.Image | None:
    with Image.open(io.BytesIO(content)) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            return None
        drawn = picture.tile[0][1] if picture.format == "GIF" and picture.tile else None
        turned = _turned(picture)
        picture.load()
        shown = _coloured(picture).convert("RGBA")
    if drawn is not None:  # Pillow fills the rest of the screen with the background colour, browsers leave it transparent
        bare = Image.new("RGBA", shown.size)
        bare.paste(shown.crop(drawn), drawn)
        shown = bare
    return shown.transpose(_TURNS[turned]) if turned in _TURNS else shown


def _turned(picture: Image.Image) -> int:
    """What Exif before the pixels says. Pillow itself asks XMP too, which no browser does; TIFFs it has turned by now."""
    exif = Image.Exif()
    with suppress(struct.error, *_DAMAGE):
        if picture.format != "TIFF":
            exif.load(picture.info.get("exif", b""))
    said = exif.get(_ORIENTATION, 1)
    return said if isinstance(said, int) else 1


def _by_libheif(content: bytes) -> Image.Image:
    """No other decoder of HEVC is at hand; orientation and cropping are libheif's, colours littleCMS's."""
    picture = pillow_heif.open_heif(content, convert_hdr_to_8bit=True).to_pillow()
    return _coloured(picture).convert("RGBA")


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


def coarse_distance(one: Image.Image, other: Image.Image) -> float:
    """The same of pictures a quarter as large, where they are large enough: what compression does to grain is no difference."""
    if one.size != other.size or min(one.size) < _COARSE:
        return distance(one, other)
    return max(distance(*(_reduced(picture, ground) for picture in (one, other))) for ground in ("white", "black"))


def _reduced(picture: Image.Image, background: str) -> Image.Image:
    return _on(background, picture).reduce(4).convert("RGBA")


def _on(background: str, picture: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", picture.size, background)
    ground.alpha_composite(picture)
    return ground.convert("RGB")
