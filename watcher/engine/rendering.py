"""From a file to pixels ready for encoding: upright, scaled, cropped, sRGB, eight bits. Runs only in a worker process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyvips

from watcher.engine import rasters
from watcher.engine.colours import to_srgb
from watcher.engine.headers import are_alike, said_by
from watcher.engine.sources import gif, load, svg
from watcher.engine.tiff_kinds import visible_bands
from watcher.formats.tiff import SAMPLES

if TYPE_CHECKING:
    from watcher.engine.geometry import Placement
    from watcher.engine.headers import PictureHeader
    from watcher.formats.tiff import Directory

_UPRIGHT = 1


def render(picture: PictureHeader, placement: Placement) -> pyvips.Image:
    """The pixels, lazily: errors of damaged files come up when they are encoded.

    The result is sRGB or grey, eight bits, with an alpha band where there was one; frames lie below each other and
    `page-height` tells them apart.
    """
    if picture.frames == 1:
        return _one(picture, placement)
    if picture.format == "tiff" and not _is_simple(picture):
        return _unlike_pages(picture, placement)
    scaled = (placement.width, placement.height) != (picture.width, picture.height)
    image = _thumbnail(picture, placement) if scaled else _frames(picture)
    image = to_srgb(image, picture.said)
    return _crop_frames(image, placement, picture.frames) if placement.crops else image


def _one(picture: PictureHeader, placement: Placement) -> pyvips.Image:
    if placement.wasteful:
        return _cut_out(picture, placement)
    if picture.format == "svg":
        image = to_srgb(_exactly(svg(picture.path, _svg_scale(picture, placement)), placement), picture.said)
    elif _shrinks_on_load(picture) and (placement.width, placement.height) != (picture.width, picture.height):
        image = to_srgb(_thumbnail(picture, placement), picture.said)
    else:
        image = _exactly(_whole(picture, _page(picture)), placement)
    return image.crop(placement.left, placement.top, placement.crop_width, placement.crop_height) if placement.crops else image


def _shrinks_on_load(picture: PictureHeader) -> bool:
    """Whether decoding at a smaller size gives the same picture: nothing must be done to colours or alpha before scaling."""
    plain = picture.format in ("jpeg", "png", "webp", "gif", "avif")
    return plain and not (picture.cmyk or picture.premultiplied or picture.said.hdr)


def _page(picture: PictureHeader) -> Directory | None:
    return picture.pages[0] if picture.pages else None


def _whole(picture: PictureHeader, page: Directory | None) -> pyvips.Image:
    """One picture in its own size: upright, in sRGB."""
    if picture.format == "heic":
        image = rasters.load_heic(picture.path, deep=picture.said.hdr is not None)
    elif picture.format == "svg":
        image = svg(picture.path, 1.0)
    else:
        image = load(picture.path, picture.format, page)
    if picture.premultiplied and image.hasalpha():
        image = image.unpremultiply(max_alpha=65_535 if image.format == "ushort" else 255).cast(image.format)
    orientation = page.orientation if page is not None else picture.orientation
    if orientation != _UPRIGHT:
        image = image.copy_memory()  # turning reads out of order, which a decoder does not do
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        image = image.autorot()
    return to_srgb(image, picture.said if page is None else said_by(image))


def _cut_out(picture: PictureHeader, placement: Placement) -> pyvips.Image:
    """First cropped, then scaled: of a narrow picture that is to cover a wide box next to nothing is kept."""
    whole = _whole(picture, _page(picture))
    left, top, width, height = placement.source(picture.width, picture.height)
    part = whole.copy_memory().crop(left, top, width, height)
    return part.thumbnail_image(placement.crop_width, height=placement.crop_height, size="force", no_rotate=True)


def _thumbnail(picture: PictureHeader, placement: Placement) -> pyvips.Image:
    """Scaled while it is decoded: JPEG, WebP and the like are never decoded at full size if they need not be."""
    options: dict[str, Any] = {"height": placement.height, "size": "force", "fail_on": "error"}
    if picture.format == "gif":

        def loader(content: bytes, pages: str) -> pyvips.Image:
            return pyvips.Image.thumbnail_buffer(content, placement.width, option_string=pages, **options)

        return gif(picture.path, loader, picture.frames)
    pages = f"[n={picture.frames}]" if picture.frames > 1 else ""
    if picture.pages:
        pages = f"[page={picture.pages[0].number},n={picture.frames}]"
    return pyvips.Image.thumbnail(f"{picture.path}{pages}", placement.width, **options)


def _exactly(image: pyvips.Image, placement: Placement) -> pyvips.Image:
    if (image.width, image.height) == (placement.width, placement.height):
        return image
    return image.thumbnail_image(placement.width, height=placement.height, size="force", no_rotate=True)


def _svg_scale(picture: PictureHeader, placement: Placement) -> float:
    return max(placement.width / picture.width, placement.height / picture.height)


# --- several frames or pages ------------------------------------------------------------------------------------------------


def _is_simple(picture: PictureHeader) -> bool:
    first = picture.pages[0]
    shown = visible_bands(first)
    return are_alike(picture.pages) and not picture.cmyk and first.first(SAMPLES, 1) <= len(shown)


def _frames(picture: PictureHeader) -> pyvips.Image:
    page = picture.pages[0] if picture.pages else None
    return load(picture.path, picture.format, page, frames=picture.frames)


def _unlike_pages(picture: PictureHeader, placement: Placement) -> pyvips.Image:
    """Pages that differ in colours or orientation, each made ready by itself, below each other."""
    pages = [_exactly(_whole(picture, page), placement) for page in picture.pages]
    if placement.crops:
        box = (placement.left, placement.top, placement.crop_width, placement.crop_height)
        pages = [page.copy_memory().crop(*box) for page in pages]
    bands = max(page.bands for page in pages)
    return _joined([_with_bands(page, bands) for page in pages], placement.crop_height)


def _with_bands(image: pyvips.Image, bands: int) -> pyvips.Image:
    if image.bands < 3 <= bands:
        image = image.colourspace("srgb")
    return image.bandjoin(255) if image.bands < bands else image


def _crop_frames(image: pyvips.Image, placement: Placement, frames: int) -> pyvips.Image:
    image = image.copy_memory()
    width, height = placement.crop_width, placement.crop_height
    tops = [frame * placement.height + placement.top for frame in range(frames)]
    return _joined([image.crop(placement.left, top, width, height) for top in tops], height)


def _joined(frames: list[pyvips.Image], height: int) -> pyvips.Image:
    joined = pyvips.Image.arrayjoin(frames, across=1).copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    return joined
