"""More odd but valid pictures, found by holding the engine against Pillow, tifffile and Chromium over public test collections."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageSequence, ImageStat

from tests.support.engine_images import is_near, make, refusal, shown
from tests.support.odd_files import (
    DISPLAY_P3,
    SHORT,
    SRGB,
    UNDEFINED,
    Page,
    chunk,
    gamma_curve,
    icc_profile,
    page,
    rgb_page,
    srgb_curve,
    tiff,
    with_chunks,
)
from tests.support.pictures import encoded, jpeg, photograph
from watcher.engine.geometry import Resize
from watcher.engine.rights import PREFIX
from watcher.engine.work import OutputOrder
from watcher.formats.sizes import pixel_size
from watcher.model import Format, OutputFormat

WAYS = [None, Resize(40, 40)]
SIZE = (80, 40)


def pixels(content: bytes, place: tuple[int, int] = (5, 5)) -> list[tuple[int, ...]]:
    """The colour at a place of every page."""
    found = [frame.convert("RGBA").getpixel(place) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]
    return [each for each in found if isinstance(each, tuple)]


# --- TIFF -------------------------------------------------------------------------------------------------------------------


def palette_page(colour: tuple[int, int, int]) -> Page:
    """A page whose every pixel has the number 1, which its own palette gives this colour."""
    table = [value for band in colour for value in (0, band * 257, *[0] * 254)]
    return page(SIZE, (8,), 3, bytes([1]) * (SIZE[0] * SIZE[1]), {320: (SHORT, table)})


@pytest.mark.parametrize("resize", WAYS)
def test_every_page_has_its_own_palette(tmp_path: Path, resize: Resize | None) -> None:
    """Not that of the first page for all."""
    made = make(tmp_path, tiff(palette_page((0, 128, 0)), palette_page((255, 0, 0))), "medium", resize)

    assert pixels(made.content) == [(0, 128, 0, 255), (255, 0, 0, 255)]


@pytest.mark.parametrize("resize", WAYS)
def test_every_page_has_its_own_profile(tmp_path: Path, resize: Resize | None) -> None:
    """One in Display P3, one in sRGB: the same numbers are two colours."""
    flat = Image.new("RGB", SIZE, (200, 60, 40))
    profile = icc_profile("Display P3", DISPLAY_P3, srgb_curve())
    made = make(tmp_path, tiff(rgb_page(flat, {34675: (UNDEFINED, profile)}), rgb_page(flat)), "medium", resize)

    first, second = pixels(made.content)
    assert is_near(first[:3], (217, 42, 23))
    assert is_near(second[:3], (200, 60, 40))


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize(
    ("extra", "samples", "alpha"),
    [(None, 4, 100), ([2], 4, 100), ([0], 4, 255), ([0, 2], 5, 50), ([2, 0], 5, 100), ([0, 0], 5, 255)],
)
def test_the_sample_that_is_alpha_is_found(
    tmp_path: Path, extra: list[int] | None, samples: int, alpha: int, resize: Resize | None
) -> None:
    """Wherever it stands among the extra ones. A fourth of RGB of which nothing is said is alpha, an unspecified one is not."""
    content = bytes((10, 200, 30, 100, 50)[:samples]) * (SIZE[0] * SIZE[1])
    tags = {338: (SHORT, extra)} if extra is not None else {}
    made = make(tmp_path, tiff(page(SIZE, (8,) * samples, 2, content, tags)), "medium", resize)  # type: ignore[arg-type]

    (pixel,) = pixels(made.content)
    assert is_near(pixel, (10, 200, 30, alpha), 5)


# --- SVG --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", [None, Resize(100, 100)])
@pytest.mark.parametrize(
    ("attributes", "body"),
    [
        ('width="25em" height="12.5em"', '<rect width="400" height="200" fill="#f00"/>'),
        ('width="25em" height="12.5em" viewBox="0 0 40 20"', '<rect width="40" height="20" fill="#f00"/>'),
        ('width="400" height="200"', '<rect width="25em" height="12.5em" fill="#f00"/>'),
        ('width="400" height="200" font-size="20"', '<rect width="20em" height="10em" fill="#f00"/>'),
        ('width="20em" height="10em" style="font-size:20px"', '<rect width="400" height="200" fill="#f00"/>'),
        ('width="25rem" height="12.5rem"', '<rect width="400" height="200" fill="#f00"/>'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_font_size_that_is_not_said_is_that_of_browsers(
    tmp_path: Path, attributes: str, body: str, encoding: str, resize: Resize | None
) -> None:
    """16 pixels, for the canvas and for what is drawn on it."""
    text = f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'
    made = make(tmp_path, text.encode(encoding), resize=resize)

    width, height = made.picture.size
    assert (width, height) == ((400, 200) if resize is None else (100, 50))
    assert is_near(shown(made.content, (width - 2, height - 2)), (255, 0, 0), 4)


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="25em" height="12.5em"', (400, 200)),
        ('width="25rem" height="50ex" font-size="9"', (225, 225)),
        ('width="25em" height="200" font-size="calc(9px)"', None),
        ('width="50ch" height="25ex"', (400, 200)),
    ],
)
def test_the_size_in_em_is_known_without_drawing(attributes: str, size: tuple[int, int] | None) -> None:
    """Where it depends on no font size of the document's own."""
    content = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}></svg>'.encode()

    assert pixel_size(lambda offset, count: content[offset : offset + count], len(content), Format.SVG) == size


@pytest.mark.parametrize("attributes", ['width="0" height="9"', 'width="9" height="0mm"'])
def test_an_svg_without_an_area_is_not_called_corrupt(tmp_path: Path, attributes: str) -> None:
    """It is valid, and there is nothing to store."""
    content = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}><rect width="9" height="9"/></svg>'.encode()

    assert refusal(tmp_path, content).startswith("unsupported: an SVG whose width or height is 0")


# --- JPEG, PNG, AVIF --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["HI", "II"])
@pytest.mark.parametrize("order", "<>")
def test_an_orientation_is_read_however_it_is_written(tmp_path: Path, order: str, kind: str) -> None:
    """As SHORT, which is right, or as LONG, which some programs write; daemon and engine agree on the size."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, 1)
    value = struct.pack(order + "HH", 6, 0) if kind == "HI" else struct.pack(order + "I", 6)
    block = head + struct.pack(order + "HHI", 274, 3 if kind == "HI" else 4, 1) + value + bytes(4)
    content = jpeg(160, 100, exif=PREFIX + block)

    assert make(tmp_path, content).picture.size == (100, 160)
    assert pixel_size(lambda offset, count: content[offset : offset + count], len(content), Format.JPEG) == (100, 160)


def test_exif_behind_the_pixels_of_a_png_turns_nothing(tmp_path: Path) -> None:
    """Browsers do not read it there, nor does the engine, and so the daemon must not say another size."""
    turned = chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")
    plain = encoded(photograph(80, 40), "PNG")
    late, early = with_chunks(plain, turned, before=b"IEND"), with_chunks(plain, turned)

    for content, size in ((late, (80, 40)), (early, (40, 80))):
        assert make(tmp_path, content).picture.size == size
        assert pixel_size(lambda offset, count, of=content: of[offset : offset + count], len(content), Format.PNG) == size


@pytest.mark.parametrize("gamma", [0, 1, 10, 2**31 - 1, 2**32 - 1])
def test_a_gamma_that_makes_no_sense_is_passed_over(tmp_path: Path, gamma: int) -> None:
    """It must cost no worker, and turn no picture black."""
    content = with_chunks(encoded(Image.new("RGB", SIZE, (200, 60, 40)), "PNG"), chunk(b"gAMA", struct.pack(">I", gamma)))

    assert is_near(shown(make(tmp_path, content, resize=Resize(20, 20)).content, (5, 5)), (200, 60, 40))


def test_a_grey_hdr_picture_is_brought_to_the_white_of_screens(tmp_path: Path) -> None:
    """As one in colours is: HDR's white is white."""
    cicp = chunk(b"cICP", bytes((9, 16, 0, 1)))
    white = with_chunks(encoded(Image.new("L", SIZE, 148), "PNG"), cicp)

    assert min(shown(make(tmp_path, white, resize=Resize(20, 20)).content, (5, 5))) > 240


def test_an_avif_that_keeps_its_pixels_stays_readable(tmp_path: Path) -> None:
    """Where its Exif was, something must lie that decoders take for Exif."""
    exif = Image.Exif()
    exif[271], exif[306] = "A camera with a name", "2026:11:28 04:00:00"
    content = encoded(Image.linear_gradient("L").resize((300, 200)).convert("RGB"), "AVIF", quality=10, exif=exif)
    made = make(tmp_path, content, "medium")

    assert b"A camera" not in made.content
    assert made.picture.size == (300, 200)
    assert len(made.content) <= len(content)


# --- small ones -------------------------------------------------------------------------------------------------------------

SWATCHES = Image.frombytes("RGB", (2, 3), bytes.fromhex("ff0000 00ff00 0000ff ffff00 ff00ff 00ffff"))


@pytest.mark.parametrize("word", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("picture", [SWATCHES, SWATCHES.resize((1, 1)), SWATCHES.resize((50, 1)), SWATCHES.resize((1, 50))])
def test_a_tiny_picture_keeps_its_colours(tmp_path: Path, word: OutputFormat, picture: Image.Image) -> None:
    """Colours are not halved where each pixel is seen."""
    made = make(tmp_path, encoded(picture, "PNG"), output=OutputOrder(word))

    assert made.picture.size == picture.size
    assert max(ImageStat.Stat(ImageChops.difference(made.picture.convert("RGB"), picture)).mean) < 16


@pytest.mark.parametrize("resize", [None, Resize(100, 100), Resize(100, 100, "fit")])
@pytest.mark.parametrize("size", [(20_000, 2), (2, 20_000)])
def test_a_very_long_picture_is_done(tmp_path: Path, size: tuple[int, int], resize: Resize | None) -> None:
    """Inside a box it becomes a line, over a box a piece of it."""
    made = make(tmp_path, encoded(Image.new("RGB", size, (200, 60, 40)), "PNG"), resize=resize)
    expected = {None: size, "auto": (100, 1) if size[0] > size[1] else (1, 100), "fit": (100, 100)}

    assert made.picture.size == expected[resize and resize.mode]
    assert is_near(shown(made.content, (0, 0)), (200, 60, 40), 4)


@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("word", ["auto", "jpeg", "webp"])
def test_grey_with_a_grey_profile_is_converted(tmp_path: Path, mode: str, format_name: str, word: OutputFormat) -> None:
    """By the profile's curve, with alpha or without."""
    grey = Image.new("L", (200, 100), 64)
    picture = grey if mode == "L" else Image.merge("LA", (grey, Image.new("L", grey.size, 255)))
    if format_name == "WEBP":
        picture = picture.convert("RGB" if mode == "L" else "RGBA")
    linear = icc_profile("linear", SRGB, gamma_curve(1.0)) if format_name == "WEBP" else grey_profile(1.0)
    content = encoded(picture, format_name, icc_profile=linear, **({"lossless": True} if format_name == "WEBP" else {}))

    for resize in (None, Resize(100, 100)):
        made = make(tmp_path, content, resize=resize, output=OutputOrder(word))
        profiled = made.picture.info.get("icc_profile")
        assert is_near(shown(made.content, (9, 9)), (137, 137, 137), 4) or profiled


def grey_profile(gamma: float) -> bytes:
    """A profile of grey with one curve."""
    content = icc_profile("grey", SRGB, gamma_curve(gamma))
    header, body = bytearray(content[:128]), content[128:]
    header[16:20] = b"GRAY"
    return bytes(header) + body.replace(b"rTRC", b"kTRC", 1)


def test_a_drawing_of_nothing_is_not_called_corrupt(tmp_path: Path) -> None:
    """It is valid, and no size can be told."""
    assert refusal(tmp_path, b'<svg xmlns="http://www.w3.org/2000/svg"/>').startswith("unsupported: an SVG that says no size")


def test_jpeg_tiles_with_alpha_are_not_called_corrupt(tmp_path: Path) -> None:
    """libvips reads tiles of colours only."""
    content = tiff(
        page(SIZE, (8,) * 4, 2, bytes(SIZE[0] * SIZE[1] * 4), {259: (SHORT, [7]), 322: (SHORT, [16]), 338: (SHORT, [2])})
    )
    tiled = content.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 324, 4))

    assert "JPEG tiles that have alpha" in refusal(tmp_path, tiled)


def nested(depth: int, before: str = "") -> str:
    inside = "<g>" * depth + '<rect width="40" height="40" fill="#f00"/>' + "</g>" * depth
    return f'{before}<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{inside}</svg>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(("depth", "before"), [(400, ""), (400, '<!DOCTYPE svg [<!ENTITY a "b">]>')])
def test_a_drawing_that_is_too_deep_is_not_called_corrupt(tmp_path: Path, depth: int, before: str, encoding: str) -> None:
    """It is beyond libxml2's limit of 256 levels."""
    assert refusal(tmp_path, nested(depth, before).encode(encoding)).startswith("unsupported: a kind of SVG")
