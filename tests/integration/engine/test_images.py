"""The image work itself: right sizes, upright, right colours, metadata gone, never larger than need be."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
import pyvips
from PIL import ExifTags, Image, ImageCms, ImageSequence

from tests.support.pictures import UPRIGHT_CORNERS, corner_colours, decoded, encoded, jpeg, photograph
from watcher.engine.geometry import Resize
from watcher.engine.images import process
from watcher.engine.refusal import Refusal
from watcher.engine.work import ImageOrder, Limits, Outcome, Task

Work = Callable[..., tuple[Outcome, bytes]]
LIMITS = Limits(pixels=50_000_000, frames=100)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Does an order on some bytes; the outcome and the output's bytes."""

    def run(content: bytes, order: ImageOrder | None = None, limits: Limits = LIMITS) -> tuple[Outcome, bytes]:
        task = Task(tmp_path / "source", tmp_path / "target", order or ImageOrder(), limits)
        task.source.write_bytes(content)
        outcome = process(task)
        return outcome, task.target.read_bytes()

    return run


def box(width: int | None = None, height: int | None = None, **options: Any) -> ImageOrder:
    return ImageOrder(resize=Resize(width, height, **options))


def heic(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(buffer, **options)
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    if content[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return pillow_heif.open_heif(content).to_pillow()
    return decoded(content)


SAMPLES: dict[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "png": lambda: encoded(photograph(), "PNG"),
    "webp": lambda: encoded(photograph(), "WEBP", quality=95),
    "avif": lambda: encoded(photograph(), "AVIF", quality=95),
    "heic": lambda: heic(photograph(), quality=95),
    "gif": lambda: encoded(photograph(), "GIF"),
    "tiff": lambda: encoded(photograph(), "TIFF"),
    "bmp": lambda: encoded(photograph(), "BMP"),
    "ico": lambda: encoded(photograph(256, 160), "ICO", sizes=[(256, 160)]),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("order", [ImageOrder(), box(100, 100), box(80, 80, mode="fit")])
def test_every_format_is_kept_and_looks_the_same(work: Work, name: str, order: ImageOrder) -> None:
    """Each accepted format comes out as itself, of the right size, with its corners where and as they were."""
    outcome, content = work(SAMPLES[name](), order)
    picture = opened(content)
    assert (outcome.input_format, outcome.output_format) == (name, name)
    assert picture.size == (outcome.width, outcome.height)
    if order.resize is None or order.resize.mode == "auto":
        assert corner_colours(picture) == UPRIGHT_CORNERS


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("order", [ImageOrder(), box(60, 60), box(200, 200, upscale=True)])
def test_orientation_is_baked_in(work: Work, name: str, orientation: int, order: ImageOrder) -> None:
    """Whatever Exif says of the camera's position, the output stands upright by itself and says nothing of it."""
    stored, exif = turned(photograph(96, 60), orientation)
    options = {"quality": 95} if name in ("JPEG", "WEBP") else {}
    _, content = work(encoded(stored, name, exif=exif, **options), order)
    picture = decoded(content)
    assert corner_colours(picture) == UPRIGHT_CORNERS
    assert picture.width > picture.height
    assert picture.getexif().get(ExifTags.Base.Orientation, 1) == 1


@pytest.mark.parametrize("orientation", [3, 6])
def test_large_images_are_turned_too(work: Work, orientation: int) -> None:
    """Turning needs the whole picture at once, which a decoder that goes line by line does not give by itself."""
    stored, exif = turned(photograph(2400, 1600), orientation)
    _, content = work(encoded(stored, "JPEG", exif=exif, quality=95))
    assert (decoded(content).size, corner_colours(decoded(content))) == ((2400, 1600), UPRIGHT_CORNERS)


def turned(picture: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The picture as a camera in that position stores it, and the Exif block that says so."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return (picture.transpose(back[orientation]) if orientation in back else picture), exif


def test_fit_on_a_turned_image_crops_what_is_seen(work: Work) -> None:
    """The box of a resize is that of the upright picture."""
    stored, exif = turned(photograph(300, 100), 6)
    outcome, content = work(encoded(stored, "JPEG", exif=exif, quality=95), box(50, 50, mode="fit", gravity="left"))
    assert decoded(content).size == (50, 50) == (outcome.width, outcome.height)
    corners = corner_colours(decoded(content))
    assert (corners["top-left"], corners["bottom-left"]) == ((255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize("gravity", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_gravity_says_which_part_stays(work: Work, gravity: str) -> None:
    """With `fit` the named corner of the source is the same corner of the output."""
    _, content = work(jpeg(400, 200), box(100, 100, mode="fit", gravity=gravity))
    assert corner_colours(decoded(content))[gravity] == UPRIGHT_CORNERS[gravity]


@pytest.mark.parametrize("name", ["PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("order", [ImageOrder(), box(50, 50)])
def test_alpha_is_kept(work: Work, name: str, order: ImageOrder) -> None:
    """What is transparent stays so, what is opaque too."""
    picture = photograph().convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 160, 200))
    _, content = work(encoded(picture, name), order)
    alpha = decoded(content).convert("RGBA").getchannel("A")
    assert alpha.getpixel((2, 2)) == 0
    assert alpha.getpixel((alpha.width - 3, 3)) == 255


def near(found: Any, expected: tuple[int, ...], tolerance: int = 12) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("order", [ImageOrder(), box(50, 50)])
def test_cmyk_becomes_the_same_colours_in_rgb(work: Work, order: ImageOrder) -> None:
    """A CMYK JPEG comes out as RGB: paper white stays white, full cyan and black are what print viewers show."""
    picture = Image.new("CMYK", (200, 200), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 100, 100))
    _, content = work(encoded(picture, "JPEG", quality=95), order)
    rgb = decoded(content)
    assert rgb.mode == "RGB"
    right = rgb.width - 5
    assert near(rgb.getpixel((right, right)), (255, 255, 255))
    assert max(rgb.getpixel((5, 5))) < 60


@pytest.mark.parametrize("order", [ImageOrder(), box(50, 50)])
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_of_the_same_brightness(work: Work, name: str, order: ImageOrder) -> None:
    """Grey of sixteen bits keeps its brightness."""
    picture = Image.new("I;16", (100, 100), 40_000)
    _, content = work(encoded(picture, name), order)
    grey = decoded(content).convert("L")
    assert near((grey.getpixel((20, 20)),), (40_000 // 257,), 3)


@pytest.mark.parametrize("order", [ImageOrder("ultra"), box(50, 50)])
def test_a_colour_profile_is_applied(work: Work, order: ImageOrder) -> None:
    """Colours of a wide-gamut profile come out as the sRGB colours that a managed viewer shows, without the profile."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(wide_profile()))
    srgb = ImageCms.createProfile("sRGB")
    wide = Image.new("RGB", (200, 200), (90, 160, 60))
    shown = ImageCms.profileToProfile(wide, profile, srgb, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
    expected = shown.getpixel((0, 0))  # type: ignore[union-attr]
    assert not near(expected, (90, 160, 60), 8)  # type: ignore[arg-type]
    _, content = work(encoded(wide, "JPEG", quality=98, icc_profile=wide_profile()), order)
    picture = decoded(content)
    assert "icc_profile" not in picture.info
    assert near(picture.getpixel((20, 20)), expected, 6)  # type: ignore[arg-type]


def wide_profile() -> bytes:
    """Display P3: its green is beyond that of sRGB, so that not applying it is plain to see."""
    return bytes(pyvips.Operation.call("profile_load", "p3"))


RIGHTS = {ExifTags.Base.Copyright: "(c) 2026 Erika Muster", ExifTags.Base.Artist: "Erika Muster"}


def exif_with_place() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SecretCamera"
    exif[ExifTags.Base.ImageDescription] = "private words"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    exif.update(RIGHTS)
    return exif


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("order", [ImageOrder(), box(50, 50)])
def test_metadata_goes_and_rights_stay(work: Work, name: str, order: ImageOrder) -> None:
    """Place, camera and description are gone; author and copyright notice stay (TIFF's writer cannot hold them)."""
    content = encoded(photograph(), name, exif=exif_with_place(), **({"quality": 96} if name == "JPEG" else {}))
    assert b"SecretCamera" in content
    _, content = work(content, order)
    assert b"SecretCamera" not in content
    assert b"private words" not in content
    exif = decoded(content).getexif()
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    if name != "TIFF":
        assert {tag: exif.get(tag) for tag in RIGHTS} == RIGHTS


@pytest.mark.parametrize("name", SAMPLES)
def test_compression_alone_never_makes_it_larger(work: Work, name: str) -> None:
    """An image that is compressed again and again never grows, and at some point stays as it is."""
    content = SAMPLES[name]()
    for _ in range(4):
        outcome, again = work(content, ImageOrder("medium"))
        assert outcome.size == len(again) <= len(content)
        content = again


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "PNG"])
def test_what_stays_as_it_is_loses_its_metadata_all_the_same(work: Work, name: str) -> None:
    """A file that cannot be made smaller keeps its pixels to the bit, and its rights notice, but not its place."""
    options = {"quality": 20} if name in ("JPEG", "WEBP") else {"optimize": True}
    picture = photograph() if name != "PNG" else photograph().quantize(8)
    content = encoded(picture, name, exif=exif_with_place(), **options)
    _, output = work(content, ImageOrder("medium"))
    assert decoded(output).convert("RGB").tobytes() == decoded(content).convert("RGB").tobytes()
    assert b"SecretCamera" not in output
    exif = decoded(output).getexif()
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert {tag: exif.get(tag) for tag in RIGHTS} == RIGHTS


def test_a_small_turned_jpeg_is_upright_and_no_larger(work: Work) -> None:
    """What must be encoded anew to stand upright goes down in quality rather than up in size."""
    stored, exif = turned(photograph(), 6)
    content = encoded(stored, "JPEG", quality=30, exif=exif)
    _, output = work(content, ImageOrder("medium"))
    assert len(output) <= len(content)
    assert corner_colours(decoded(output)) == UPRIGHT_CORNERS


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "heic", "tiff", "gif"])
def test_each_step_of_compression_is_smaller(work: Work, name: str) -> None:
    """medium > high > ultra in bytes, on a photograph."""
    sizes = [work(SAMPLES[name](), replace(box(240, 240), compression=step))[0].size for step in ("medium", "high", "ultra")]
    assert sizes[0] > sizes[1] * 1.02 > sizes[2] * 1.05


def animation(name: str, frames: int = 5) -> bytes:
    pictures = [photograph(120, 80).rotate(30 * number) for number in range(frames)]
    durations = [50 * (number + 1) for number in range(frames)]
    return encoded(pictures[0], name, save_all=True, append_images=pictures[1:], duration=durations, loop=3)


@pytest.mark.parametrize("name", ["GIF", "WEBP"])
@pytest.mark.parametrize("order", [ImageOrder(), box(60, 60), box(30, 30, mode="fit"), ImageOrder("ultra")])
def test_an_animation_stays_one(work: Work, name: str, order: ImageOrder) -> None:
    """All frames, their durations and the number of repeats stay; each frame is resized and cropped by itself."""
    outcome, content = work(animation(name), order)
    picture = Image.open(io.BytesIO(content))
    assert picture.size == (outcome.width, outcome.height)
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(picture) if frame.load() is not None]
    assert durations == [50, 100, 150, 200, 250]
    assert picture.info["loop"] == 3


@pytest.mark.parametrize("name", ["PNG", "AVIF"])
def test_an_animation_that_cannot_be_written_loses_no_frame(work: Work, name: str) -> None:
    """Compressed alone, an animated PNG or AVIF stays as it is, metadata taken out of the PNG; resizing it is refused."""
    content = animation(name)
    _, output = work(content)
    assert Image.open(io.BytesIO(output)).n_frames == 5  # type: ignore[attr-defined]
    with pytest.raises(Refusal, match=f"an animated {name} cannot be resized"):
        work(content, box(60, 60))


def test_an_icon_keeps_all_its_pictures(work: Work) -> None:
    """Compressed alone, every size of an ICO stays."""
    content = encoded(photograph(256, 256), "ICO", sizes=[(16, 16), (48, 48), (256, 256)], bitmap_format="bmp")
    _, output = work(content)
    assert decoded(output).info["sizes"] == {(16, 16), (48, 48), (256, 256)}
    assert len(output) < len(content)


def test_an_svg_becomes_a_png_of_its_own_size(work: Work) -> None:
    """SVG is drawn, at its own size or at once at the size asked for; the output says that it is a PNG."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="20" height="20" fill="#f00"/></svg>'
    outcome, content = work(svg)
    assert (outcome.input_format, outcome.output_format, decoded(content).size) == ("svg", "png", (40, 20))
    outcome, content = work(svg, box(400, 400, upscale=True))
    picture = decoded(content).convert("RGBA")
    assert picture.size == (400, 200)
    assert (picture.getpixel((198, 100)), picture.getchannel("A").getpixel((203, 100))) == ((255, 0, 0, 255), 0)


@pytest.mark.parametrize("reference", ["file://{path}", "{path}", "secret.png", "http://127.0.0.1:9/x.png"])
def test_an_svg_reaches_for_nothing(work: Work, tmp_path: Path, reference: str) -> None:
    """Pictures that an SVG refers to, on this machine or elsewhere, are not drawn."""
    path = tmp_path / "secret.png"
    Image.new("RGB", (20, 20), (255, 0, 0)).save(path)
    link = reference.format(path=path)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="20">'
        f'<image width="20" height="20" href="{link}" xlink:href="{link}"/></svg>'
    )
    _, content = work(svg.encode())
    assert decoded(content).convert("RGBA").getextrema()[3] == (0, 0)


def test_pixels_and_frames_beyond_the_limits_are_refused_from_the_header(work: Work) -> None:
    """The limits hold for what the header announces, for frames, and for what an enlargement would make."""
    with pytest.raises(Refusal, match="pixels"):
        work(encoded(Image.new("1", (4000, 4000)), "PNG"), limits=Limits(1_000_000, 10))
    with pytest.raises(Refusal, match="frames"):
        work(animation("GIF"), limits=Limits(1_000_000, 3))
    with pytest.raises(Refusal, match="pixels"):
        work(jpeg(100, 100), box(20_000, 20_000, mode="fit"))


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "heic", "gif", "bmp"])
@pytest.mark.parametrize("order", [ImageOrder(), box(50, 50)])
def test_a_cut_image_is_refused(work: Work, name: str, order: ImageOrder) -> None:
    """Half a file is no image: 422, never half a picture."""
    content = SAMPLES[name]()
    with pytest.raises(Refusal, match="corrupt or cut off") as refusal:
        work(content[: len(content) // 2], order)
    assert refusal.value.code == 422


@pytest.mark.parametrize("content", [b"", b"x", b"%PDF-1.7 ...", b"<html></html>", b"\0" * 5000, b"vips"])
def test_what_is_no_image_is_refused(work: Work, content: bytes) -> None:
    """Other files are refused with the list of what is accepted."""
    with pytest.raises(Refusal, match="JPEG, PNG"):
        work(content)
