"""Opening files as libvips images, each by the loader of the format that its bytes show. Runs only in a worker process."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

import pyvips
from PIL import ImageColor

from watcher.engine import rasters
from watcher.engine.refusal import unprocessable, unsupported
from watcher.engine.tiff_kinds import visible_bands
from watcher.formats import svg_styles
from watcher.formats.gif import readable
from watcher.formats.svg import find_start
from watcher.formats.svg_lengths import has_calculated, in_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watcher.formats.tiff import Directory

MAX_SVG_BYTES: Final = 32_000_000
_LARGE_SVG: Final = 9_000_000
"""libxml2 refuses longer texts unless told otherwise; librsvg then no longer counts references either."""
_FROM_ELSEWHERE: Final = re.compile(rb"<!ENTITY\s[^>]*\s(?:SYSTEM|PUBLIC)\s")
_CSS_DPI: Final = 96.0
_VIPS_DPI: Final = 72.0
_PLAIN: Final = {"fail_on": "error", "access": "sequential"}
_LOADERS: Final[dict[str, Callable[..., pyvips.Image]]] = {
    "jpeg": pyvips.Image.jpegload,
    "png": pyvips.Image.pngload,
    "webp": pyvips.Image.webpload,
    "avif": pyvips.Image.heifload,
    "tiff": pyvips.Image.tiffload,
}


def load(path: Path, format_name: str, page: Directory | None = None, *, frames: int = 1) -> pyvips.Image:
    """The picture, lazily; of a TIFF the given page, of an animation so many frames below each other."""
    if format_name in rasters.FORMATS:
        return rasters.load(path, format_name)
    if format_name == "gif":
        return _gif(path, frames)
    options: dict[str, Any] = dict(_PLAIN)
    if frames > 1:
        options["n"] = frames
    if page is None:
        return _LOADERS[format_name](str(path), **options)
    if page.number is not None:
        options["page"] = page.number
    else:
        options.update(page=page.parent, subifd=page.below)
    image = _LOADERS["tiff"](str(path), **options)
    shown = visible_bands(page)
    if shown == tuple(range(image.bands)) or shown[-1] >= image.bands:
        return image
    if len(shown) == 1:
        return image[0]
    return image.extract_band(0, n=len(shown) - 1).bandjoin(image[shown[-1]])


def gif(path: Path, loader: Callable[[bytes, str], pyvips.Image], frames: int = 1) -> pyvips.Image:
    """A GIF by a loader that is given bytes and options: what libvips would read wrongly is written for it in another way."""
    found = readable(path.read_bytes())
    image = loader(found.content, f"[page={found.grounds},n={frames}]")
    if not found.grounds:
        return image
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "n-pages", image.get("n-pages") - found.grounds)
    if image.get_typeof("delay"):
        image.set_type(pyvips.GValue.array_int_type, "delay", image.get("delay")[found.grounds :])
    return image


def _gif(path: Path, frames: int) -> pyvips.Image:
    return gif(path, lambda content, options: pyvips.Image.new_from_buffer(content, options, **_PLAIN), frames)


def svg(path: Path, scale: float) -> pyvips.Image:
    """In CSS pixels times `scale`. From memory, so that it has no base address: librsvg then refuses references to files."""
    text = svg_styles.resolved(svg_bytes(path))
    if has_calculated(text):
        raise unsupported("an SVG with lengths that are calculated (calc): export it with plain lengths")
    if svg_styles.has_unknown(text):
        raise unsupported(
            "an SVG with clip-path shapes or transform-origin in its CSS: export it with plain paths and transforms"
        )
    options: dict[str, Any] = {"dpi": _CSS_DPI, "scale": max(scale, 1e-6) * _VIPS_DPI / _CSS_DPI}
    if len(text) > _LARGE_SVG and b"<!ENTITY" not in text.replace(b"\0", b""):  # bombs get no further allowance
        options["unlimited"] = True
    try:
        return _on_its_ground(pyvips.Image.svgload_buffer(in_pixels(text), **options), text)
    except pyvips.Error as error:
        if _FROM_ELSEWHERE.search(text.replace(b"\0", b"")):
            raise unsupported("an SVG with parts in other files (entities): export it as one file") from None
        if "bad dimensions" not in error.detail:
            raise
        raise unsupported("an SVG that says no size and draws nothing: give it a width and a height, or a view box") from None


def _on_its_ground(image: pyvips.Image, text: bytes) -> pyvips.Image:
    """On the colour that the root's style says, as in browsers."""
    start = find_start(text)
    try:
        colour = ImageColor.getrgb(svg_styles.background(start.root) if start is not None else "")
    except ValueError:
        return image
    return image.flatten(background=list(colour)) if len(colour) == 3 and image.hasalpha() else image


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
