"""The formats that libvips' wheel cannot read or write: BMP and ICO through Pillow, HEIC through libheif's own wheel.

Runs only in a worker process. Pillow is told the one format it may open, so that it never guesses either.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pillow_heif
import pyvips
from PIL import IcoImagePlugin, Image

from watcher.engine.refusal import corrupt, unprocessable, unreadable
from watcher.engine.rights import PREFIX, exif_block
from watcher.formats import windows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from watcher.engine.rights import Rights
    from watcher.formats.windows import Masked

FORMATS: Final = frozenset({"bmp", "ico", "heic"})
MAX_ICO_SIDE: Final = 256
_BMP_V5, _BITFIELDS = 124, 3
_BITS_WITH_ALPHA: Final = b"\x20\0"
_CANNOT: Final = re.compile(r"unsupported|not supported|unimplemented|invalid palette size", re.IGNORECASE)
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_DAMAGE: Final = (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, KeyError, OverflowError, RuntimeError)
"""What the readers of Pillow and libheif raise on damaged files (Pillow documents OSError and leaks the others)."""


def limit_pixels(pixels: int) -> None:
    """Pillow itself refuses pictures of more pixels: an ICO's directory may announce less than the pictures in it have."""
    Image.MAX_IMAGE_PIXELS = max(1, pixels // 2)  # Pillow warns from there on and refuses from twice as many on


def size(path: Path, format_name: str) -> tuple[int, int]:
    """Width and height from the header. Raises Refusal (422) where it is damaged."""
    with _damage(format_name):
        if format_name == "heic":
            width, height = pillow_heif.open_heif(path, convert_hdr_to_8bit=True).size
        elif format_name == "ico":
            width, height = max(
                (picture.size for picture in _icon_pictures(path.read_bytes())), key=lambda side: side[0] * side[1]
            )
        elif (layout := windows.masks(path.read_bytes())) is not None:
            width, height = layout.width, layout.height
        else:
            with Image.open(path, formats=[format_name]) as image:
                width, height = image.size
    if width < 1 or height < 1:
        raise corrupt(format_name)
    return int(width), int(height)


def profile(path: Path, format_name: str) -> bytes | None:
    """The colour profile that the file holds, of a BMP. Raises Refusal (422) where it is damaged."""
    if format_name != "bmp":
        return None
    with _damage(format_name):
        return windows.profile(path.read_bytes())


def load(path: Path, format_name: str) -> pyvips.Image:
    """The pixels. An ICO gives its largest picture. Raises Refusal (422) where they are damaged."""
    if format_name == "heic":
        return load_heic(path)
    with _damage(format_name):
        return _load_ico(path) if format_name == "ico" else _load_pillow(path, format_name)


def load_heic(path: Path, *, deep: bool = False) -> pyvips.Image:
    """The pixels with their profile; `deep`: with 16 bits where there are more than 8. Raises Refusal (422)."""
    with _damage("heic"):
        file = pillow_heif.open_heif(path, convert_hdr_to_8bit=not deep)
        if not file.mode.endswith(";16"):
            with Image.frombytes(file.mode, file.size, file.data, "raw", file.mode, file.stride) as image:
                return _to_vips(image)
        bands = {"RGB": 3, "RGBA": 4, "I": 1, "L": 1}[file.mode.removesuffix(";16")]
        rows = pyvips.Image.new_from_memory(bytes(file.data), file.stride // (2 * bands), file.size[1], bands, "ushort")
        return rows.crop(0, 0, *file.size).copy(interpretation="grey16" if bands == 1 else "rgb16")


def _load_pillow(path: Path, format_name: str) -> pyvips.Image:
    content = path.read_bytes()
    if format_name == "bmp" and (layout := windows.masks(content)) is not None:
        return _by_masks(content, layout)
    with Image.open(io.BytesIO(content), formats=[format_name]) as image:
        image.load()
        return _to_vips(image)


def _by_masks(content: bytes, layout: Masked) -> pyvips.Image:
    """The pixels of a BMP that says itself which bits are which colour."""
    if not layout.makes_sense:
        raise unreadable("bmp")
    pixels = content[layout.start : layout.start + layout.stride * layout.height]
    across, kind = layout.stride * 8 // layout.bits, "ushort" if layout.bits == 16 else "uint"
    words = pyvips.Image.new_from_memory(pixels, across, layout.height, 1, kind).crop(0, 0, layout.width, layout.height)
    bands = [_band(words, mask) for mask in layout.masks]
    image = bands[0].bandjoin(bands[1:]).copy(interpretation="srgb")
    return image if layout.top_down else image.flipver()


def _band(words: pyvips.Image, mask: int) -> pyvips.Image:
    shift = (mask & -mask).bit_length() - 1 if mask else 0
    most = mask >> shift
    return ((words >> shift) & most).linear(255 / max(most, 1), 0.5).cast("uchar")


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
    if picture.mode in ("LA", "RGBA"):
        return _bmp_with_alpha(picture.convert("RGBA"))
    if colours is not None and picture.mode == "RGB":
        picture = picture.quantize(colours)
    return _saved(picture, "BMP")


def _bmp_with_alpha(picture: Image.Image) -> bytes:
    """With a header of version 5, whose masks say that the fourth byte is alpha; readers of older ones take it for padding."""
    pixels = picture.tobytes("raw", "BGRA", 0, -1)
    masks = struct.pack("<IIII", 0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", _BMP_V5, *picture.size, 1, 32, _BITFIELDS, len(pixels), 2835, 2835, 0, 0) + masks
    header = (header + b"BGRs").ljust(_BMP_V5, b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def save_ico(image: pyvips.Image) -> bytes:
    """An icon of one picture, which is held as PNG. Raises Refusal (422) beyond 256 pixels, which the format cannot hold."""
    if max(image.width, image.height) > MAX_ICO_SIDE:
        raise unprocessable(f"an ICO holds at most {MAX_ICO_SIDE} x {MAX_ICO_SIDE} pixels")
    return _icon([_saved(_to_pillow(image), "PNG")])


def repack_ico(path: Path) -> bytes:
    """The icon with all its pictures, each held as PNG; as it was, where that is no smaller. Raises Refusal where damaged."""
    original = path.read_bytes()
    with _damage("ico"):
        pictures = sorted(_icon_pictures(original), key=_area, reverse=True)
        return min(_icon([_saved(picture, "PNG") for picture in pictures]), original, key=len)


def _load_ico(path: Path) -> pyvips.Image:
    return _to_vips(max(_icon_pictures(path.read_bytes()), key=_area))


def _area(picture: Image.Image) -> int:
    return picture.width * picture.height


def _icon_pictures(content: bytes) -> list[Image.Image]:
    """Every picture, in the order of the directory. Its size is what it says itself: the directory ends at 256."""
    count = struct.unpack_from("<H", content, 4)[0]
    return [_icon_picture(content, content[entry : entry + 16]) for entry in range(6, 6 + 16 * count, 16)]


def _icon_picture(content: bytes, entry: bytes) -> Image.Image:
    length, offset = struct.unpack_from("<II", entry, 8)
    held = content[offset : offset + length]
    if held.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(held), formats=["PNG"]) as picture:
            picture.load()
            return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    alone = struct.pack("<HHH", 0, 1, 1) + entry[:12] + struct.pack("<I", 22) + held
    with IcoImagePlugin.IcoImageFile(io.BytesIO(alone)) as icon:
        shown: Image.Image = icon.ico.frame(0)
    if held[14:16] == _BITS_WITH_ALPHA and shown.mode == "RGBA" and shown.getchannel("A").getbbox() is None:
        shown.putalpha(_masked(held, shown.size))
    return shown


def _masked(held: bytes, size: tuple[int, int]) -> Image.Image:
    """What the mask below the pixels lets through: it counts where no pixel has alpha, as browsers and Windows have it."""
    stride, start = (size[0] + 31) // 32 * 4, int.from_bytes(held[:4], "little") + 4 * size[0] * size[1]
    mask = held[start : start + stride * size[1]]
    return Image.frombytes("1", size, mask, "raw", ("1;I", stride, -1)).convert("L") if mask else Image.new("L", size, 255)


def _icon(pictures: list[bytes]) -> bytes:
    """An ICO of pictures that are held as PNG."""
    table, place = struct.pack("<HHH", 0, 1, len(pictures)), 6 + 16 * len(pictures)
    for held in pictures:
        width, height = (side if side < MAX_ICO_SIDE else 0 for side in struct.unpack_from(">II", held, 16))
        table += struct.pack("<BBBBHHII", width, height, 0, 0, 1, 32, len(held), place)
        place += len(held)
    return table + b"".join(pictures)


def save_heic(image: pyvips.Image, quality: int, rights: Rights) -> bytes:
    """HEIC of a quality from 0 to 100, with author and copyright notice."""
    picture = _to_pillow(image)
    if picture.mode not in ("RGB", "RGBA"):
        picture = picture.convert("RGBA" if picture.mode == "LA" else "RGB")
    buffer = io.BytesIO()
    block = exif_block(rights)
    exif = PREFIX + block if block else None
    pillow_heif.from_pillow(picture).save(buffer, quality=quality, exif=exif, xmp=None, enc_params={"preset": "fast"})
    return buffer.getvalue()


def _saved(picture: Image.Image, format_name: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name)
    return buffer.getvalue()


@contextmanager
def _damage(format_name: str) -> Iterator[None]:
    """Turns what the readers raise on damaged files into a Refusal, and their warnings into nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError:
        raise unprocessable("the image has more pixels than are allowed") from None
    except _DAMAGE as error:
        if _CANNOT.search(str(error)):
            raise unreadable(format_name) from None
        raise corrupt(format_name) from None
