"""`image.output`: what is stored is the format that was asked for, as an independent decoder sees it."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageSequence, ImageStat

from tests.support.engine_images import make, refusal
from tests.support.odd_files import rgb_page, tiff
from tests.support.pictures import encoded, photograph
from watcher.engine.geometry import Resize
from watcher.engine.images import recognise
from watcher.engine.rights import COPYRIGHT, PREFIX, exif_block
from watcher.engine.work import OutputOrder
from watcher.formats.targets import stored_format
from watcher.model import Format, OutputFormat

pillow_heif.register_heif_opener()
PHOTO = photograph(120, 72)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="200" height="120"><rect width="100" height="120" fill="#c83c28"/></svg>'
FRAMES = [photograph(80, 60).rotate(angle) for angle in (0, 90, 180)]
ANIMATION = {"save_all": True, "append_images": FRAMES[1:], "duration": [100, 200, 300], "loop": 3}
CLEAR = Image.merge("RGBA", (*photograph(200, 120).split(), Image.linear_gradient("L").resize((200, 120))))
SOURCES = {
    Format.JPEG: lambda: encoded(PHOTO, "JPEG", quality=95),
    Format.PNG: lambda: encoded(PHOTO, "PNG"),
    Format.WEBP: lambda: encoded(PHOTO, "WEBP", quality=95),
    Format.AVIF: lambda: encoded(PHOTO, "AVIF", quality=95),
    Format.HEIC: lambda: encoded(PHOTO, "HEIF", quality=95),
    Format.GIF: lambda: encoded(PHOTO.quantize(256), "GIF"),
    Format.TIFF: lambda: encoded(PHOTO, "TIFF"),
    Format.BMP: lambda: encoded(PHOTO, "BMP"),
    Format.ICO: lambda: encoded(PHOTO, "ICO", sizes=[PHOTO.size]),
    Format.SVG: lambda: SVG,
}
WORDS: tuple[OutputFormat, ...] = ("auto", "jpeg", "png", "webp", "avif", "web")


@functools.cache
def encoded_as(source: Format) -> bytes:
    """One of SOURCES; some codecs take their time."""
    return SOURCES[source]()


def sniffed(folder: Path, content: bytes) -> Format:
    path = folder / "stored"
    path.write_bytes(content)
    return Format(recognise(path))


def distance(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


@pytest.mark.parametrize("resize", [None, Resize(100, 100)])
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("source", SOURCES)
def test_the_format_that_was_asked_for_is_stored(
    tmp_path: Path, source: Format, word: OutputFormat, resize: Resize | None
) -> None:
    """The answer says which, the bytes are of it, and it is the picture."""
    content = encoded_as(source)
    made = make(tmp_path, content, resize=resize, output=OutputOrder(word))
    expected = stored_format(source, word)

    assert made.outcome.output_format == expected
    assert sniffed(tmp_path, made.content) is expected
    if source is not Format.SVG:
        assert distance(made.picture, Image.open(io.BytesIO(content)).convert("RGB").resize(made.picture.size)) < 8


@pytest.mark.parametrize(
    ("background", "shown"), [((255, 255, 255), (255, 255, 255)), ((0, 0, 0), (0, 0, 0)), ((0, 128, 255), (0, 128, 255))]
)
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "HEIF", "TIFF", "AVIF"])
def test_alpha_is_laid_on_the_background_where_the_target_has_none(
    tmp_path: Path, format_name: str, mode: str, background: tuple[int, int, int], shown: tuple[int, int, int]
) -> None:
    """Transparent corners take its colour, half transparent pixels some of it, of grey pictures too."""
    picture = CLEAR.convert(mode) if format_name in ("PNG", "TIFF") else CLEAR.convert(mode).convert("RGBA")
    made = make(tmp_path, encoded(picture, format_name), output=OutputOrder("jpeg", background))
    expected = Image.new("RGB", picture.size, shown)
    expected.paste(picture.convert("RGB"), mask=picture.getchannel("A"))

    assert made.picture.mode in ("RGB", "L")
    assert distance(made.picture, expected) < 4


@pytest.mark.parametrize("word", ["png", "webp", "avif"])
def test_alpha_stays_where_the_target_has_it(tmp_path: Path, word: OutputFormat) -> None:
    """The background is for formats without."""
    made = make(tmp_path, encoded(CLEAR, "TIFF"), output=OutputOrder(word, (255, 0, 0)))

    assert distance(made.picture.convert("RGBA").getchannel("A"), CLEAR.getchannel("A")) < 8


@pytest.mark.parametrize("resize", [None, Resize(40, 40)])
def test_an_animated_gif_becomes_an_animated_webp(tmp_path: Path, resize: Resize | None) -> None:
    """Frames, durations and loop count are kept."""
    content = encoded(FRAMES[0], "GIF", **ANIMATION)
    made = make(tmp_path, content, resize=resize, output=OutputOrder("webp"))
    came = [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]
    picture = Image.open(io.BytesIO(made.content))
    frames = [(frame.convert("RGB"), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]

    assert made.outcome.output_format == "webp"
    assert [duration for _, duration in frames] == [100, 200, 300]
    assert picture.info["loop"] in (3, 4)  # a GIF counts repetitions, a WebP all rounds
    nearest = [min(range(3), key=lambda each: distance(frame, came[each].resize(frame.size))) for frame, _ in frames]
    assert nearest == [0, 1, 2]


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_web_keeps_animations(tmp_path: Path, format_name: str) -> None:
    """Every browser shows them."""
    made = make(tmp_path, encoded(FRAMES[0], format_name, **ANIMATION), output=OutputOrder("web"))

    assert made.outcome.output_format == format_name.lower()
    assert len(list(ImageSequence.Iterator(Image.open(io.BytesIO(made.content))))) == 3


@pytest.mark.parametrize(
    ("format_name", "word"), [("GIF", "jpeg"), ("GIF", "png"), ("GIF", "avif"), ("WEBP", "jpeg"), ("PNG", "webp")]
)
def test_an_animation_is_refused_where_the_target_cannot_move(tmp_path: Path, format_name: str, word: OutputFormat) -> None:
    """Never silently one frame; the words say what to do."""
    words = refusal(tmp_path, encoded(FRAMES[0], format_name, **ANIMATION), output=OutputOrder(word))

    assert words.startswith(f"unsupported: an animated {format_name}")
    assert "which keeps animations" in words


def test_pages_are_refused_where_the_target_holds_one(tmp_path: Path) -> None:
    """A scan of several pages is no JPEG."""
    pages = tiff(rgb_page(photograph()), rgb_page(photograph().rotate(180)))

    assert "2 pages" in refusal(tmp_path, pages, output=OutputOrder("web"))
    assert make(tmp_path, pages).outcome.output_format == "tiff"


@pytest.mark.parametrize(("word", "side"), [("webp", 16_384), ("avif", 16_385), ("jpeg", 65_501)])
def test_a_picture_too_large_for_the_target_is_refused_with_the_limit(tmp_path: Path, word: OutputFormat, side: int) -> None:
    """Before anything is decoded."""
    content = encoded(Image.new("1", (side, 8)), "PNG")

    assert f"holds at most {side - 1} x {side - 1} pixels here" in refusal(tmp_path, content, output=OutputOrder(word))


@pytest.mark.parametrize(("word", "side"), [("webp", 16_383), ("avif", 16_384), ("jpeg", 65_500)])
def test_one_that_just_fits_is_stored(tmp_path: Path, word: OutputFormat, side: int) -> None:
    """The limit is the format's."""
    made = make(tmp_path, encoded(Image.new("1", (side, 8)), "PNG"), output=OutputOrder(word))

    assert Image.open(io.BytesIO(made.content)).size == (side, 8)


def test_orientation_and_colours_are_right_after_a_conversion(tmp_path: Path) -> None:
    """A phone's HEIC lies on its side and is in Display P3."""
    from tests.support.odd_files import DISPLAY_P3, icc_profile, srgb_curve

    profile = icc_profile("Display P3", DISPLAY_P3, srgb_curve())
    flat = Image.new("RGB", (160, 80), (200, 60, 40))
    content = encoded(flat, "HEIF", quality=95, icc_profile=profile)
    turned = encoded(flat, "JPEG", quality=95, icc_profile=profile, exif=PREFIX + exif_block((), orientation=6))

    made, upright = make(tmp_path, content, output=OutputOrder("web")), make(tmp_path, turned, output=OutputOrder("webp"))

    assert made.picture.getpixel((50, 40)) == pytest.approx((217, 42, 23), abs=8)
    assert upright.picture.size == (80, 160)
    assert upright.picture.getpixel((40, 50)) == pytest.approx((217, 42, 23), abs=8)


@pytest.mark.parametrize("word", ["jpeg", "png", "webp", "avif"])
def test_the_rights_notice_goes_along(tmp_path: Path, word: OutputFormat) -> None:
    """Into whatever format is stored."""
    content = encoded(PHOTO, "JPEG", exif=PREFIX + exif_block(((COPYRIGHT, "© Zoë Müller".encode()),)))

    assert "Zoë Müller".encode() in make(tmp_path, content, output=OutputOrder(word)).content
