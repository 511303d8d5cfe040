"""What a file's header says, before any pixel is decoded: size, frames, colours, rights; and what cannot be done with it.

Runs only in a worker process. What libraries read less of than they seem to (pages, sequences, collections, numbers that mean
colours) is read here by watcher.formats.
"""

from __future__ import annotations

import mmap
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.engine import rasters
from watcher.engine.colours import NOTHING, Said, from_chromaticities, from_numbers
from watcher.engine.notices import MOST_XMP, from_iptc, from_png, from_xmp, merged
from watcher.engine.profiles import BT709, SRGB_CURVE, Curve, Primaries
from watcher.engine.refusal import corrupt, unprocessable, unsupported
from watcher.engine.rights import COPYRIGHT, read_rights
from watcher.engine.sources import load, svg
from watcher.engine.tiff_kinds import trouble
from watcher.formats import gif, heif, png, tiff
from watcher.formats.bounded_reading import Bytes, Cut
from watcher.formats.exif import UPRIGHT, orientation, upright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyvips

    from watcher.engine.rights import Rights
    from watcher.engine.work import Limits
    from watcher.formats.tiff import Directory

_USUAL_GAMMA: Final = (0.43, 0.48)
"""sRGB's curve is near a power of 1/2.2, and what says so nearly always means sRGB."""
_MOST_UNLIKE_PAGES: Final = 200
_SAYS_RIGHTS: Final = (b"copyright", "\u00a9".encode(), b"\xa9", b"(c)")
_TEXT_ITEMS: Final = (b"Exif", b"mime", b"uri ")


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What the header says. `width` and `height` in pixels are those of one frame as it is looked at (orientation applied).

    A `sequence` is an animation in a format whose animations no library here writes (PNG, AVIF): it can only stay as it is.
    `pages` are those of a TIFF, `premultiplied` says that alpha is already applied to the colours.
    """

    format: str
    path: Path
    width: int
    height: int
    frames: int = 1
    orientation: int = UPRIGHT
    said: Said = NOTHING
    cmyk: bool = False
    lossless: bool = False
    metadata: bool = False
    sequence: bool = False
    premultiplied: bool = False
    rights: Rights = ()
    pages: tuple[Directory, ...] = ()

    @property
    def animated(self) -> bool:
        """Whether its pictures are shown one after the other, and are no pages."""
        return self.sequence or (self.frames > 1 and not self.pages)

    @property
    def foreign_colours(self) -> bool:
        """Whether the numbers of the pixels change on the way to sRGB."""
        return self.cmyk or self.said.foreign


def read_picture(path: Path, format_name: str, limits: Limits) -> PictureHeader:
    """The facts in a file's header. Raises Refusal (422) where it is damaged, cannot be done, or is beyond the limits."""
    try:
        picture = _read(path, format_name, limits)
    except Cut:
        raise corrupt(format_name) from None
    check_limits(picture.width, picture.height, picture.frames, limits)
    return picture


def _read(path: Path, format_name: str, limits: Limits) -> PictureHeader:
    if format_name == "svg":
        header = svg(path, 1.0)
        return PictureHeader("svg", path, header.width, header.height)
    if format_name == "tiff":
        return _tiff(path, limits)
    if format_name in ("heic", "avif"):
        return _heif(path, format_name)
    if format_name in rasters.FORMATS:
        width, height = rasters.size(path, format_name)
        return PictureHeader(format_name, path, width, height, said=Said(rasters.profile(path, format_name)))
    return _plain(path, format_name)


def check_limits(width: int, height: int, frames: int, limits: Limits) -> None:
    """Raises Refusal (422) where so many pixels or frames are not allowed."""
    if frames > limits.frames:
        raise unprocessable(f"the image has {frames} frames; {limits.frames} are allowed")
    if width * height * frames > limits.pixels:
        raise unprocessable(f"the image has {width * height * frames} pixels; {limits.pixels} are allowed")


@contextmanager
def reading(path: Path) -> Iterator[Bytes]:
    """The bytes of a file, for watcher.formats."""
    with path.open("rb") as file:
        yield Bytes(lambda offset, count: os.pread(file.fileno(), count, offset), os.fstat(file.fileno()).st_size)


# --- JPEG, PNG, WebP, GIF ---------------------------------------------------------------------------------------------------


def _plain(path: Path, format_name: str) -> PictureHeader:
    header = load(path, format_name)
    exif = _blob(header, "exif-data") or b""
    turned = _orientation(header, exif)
    frames = header.get("n-pages") if header.get_typeof("n-pages") else 1
    frames = frames if format_name in ("gif", "webp") else 1
    turned = turned if frames == 1 else UPRIGHT
    width, height = upright(header.width, header.height, turned)
    said, sequence = said_by(header), False
    if format_name == "png":
        with reading(path) as data:
            said, sequence = _png_colours(said, png.colours(data)), png.is_animated(data)
    return PictureHeader(
        format=format_name,
        path=path,
        width=width,
        height=height,
        frames=frames,
        orientation=turned,
        said=said,
        cmyk=header.interpretation == "cmyk",
        lossless=format_name == "webp" and _is_lossless_webp(path),
        sequence=sequence,
        metadata=any(_blob(header, f"{kind}-data") for kind in ("exif", "xmp", "iptc")),
        rights=_plain_rights(path, format_name, header, exif),
    )


def said_by(header: pyvips.Image) -> Said:
    """What the profile in a header says."""
    return Said(_blob(header, "icc-profile-data"))


def _blob(header: pyvips.Image, name: str) -> bytes | None:
    return bytes(header.get(name)) if header.get_typeof(name) else None


def _orientation(header: pyvips.Image, exif: bytes) -> int:
    value = header.get("orientation") if header.get_typeof("orientation") else orientation(exif)
    return value if 1 <= value <= 8 else UPRIGHT


def _png_colours(said: Said, found: png.Colours) -> Said:
    """The order of precedence is PNG's own (4.3): cICP, profile, sRGB, then gamma and chromaticities.

    Browsers heed chromaticities beside a gamma only.
    """
    if found.cicp is not None:
        return from_numbers(*found.cicp)
    if said.profile is not None or found.srgb or found.gamma is None:
        return said
    gamma = found.gamma
    curve = SRGB_CURVE if _USUAL_GAMMA[0] < gamma < _USUAL_GAMMA[1] else Curve(1 / gamma)
    if not found.chromaticities:
        return said if curve == SRGB_CURVE else from_chromaticities(BT709, curve)
    white, red, green, blue = zip(found.chromaticities[::2], found.chromaticities[1::2], strict=True)
    return from_chromaticities(Primaries(red, green, blue, white), curve)


def _is_lossless_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    return b"VP8L" in head[12:] and b"VP8 " not in head[12:]


def _plain_rights(path: Path, format_name: str, header: pyvips.Image, exif: bytes) -> Rights:
    if format_name == "gif":
        return _gif_rights(path)
    with reading(path) as data:
        texts = from_png(data) if format_name == "png" else ()
    return merged(read_rights(exif), _blob_rights(header), texts)


def _blob_rights(header: pyvips.Image) -> Rights:
    return merged(from_xmp(_blob(header, "xmp-data") or b""), from_iptc(_blob(header, "iptc-data") or b""))


def _gif_rights(path: Path) -> Rights:
    """Comments that say whose the picture is, else what XMP says."""
    content = path.read_bytes()
    data = Bytes(lambda offset, count: content[offset : offset + count], len(content))
    texts = [text for text in gif.comments(data) if any(word in text.lower() for word in _SAYS_RIGHTS)]
    return merged(tuple((COPYRIGHT, text) for text in texts), from_xmp(gif.xmp(data)))


# --- HEIC, AVIF -------------------------------------------------------------------------------------------------------------


def _heif(path: Path, format_name: str) -> PictureHeader:
    with reading(path) as data:
        found = heif.structure(data)
        exif, xmp = _item(data, found, b"Exif")[4:], _item(data, found, b"mime")
    kinds = [item.kind for item in found.items.values()]
    metadata, sequence = any(kind in kinds for kind in _TEXT_ITEMS), found.samples > 1
    pictures = len(found.pictures)
    if pictures > 1:
        raise unsupported(f"a {format_name.upper()} with {pictures} pictures in it: export each as a file of its own")
    if sequence and (format_name == "heic" or metadata):
        raise unsupported(f"an animated {format_name.upper()}: export an animated WebP or GIF")
    said = _heif_colours(found)
    if format_name == "heic":
        width, height = rasters.size(path, format_name)
    else:
        header = load(path, format_name)
        width, height = header.width, header.height
    return PictureHeader(
        format=format_name,
        path=path,
        width=width,
        height=height,
        said=said,
        sequence=sequence,
        metadata=metadata,
        premultiplied=any(kind == b"prem" for kind, _, _ in found.references),
        rights=merged(read_rights(exif), from_xmp(xmp)),
    )


def _item(data: Bytes, found: heif.Structure, kind: bytes) -> bytes:
    item = next((each for each in found.items.values() if each.kind == kind and not each.inside), None)
    return b"".join(data.some(offset, min(length, MOST_XMP)) for offset, length in item.extents) if item is not None else b""


def _heif_colours(found: heif.Structure) -> Said:
    """A profile goes before numbers; a picture made of tiles may leave it to them."""
    sources = [found.primary, *(each for kind, source, parts in found.references if kind == b"dimg" for each in parts[:1])]
    for source in sources:
        item = found.items.get(source)
        colr = [content for kind, content in item.properties if kind == b"colr"] if item is not None else []
        profile = next((each[4:] for each in colr if each[:4] in (b"prof", b"rICC")), None)
        numbers = next((each for each in colr if each[:4] == b"nclx" and len(each) >= 8), None)
        if numbers is not None and (hdr := from_numbers(*_cicp(numbers))).hdr is not None:
            return hdr
        if profile is not None:
            return Said(profile)
        if numbers is not None:
            return from_numbers(*_cicp(numbers))
    return NOTHING


def _cicp(nclx: bytes) -> tuple[int, int]:
    return int.from_bytes(nclx[4:6], "big"), int.from_bytes(nclx[6:8], "big")


# --- TIFF -------------------------------------------------------------------------------------------------------------------


def _tiff(path: Path, limits: Limits) -> PictureHeader:
    with reading(path) as data:
        pages = tuple(tiff.pages(tiff.directories(data)))
    if not pages:
        raise corrupt("tiff")
    if len(pages) > limits.frames:
        raise unprocessable(f"the image has {len(pages)} frames; {limits.frames} are allowed")
    for page in pages:
        if words := trouble(page):
            raise unsupported(words)
    sizes = {upright(*page.size, page.orientation) for page in pages}
    if len(sizes) > 1:
        raise unsupported(f"a TIFF of {len(pages)} pages of different sizes: save each page as a file of its own, or as a PDF")
    if len(pages) > _MOST_UNLIKE_PAGES and not are_alike(pages):
        raise unsupported(f"a TIFF of {len(pages)} pages that differ in colours or orientation: save it in parts")
    header = load(path, "tiff", pages[0])
    width, height = sizes.pop()
    return PictureHeader(
        format="tiff",
        path=path,
        width=width,
        height=height,
        frames=len(pages),
        orientation=pages[0].orientation,
        said=said_by(header),
        cmyk=header.interpretation == "cmyk",
        metadata=True,
        rights=merged(_tiff_rights(path), _blob_rights(header)),
        pages=pages,
    )


def are_alike(pages: tuple[Directory, ...]) -> bool:
    """Whether pages follow each other in the chain, upright and of one kind, so that they can be read as one picture."""
    first = pages[0]
    same = (tiff.SAMPLES, tiff.BITS, tiff.PHOTOMETRIC, tiff.EXTRA, tiff.PALETTE)
    return all(
        page.number == (first.number or 0) + place
        and page.orientation == UPRIGHT
        and page.size == first.size
        and page.profile == first.profile
        and all(page.values.get(tag) == first.values.get(tag) for tag in same)
        for place, page in enumerate(pages)
    )


def _tiff_rights(path: Path) -> Rights:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return read_rights(content)
