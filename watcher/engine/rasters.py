"""The formats that libvips' wheel cannot read or write: BMP and ICO through Pillow, HEIC through libheif's own wheel.

Runs only in a worker process. Pillow is told the one format it may open, so that it never guesses either.
"""

from __future__ import annotations

import io
import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pillow_heif
import pyvips
from PIL import ExifTags, IcoImagePlugin, Image

from watcher.engine.refusal import unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMATS: Final = frozenset({"bmp", "ico", "heic"})
MAX_ICO_SIDE: Final = 256
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_DAMAGE: Final = (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, KeyError, OverflowError, RuntimeError)
"""What the readers of Pillow and libheif raise on damaged files (Pillow documents OSError and leaks the others)."""


def limit_pixels(pixels: int) -> None:
    """Pillow itself refuses pictures of more pixels: an ICO's directory may announce less than the pictures in it have."""
    Image.MAX_IMAGE_PIXELS = max(1, pixels // 2)  # Pillow warns from there on and refuses from twice as many on


def size(path: Path, format_name: str) -> tuple[int, int]:
    """Width and height from the header. Raises Refusal (422) where it is damaged."""
    with _damage():
        if format_name == "heic":
            width, height = pillow_heif.open_heif(path, convert_hdr_to_8bit=True).size
        else:
            with Image.open(path, formats=[format_name]) as image:
                width, height = image.size
    return int(width), int(height)


def load(path: Path, format_name: str) -> pyvips.Image:
    """The pixels. An ICO gives its largest picture. Raises Refusal (422) where they are damaged."""
    with _damage():
        return _load_heic(path) if format_name == "heic" else _load_pillow(path, format_name)


def _load_heic(path: Path) -> pyvips.Image:
    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=True)
    with Image.frombytes(file.mode, file.size, file.data, "raw", file.mode, file.stride) as image:
        loaded = _to_vips(image)
    if profile := file.info.get("icc_profile"):
        loaded.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return loaded


def _load_pillow(path: Path, format_name: str) -> pyvips.Image:
    with Image.open(path, formats=[format_name]) as image:
        image.load()
        return _to_vips(image)


def _to_vips(image: Image.Image) -> pyvips.Image:
    if image.mode not in _MODES.values():
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    bands = len(image.getbands())
    loaded = pyvips.Image.new_from_memory(image.tobytes(), image.width, image.height, bands, "uchar")
    return loaded.copy(interpretation="b-w" if bands < 3 else "srgb")


def _to_pillow(image: pyvips.Image) -> Image.Image:
    return Image.frombytes(_MODES[image.bands], (image.width, image.height), image.write_to_memory())


def save_bmp(image: pyvips.Image, *, colours: int | None) -> bytes:
    """A BMP of 24 bits (32 with alpha), or of a palette with so many `colours`."""
    picture = _to_pillow(image)
    if picture.mode == "LA":
        picture = picture.convert("RGBA")
    if colours is not None and picture.mode == "RGB":
        picture = picture.quantize(colours)
    return _saved(picture, "BMP")


def save_ico(image: pyvips.Image) -> bytes:
    """An icon of one picture, which is held as PNG. Raises Refusal (422) beyond 256 pixels, which the format cannot hold."""
    if max(image.width, image.height) > MAX_ICO_SIDE:
        raise unprocessable(f"an ICO holds at most {MAX_ICO_SIDE} x {MAX_ICO_SIDE} pixels")
    buffer = io.BytesIO()
    _to_pillow(image).save(buffer, "ICO", sizes=[(image.width, image.height)])
    return buffer.getvalue()


def repack_ico(path: Path) -> bytes:
    """The icon with all its pictures, each held as PNG; as it was, where that is no smaller. Raises Refusal where damaged."""
    original = path.read_bytes()
    with _damage(), IcoImagePlugin.IcoImageFile(path) as icon:
        pictures = [icon.ico.getimage(size) for size in sorted(icon.info["sizes"], reverse=True)]
        buffer = io.BytesIO()
        sizes = [picture.size for picture in pictures]
        pictures[0].save(buffer, "ICO", sizes=sizes, append_images=pictures[1:])
    return min(buffer.getvalue(), original, key=len)


def save_heic(image: pyvips.Image, quality: int, rights: Mapping[str, str]) -> bytes:
    """HEIC of a quality from 0 to 100, with author and copyright notice (`rights`: Exif names and texts)."""
    picture = _to_pillow(image)
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.mode == "LA" else "RGB")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(
        buffer, quality=quality, exif=exif_block(rights) or None, xmp=None, enc_params={"preset": "fast"}
    )
    return buffer.getvalue()


def exif_block(rights: Mapping[str, str]) -> bytes:
    """An Exif block (with its prefix) that holds nothing but `rights`; empty where there are none."""
    if not rights:
        return b""
    exif = Image.Exif()
    for name, text in rights.items():
        exif[ExifTags.Base[name]] = text
    return exif.tobytes()


def _saved(picture: Image.Image, format_name: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name)
    return buffer.getvalue()


@contextmanager
def _damage() -> Iterator[None]:
    """Turns what the readers raise on damaged files into a Refusal, and their warnings into nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise unprocessable("the image has more pixels than are allowed") from None
    except _DAMAGE:
        raise unprocessable("the image is corrupt or cut off") from None
