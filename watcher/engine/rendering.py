"""From a file to pixels ready for encoding: upright, scaled, cropped, sRGB, eight bits. Runs only in a worker process.

The loader follows from the format that the bytes show; libraries never guess. Formats that libvips' build cannot read (BMP,
ICO, HEIC) come through Pillow and libheif and go on as libvips images.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyvips

from watcher.engine import rasters
from watcher.engine.refusal import unprocessable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcher.engine.geometry import Placement
    from watcher.engine.work import Limits

MAX_SVG_BYTES: Final = 32_000_000
_ANIMATED: Final = frozenset({"gif", "webp"})
_UPRIGHT: Final = 1
_CMYK_FALLBACK: Final = "cmyk"
_PLAIN: Final = {"fail_on": "error", "access": "sequential"}


@dataclass(frozen=True, slots=True)
class Picture:
    """What the header says. `width` and `height` in pixels are those of one frame as it is looked at (orientation applied).

    A `sequence` is an animation in a format whose animations no library here writes (PNG, AVIF): it can only stay as it is.
    """

    format: str
    path: Path
    width: int
    height: int
    frames: int = 1
    orientation: int = _UPRIGHT
    foreign_colours: bool = False
    lossless: bool = False
    metadata: bool = False
    sequence: bool = False
    rights: tuple[tuple[str, str], ...] = ()


def read_picture(path: Path, format_name: str, limits: Limits) -> Picture:
    """The facts in a file's header. Raises Refusal (422) where it is damaged or beyond the limits; decodes no pixels."""
    if format_name in rasters.FORMATS:
        width, height = rasters.size(path, format_name)
        picture = Picture(format_name, path, width, height, metadata=format_name == "heic")
    elif format_name == "svg":
        header = _svg(path, 1.0)
        picture = Picture("svg", path, header.width, header.height)
    else:
        picture = _from_header(path, format_name, _load(path, format_name, None), limits)
    check_limits(picture.width, picture.height, picture.frames, limits)
    return picture


def check_limits(width: int, height: int, frames: int, limits: Limits) -> None:
    """Raises Refusal (422) where so many pixels or frames are not allowed."""
    if frames > limits.frames:
        raise unprocessable(f"the image has {frames} frames; {limits.frames} are allowed")
    if width * height * frames > limits.pixels:
        raise unprocessable(f"the image has {width * height * frames} pixels; {limits.pixels} are allowed")


def render(picture: Picture, placement: Placement) -> pyvips.Image:
    """The pixels, lazily: errors of damaged files come up when they are encoded.

    The result is sRGB or grey, eight bits, with an alpha band where there was one; frames lie below each other and
    `page-height` tells them apart.
    """
    scaled = (placement.width, placement.height) != (picture.width, picture.height)
    if picture.format == "svg":
        image = _exactly(_svg(picture.path, _svg_scale(picture, placement)), placement)
    elif picture.format in rasters.FORMATS:
        image = rasters.load(picture.path, picture.format)
        image = _exactly(image, placement) if scaled else image
    elif scaled:
        image = _thumbnail(picture, placement)
    else:
        image = _load(picture.path, picture.format, picture.frames)
    if picture.orientation != _UPRIGHT and not scaled:
        image = image.copy_memory().autorot()  # turning reads out of order, which a decoder does not do
    image = to_srgb(image)
    return _crop(image, placement, picture.frames) if placement.crops else image


def _from_header(path: Path, format_name: str, header: pyvips.Image, limits: Limits) -> Picture:
    frames = _frames(path, format_name, header, limits)
    orientation = header.get("orientation") if header.get_typeof("orientation") else _UPRIGHT
    width, height = header.width, header.height
    if format_name == "avif" or frames > 1 or not 1 <= orientation <= 8:
        orientation = _UPRIGHT
    if orientation >= 5:
        width, height = height, width
    return Picture(
        format=format_name,
        path=path,
        width=width,
        height=height,
        frames=frames,
        orientation=orientation,
        foreign_colours=header.interpretation == "cmyk" or _has_foreign_profile(header),
        lossless=format_name == "webp" and _is_lossless_webp(path),
        sequence=_is_sequence(path, format_name),
        metadata=any(header.get_typeof(f"{kind}-data") for kind in ("exif", "xmp", "iptc")),
        rights=_rights(header),
    )


def _frames(path: Path, format_name: str, header: pyvips.Image, limits: Limits) -> int:
    """Frames that the output can keep: all of an animation, all pages of a TIFF if they are alike, else the first alone.

    More than are allowed are not looked at; the number is refused afterwards.
    """
    pages: int = header.get("n-pages") if header.get_typeof("n-pages") else 1
    if format_name in _ANIMATED or pages == 1 or pages > limits.frames:
        return pages
    if format_name != "tiff":
        return 1
    try:
        return pages if _load(path, format_name, pages).height == header.height * pages else 1
    except pyvips.Error:
        return 1


def _load(path: Path, format_name: str, frames: int | None) -> pyvips.Image:
    options: dict[str, Any] = dict(_PLAIN)
    if frames is not None and frames > 1:
        options["n"] = frames
    return _LOADERS[format_name](str(path), **options)


def _thumbnail(picture: Picture, placement: Placement) -> pyvips.Image:
    """Scaled while it is decoded: JPEG, WebP and the like are never decoded at full size if they need not be."""
    pages = f"[n={picture.frames}]" if picture.frames > 1 else ""
    options = {"height": placement.height, "size": "force", "fail_on": "error"}
    if picture.foreign_colours:
        options["output_profile"] = "srgb"  # twice the work, hence only where colours are to change
    return pyvips.Image.thumbnail(f"{picture.path}{pages}", placement.width, **options)


def _exactly(image: pyvips.Image, placement: Placement) -> pyvips.Image:
    if (image.width, image.height) == (placement.width, placement.height):
        return image
    return image.thumbnail_image(placement.width, height=placement.height, size="force", no_rotate=True)


def _crop(image: pyvips.Image, placement: Placement, frames: int) -> pyvips.Image:
    box = (placement.left, placement.crop_width, placement.crop_height)
    left, width, height = box
    if frames == 1:
        return image.crop(left, placement.top, width, height)
    image = image.copy_memory()
    cropped = [image.crop(left, frame * placement.height + placement.top, width, height) for frame in range(frames)]
    joined = pyvips.Image.arrayjoin(cropped, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    return joined


def to_srgb(image: pyvips.Image) -> pyvips.Image:
    """The same colours in sRGB (grey stays grey) with eight bits a band."""
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile=_CMYK_FALLBACK, intent="relative")
    elif image.get_typeof("icc-profile-data") and _has_foreign_profile(image):
        image = _from_profile(image)
    if image.interpretation == "grey16":
        image = image.colourspace("b-w")
    elif image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("srgb")
    if image.format != "uchar":
        image = image.cast("uchar")
    return _bands(image)


def _from_profile(image: pyvips.Image) -> pyvips.Image:
    """Through the embedded profile; one that is broken or fits no such image is taken for sRGB, as viewers do."""
    try:
        return image.icc_transform("srgb", embedded=True, intent="relative")
    except pyvips.Error:
        return image


def _bands(image: pyvips.Image) -> pyvips.Image:
    """One to four bands: what is beyond colour and one alpha (TIFFs may have it) goes."""
    most = 2 if image.interpretation == "b-w" else 4
    return image.extract_band(0, n=most) if image.bands > most else image


def _has_foreign_profile(image: pyvips.Image) -> bool:
    if not image.get_typeof("icc-profile-data"):
        return False
    profile = bytes(image.get("icc-profile-data"))
    return b"sRGB" not in profile and "sRGB".encode("utf-16-be") not in profile


def _rights(header: pyvips.Image) -> tuple[tuple[str, str], ...]:
    """Author and copyright notice of the Exif block: rights information that a copy must not lose."""
    fields = ((name, _exif_text(header, f"exif-ifd0-{name}")) for name in ("Artist", "Copyright"))
    return tuple((name, text) for name, text in fields if text)


def _exif_text(header: pyvips.Image, field: str) -> str:
    """The text of an Exif field; libvips appends type and counts in brackets."""
    if not header.get_typeof(field):
        return ""
    return str(header.get(field)).rpartition(" (")[0].strip("\x00 ")


def _is_lossless_webp(path: Path) -> bool:
    head = _head(path)
    return b"VP8L" in head[12:] and b"VP8 " not in head[12:]


def _is_sequence(path: Path, format_name: str) -> bool:
    if format_name == "png":
        return b"acTL" in _head(path).partition(b"IDAT")[0]
    return format_name == "avif" and _head(path)[8:12] == b"avis"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


def _svg_scale(picture: Picture, placement: Placement) -> float:
    return max(placement.width / picture.width, placement.height / picture.height)


def _svg(path: Path, scale: float) -> pyvips.Image:
    """From memory, so that it has no base address: librsvg then refuses every reference to files and networks."""
    return pyvips.Image.svgload_buffer(svg_bytes(path), scale=max(scale, 1e-6))


def svg_bytes(path: Path) -> bytes:
    """The SVG's text, unpacked if it is gzipped. Raises Refusal (422) where it is larger than 32 MB or damaged."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opener: Callable[..., Any] = gzip.open if packed else open
    try:
        with opener(path, "rb") as file:
            text: bytes = file.read(MAX_SVG_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise unprocessable("the compressed SVG is damaged") from None
    if len(text) > MAX_SVG_BYTES:
        raise unprocessable("the SVG is larger than 32 MB")
    return text


_LOADERS: Final[dict[str, Callable[..., pyvips.Image]]] = {
    "jpeg": pyvips.Image.jpegload,
    "png": pyvips.Image.pngload,
    "webp": pyvips.Image.webpload,
    "avif": pyvips.Image.heifload,
    "gif": pyvips.Image.gifload,
    "tiff": pyvips.Image.tiffload,
}
