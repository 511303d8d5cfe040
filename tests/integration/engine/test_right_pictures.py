"""Odd but valid pictures come out as they are meant, or are refused with the reason; each was once stored wrong."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageStat

from tests.support.engine_images import is_near, make, refusal, shown
from tests.support.odd_files import (
    ADOBE_RGB,
    BYTE,
    DISPLAY_P3,
    LONG,
    SHORT,
    SRGB,
    Page,
    cgbi_png,
    chunk,
    gamma_curve,
    icc_profile,
    icon,
    page,
    rgb_page,
    srgb_curve,
    tiff,
    with_chunks,
)
from tests.support.pictures import encoded, jpeg, photograph
from watcher.engine import profiles
from watcher.engine.geometry import Resize

SMALL = Resize(100, 100)
WAYS = [None, SMALL]
FLAT = Image.new("RGB", (200, 200), (200, 60, 40))
REC2020 = ((0.67348, 0.27904, -0.00194), (0.16566, 0.67534, 0.02998), (0.125, 0.04561, 0.79686))


# --- SVG --------------------------------------------------------------------------------------------------------------------

DRAWING = '<rect width="400" height="200" fill="#fff"/><rect x="380" y="180" width="20" height="20" fill="#f00"/>'
DRAWING_IN_MM = '<rect width="105.83333mm" height="52.916667mm" fill="#f00"/>'


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize(
    ("attributes", "body"),
    [
        ('width="400" height="200"', DRAWING),
        ('width="300pt" height="150pt"', DRAWING),
        ('width="105.83333mm" height="52.916667mm"', DRAWING),
        ('width="10.583333cm" height="5.2916667cm"', DRAWING),
        ('width="4.1666667in" height="2.0833333in"', DRAWING),
        ('width="25pc" height="12.5pc"', DRAWING),
        ('viewBox="0 0 400 200"', DRAWING),
        ('viewBox="0 0 400 200" width="300pt"', DRAWING),
        ('width="400" height="200"', DRAWING_IN_MM),
    ],
)
def test_an_svg_has_the_size_that_css_gives_it(tmp_path: Path, attributes: str, body: str, resize: Resize | None) -> None:
    """96 pixels an inch, for the canvas and for what is drawn on it: nothing is cut off."""
    made = make(tmp_path, f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'.encode(), resize=resize)

    assert made.picture.size == ((400, 200) if resize is None else (100, 50))
    assert is_near(shown(made.content, (made.picture.width - 2, made.picture.height - 2)), (255, 0, 0), 60)


def test_an_svg_may_hold_a_photograph_of_12_megabytes(tmp_path: Path) -> None:
    """libxml2's limit of 10 MB a text is lifted where no entities are defined."""
    noise = Image.frombytes("RGB", (1000, 1000), random.Random(3).randbytes(3_000_000))
    from base64 import b64encode

    photo = b64encode(encoded(noise, "PNG", compress_level=0)) + b" " * 8_000_000
    link = b'<image width="320" height="200" xlink:href="data:image/png;base64,' + photo + b'"/>'
    document = b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="320" height="200">'

    assert make(tmp_path, document + link + b"</svg>").picture.size == (320, 200)


# --- colours ----------------------------------------------------------------------------------------------------------------

PROFILES = {
    "DCI-P3 D65 Gamut with sRGB Transfer": icc_profile("DCI-P3 D65 Gamut with sRGB Transfer", DISPLAY_P3, srgb_curve()),
    "sRGB IEC61966-2.1 (Linear RGB Profile)": icc_profile("sRGB IEC61966-2.1 (Linear RGB Profile)", SRGB, gamma_curve(1.0)),
    "AdobeRGB Gamut with sRGB Transfer": icc_profile("AdobeRGB Gamut with sRGB Transfer", ADOBE_RGB, srgb_curve()),
    "sRGB": icc_profile("sRGB", SRGB, srgb_curve()),
    "a name of its own": icc_profile("c2", SRGB, srgb_curve()),
}


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_counts_by_what_it_says(tmp_path: Path, name: str, format_name: str, resize: Resize | None) -> None:
    """Not by its name: many that have the letters sRGB in it mean other colours."""
    options = {"quality": 97} if format_name in ("JPEG", "WEBP") else {}
    content = encoded(FLAT, format_name, icc_profile=PROFILES[name], **options)

    assert is_near(shown(make(tmp_path, content, resize=resize).content, (50, 50)), shown(content, (50, 50)))


def test_a_profile_that_is_srgb_by_another_name_costs_nothing(tmp_path: Path) -> None:
    """The pixels of a small JPEG stay, since its colours are sRGB's."""
    content = jpeg(quality=20, optimize=True, icc_profile=PROFILES["a name of its own"])

    assert make(tmp_path, content).picture.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def number_heic(primaries: int, transfer: int, colour: tuple[int, int, int] = (200, 60, 40)) -> bytes:
    buffer = io.BytesIO()
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
    heif = pillow_heif.from_pillow(Image.new("RGB", (200, 200), colour))
    heif.save(buffer, quality=95, save_nclx_profile=True, full_range_flag=1, **numbers)
    return buffer.getvalue()


def heic_pixel(content: bytes) -> tuple[int, ...]:
    pixel = pillow_heif.open_heif(content).to_pillow().getpixel((50, 50))
    assert isinstance(pixel, tuple)
    return pixel[:3]


P3_IN_SRGB = (217, 42, 23)


def test_numbers_in_a_heic_say_its_colours(tmp_path: Path) -> None:
    """nclx instead of a profile: Display P3 is converted, sRGB stays."""
    assert is_near(heic_pixel(make(tmp_path, number_heic(1, 13)).content), (200, 60, 40), 6)
    assert is_near(heic_pixel(make(tmp_path, number_heic(12, 13)).content), P3_IN_SRGB, 8)


GREY_CARD: Final = 97
"""The number of a grey that reflects 18 %, with HLG as with PQ: 26 cd/m² of 203 (ITU-R BT.2408 table 1)."""


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_brought_to_the_white_of_screens(tmp_path: Path, transfer: int) -> None:
    """PQ and HLG: HDR's white (203 nits) becomes white or near it, a middle grey stays one, and nothing is grey by mistake."""
    white = {16: 148, 18: 191}[transfer]
    made = heic_pixel(make(tmp_path, number_heic(9, transfer, (white,) * 3)).content)
    red = heic_pixel(make(tmp_path, number_heic(9, transfer, (140, 60, 60))).content)

    assert min(made) > 240
    assert red[0] > red[1] + 60
    assert is_near(heic_pixel(make(tmp_path, number_heic(9, transfer, (GREY_CARD,) * 3)).content), (100,) * 3)


def png_with(*chunks: bytes) -> bytes:
    return with_chunks(encoded(FLAT, "PNG"), *chunks)


P3_POINTS = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
SRGB_POINTS = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((), (200, 60, 40)),
        ((chunk(b"cICP", bytes((12, 13, 0, 1))),), P3_IN_SRGB),
        ((chunk(b"cICP", bytes((1, 13, 0, 1))),), (200, 60, 40)),
        ((chunk(b"gAMA", struct.pack(">I", 45455)), P3_POINTS), P3_IN_SRGB),
        ((chunk(b"gAMA", struct.pack(">I", 45455)), SRGB_POINTS), (200, 60, 40)),
        ((P3_POINTS,), (200, 60, 40)),
        ((chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100000)), P3_POINTS), (200, 60, 40)),
        ((chunk(b"gAMA", struct.pack(">I", 100000)),), (229, 133, 110)),
    ],
)
def test_numbers_in_a_png_say_its_colours(
    tmp_path: Path, chunks: tuple[bytes, ...], expected: tuple[int, ...], resize: Resize | None
) -> None:
    """cICP before sRGB before gamma and primaries, as PNG has it."""
    assert is_near(shown(make(tmp_path, png_with(*chunks), resize=resize).content, (50, 50)), expected)


def test_a_grey_png_with_a_gamma_of_its_own_is_converted(tmp_path: Path) -> None:
    """Linear grey of 60 is a middle grey in sRGB."""
    content = with_chunks(encoded(Image.new("L", (50, 50), 60), "PNG"), chunk(b"gAMA", struct.pack(">I", 100000)))

    assert is_near(shown(make(tmp_path, content, resize=Resize(20, 20)).content, (9, 9)), (133,) * 3)


def test_a_grey_picture_with_a_profile_of_colours_keeps_its_grey(tmp_path: Path) -> None:
    """Its own profile fits no grey image; viewers ignore it."""
    curves = profiles.profile(profiles.BT709, profiles.Curve(1.0))
    content = encoded(Image.new("L", (50, 50), 60), "JPEG", quality=95, icc_profile=curves)

    assert is_near(shown(make(tmp_path, content, resize=Resize(20, 20)).content, (9, 9)), (60,) * 3)


@pytest.mark.parametrize("resize", [None, Resize(80, 80)])
@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_black_ink_is_black(tmp_path: Path, format_name: str, resize: Resize | None) -> None:
    """CMYK with black point compensation, as print programs show it."""
    inks = [(0, 0, 0, 0), (0, 0, 0, 255), (255, 255, 255, 255), (191, 173, 166, 230)]
    picture = Image.new("CMYK", (160, 40))
    for place, ink in enumerate(inks):
        ImageDraw.Draw(picture).rectangle((place * 40, 0, place * 40 + 39, 39), fill=ink)
    options = {"quality": 100} if format_name == "JPEG" else {}
    made = make(tmp_path, encoded(picture, format_name, **options), "medium", resize)
    step = made.picture.width // 4
    colours = [shown(made.content, (place * step + step // 2, made.picture.height // 2)) for place in range(4)]

    assert min(colours[0]) > 250
    assert max(max(each) for each in colours[1:]) <= 26


# --- alpha ------------------------------------------------------------------------------------------------------------------


def test_a_bmp_keeps_its_alpha(tmp_path: Path) -> None:
    """In and out with a header that says so: readers take the fourth byte of older ones for padding."""
    picture = Image.new("RGBA", (60, 40), (200, 120, 60, 128))
    header = struct.pack("<IiiHHIIiiII", 124, 60, 40, 1, 32, 3, 60 * 40 * 4, 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (header + b"BGRs").ljust(124, b"\0")
    pixels = picture.tobytes("raw", "BGRA", 0, -1)
    content = b"BM" + struct.pack("<IHHI", 138 + len(pixels), 0, 0, 138) + header + pixels
    made = make(tmp_path, content, resize=Resize(30, 30))

    assert made.picture.mode == "RGBA"
    assert is_near(made.picture.getpixel((9, 9)), (200, 120, 60, 128), 1)


# --- several pictures in one file -------------------------------------------------------------------------------------------

FRAMES = [photograph(120, 80).rotate(angle) for angle in (0, 90, 180)]
NOISE = random.Random(5).randbytes(6000)
LONG_PROFILE = (lambda p: struct.pack(">I", len(p)) + p[4:])(PROFILES["sRGB"] + NOISE)
LATE = {
    "nothing": (),
    "a profile": (chunk(b"iCCP", b"icc\0\0" + zlib.compress(LONG_PROFILE)),),
    "XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x>" + b" " * 6000 + b"</x>"),),
    "texts": tuple(chunk(b"tEXt", b"Comment\0" + b"x" * 900) for _ in range(5)),
}


@pytest.mark.parametrize("before", LATE)
def test_an_animated_png_keeps_its_frames_wherever_it_says_so(tmp_path: Path, before: str) -> None:
    """acTL may lie far behind the first 4 KiB. Resized it is refused, as documented."""
    content = with_chunks(encoded(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), *LATE[before], before=b"acTL")

    assert getattr(make(tmp_path, content).picture, "n_frames", 1) == 3
    assert "animated PNG" in refusal(tmp_path, content, resize=SMALL)


def test_an_animated_avif_keeps_its_frames_or_is_refused(tmp_path: Path) -> None:
    """It stays as it is; resized, or with metadata that cannot be taken out, it is refused."""
    content = encoded(FRAMES[0], "AVIF", save_all=True, append_images=FRAMES[1:])

    assert getattr(make(tmp_path, content).picture, "n_frames", 1) == 3
    assert "animated AVIF" in refusal(tmp_path, content, resize=SMALL)


def test_a_heic_of_several_pictures_is_refused(tmp_path: Path) -> None:
    """One of them alone would be a loss."""
    collection = pillow_heif.from_pillow(FRAMES[0])
    collection.add_from_pillow(FRAMES[1])
    buffer = io.BytesIO()
    collection.save(buffer, quality=50)

    assert "unsupported: a HEIC with 2 pictures" in refusal(tmp_path, buffer.getvalue())


GREY = photograph(320, 200).convert("L")
GREY_PAGE = page((320, 200), (8,), 1, GREY.tobytes())
COLOUR_PAGE = rgb_page(photograph(320, 200))


def with_tag(source: Page, orientation: int) -> Page:
    return Page({**source.tags, 274: (SHORT, [orientation])}, source.strips)


WHOLE_DOCUMENTS = {
    "alike": [COLOUR_PAGE, rgb_page(photograph(320, 200).rotate(180)), COLOUR_PAGE],
    "one upside down": [COLOUR_PAGE, with_tag(COLOUR_PAGE, 3)],
    "grey and colour": [GREY_PAGE, COLOUR_PAGE],
    "both turned": [with_tag(COLOUR_PAGE, 6), with_tag(GREY_PAGE, 6)],
    "thumbnails between": [rgb_page(photograph(16, 10), {254: (LONG, [1])}), COLOUR_PAGE, COLOUR_PAGE],
}


@pytest.mark.parametrize("resize", [None, Resize(160, 160), Resize(100, 100, "fit")])
@pytest.mark.parametrize("name", WHOLE_DOCUMENTS)
def test_a_tiff_keeps_its_pages(tmp_path: Path, name: str, resize: Resize | None) -> None:
    """All of them, in their order, each upright, also where they differ in colours or orientation."""
    pages = [each for each in WHOLE_DOCUMENTS[name] if 254 not in each.tags]
    made = make(tmp_path, tiff(*WHOLE_DOCUMENTS[name]), resize=resize).picture

    assert getattr(made, "n_frames", 1) == len(WHOLE_DOCUMENTS[name] if resize is None and made.width == 16 else pages)
    for number, source in enumerate(pages):
        made.seek(number)
        turn = {6: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}.get(source.tags.get(274, (0, [1]))[1][0])
        mode = "L" if len(source.tags[258][1]) == 1 else "RGB"
        expected = Image.frombytes(mode, (320, 200), source.strips[0]).convert("RGB")
        expected = expected.transpose(turn) if turn else expected
        if resize is not None and resize.mode == "fit":
            side = min(expected.size)
            left, top = (expected.width - side) // 2, (expected.height - side) // 2
            expected = expected.crop((left, top, left + side, top + side))
        difference = ImageChops.difference(made.convert("RGB"), expected.resize(made.size, Image.Resampling.LANCZOS))
        assert max(ImageStat.Stat(difference).mean) < 7, number


def test_pages_of_different_sizes_are_refused(tmp_path: Path) -> None:
    """The words say why, and what to do."""
    words = refusal(tmp_path, tiff(COLOUR_PAGE, rgb_page(photograph(319, 200))))

    assert words.startswith("unsupported: a TIFF of 2 pages of different sizes: ")


def test_the_main_picture_of_a_tiff_is_taken_wherever_it_lies(tmp_path: Path) -> None:
    """Behind a thumbnail, or below it."""
    thumbnail = {254: (LONG, [1])}
    behind = tiff(rgb_page(photograph(80, 50), thumbnail), COLOUR_PAGE)
    below = tiff(rgb_page(photograph(80, 50), thumbnail, below=[COLOUR_PAGE]))

    assert [make(tmp_path, each, resize=SMALL).picture.size for each in (behind, below)] == [(100, 62)] * 2


def test_a_raw_is_refused_by_the_engine_too(tmp_path: Path) -> None:
    """Who calls the API sends what they like."""
    sensor = page((64, 48), (16,), 32803, bytes(6144))
    raw = tiff(rgb_page(photograph(32, 24), {254: (LONG, [1]), 50706: (BYTE, [1, 4, 0, 0])}, below=[sensor]))

    assert refusal(tmp_path, raw).startswith("unsupported: a camera raw (DNG): export a JPEG")
    assert refusal(tmp_path, cgbi_png()).startswith("unsupported: an Apple-only PNG")


# --- kinds of TIFF ----------------------------------------------------------------------------------------------------------

PICTURE = photograph(128, 96)
RGB = PICTURE.tobytes()
L = PICTURE.convert("L").tobytes()


def wide(samples: bytes, code: str, factor: float) -> bytes:
    return b"".join(struct.pack("<" + code, value * factor if code in "fd" else int(value * factor)) for value in samples)


def kind(bits: int, photometric: int, content: bytes, samples: int = 1, **tags: Any) -> bytes:
    numbered = {int(name[1:]): value for name, value in tags.items()}
    return tiff(page(PICTURE.size, [bits] * samples, photometric, content, numbered))


RIGHT = {
    "grey": (kind(8, 1, L), "L"),
    "grey, white is zero": (kind(8, 0, bytes(255 - value for value in L)), "L"),
    "grey of 16 bits": (kind(16, 1, wide(L, "H", 257)), "L"),
    "16 bits": (kind(16, 2, wide(RGB, "H", 257), 3), "RGB"),
    "a band that is no alpha": (
        kind(8, 2, b"".join(RGB[at : at + 3] + b"\x07" for at in range(0, len(RGB), 3)), 4, t338=(SHORT, [0])),
        "RGB",
    ),
}


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize("name", RIGHT)
def test_kinds_of_tiff_come_out_right(tmp_path: Path, name: str, resize: Resize | None) -> None:
    """Each compared with the picture it was made of."""
    content, mode = RIGHT[name]
    made = make(tmp_path, content, resize=resize).picture
    expected = PICTURE.convert(mode).resize(made.size, Image.Resampling.LANCZOS)

    assert "A" not in made.getbands()
    assert max(ImageStat.Stat(ImageChops.difference(made.convert(mode), expected)).mean) < 7


REFUSED = {
    "YCbCr": kind(8, 6, PICTURE.convert("YCbCr").tobytes(), 3, t530=(SHORT, [1, 1])),
    "Lab": kind(8, 8, RGB, 3),
    "Lab of 16 bits": kind(16, 8, RGB * 2, 3),
    "ICC Lab": kind(8, 9, RGB, 3),
    "32 bits": kind(32, 2, RGB * 4, 3),
    "signed": kind(16, 1, L * 2, t339=(SHORT, [2])),
    "floating point": kind(32, 1, wide(L, "f", 1 / 255), t339=(SHORT, [3])),
    "12 bits": kind(12, 2, RGB * 2, 3),
    "other inks": kind(8, 5, RGB + L, 4, t332=(SHORT, [2])),
    "LZMA": kind(8, 1, L, t259=(SHORT, [34925])),
    "old-style JPEG": kind(8, 6, L, 3, t259=(SHORT, [6])),
    "Zstandard": kind(8, 1, L, t259=(SHORT, [50000])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_kinds_of_tiff_that_would_come_out_wrong_are_refused(tmp_path: Path, name: str) -> None:
    """As unsupported, with what to do; never as corrupt."""
    words = refusal(tmp_path, REFUSED[name])

    assert words.startswith("unsupported: a TIFF with ")
    assert ": save it as an RGB or grey TIFF" in words


def test_damage_is_called_corrupt(tmp_path: Path) -> None:
    """And nothing else is."""
    content = encoded(photograph(), "PNG")
    broken = content[:5000] + bytes(200) + content[5200:]

    assert refusal(tmp_path, broken) == "the image is corrupt or cut off (png)"


# --- never larger -----------------------------------------------------------------------------------------------------------


def fax() -> Image.Image:
    picture = Image.new("1", (1728, 1100), 1)
    draw, choice = ImageDraw.Draw(picture), random.Random(4)
    for top in range(60, 1000, 40):
        for left in range(80, 1600, 26):
            draw.text((left, top), choice.choice("abcdefghijklmnopq"), fill=0)
    return picture


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


FAX = fax()
PALETTE = photograph(640, 400).quantize(16)
GREY_PROFILE = icc_profile("Dot Gain 20%", None, gamma_curve(1.75))
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>secret place</x:xmpmeta>"
COMPACT = {
    "fax": lambda: encoded(FAX, "TIFF", compression="group4"),
    "fax, turned": lambda: encoded(FAX, "TIFF", compression="group4", tiffinfo={274: 3}),
    "fax with XMP": lambda: encoded(FAX, "TIFF", compression="group4", tiffinfo={700: XMP, 270: "secret place"}),
    "fax with a profile": lambda: encoded(FAX, "TIFF", compression="group4", icc_profile=GREY_PROFILE),
    "bilevel PNG with a profile": lambda: encoded(FAX, "PNG", optimize=True, icc_profile=GREY_PROFILE),
    "bilevel PNG, turned": lambda: encoded(FAX, "PNG", optimize=True, exif=turned(3)),
    "LZW, turned": lambda: encoded(PALETTE, "TIFF", compression="tiff_lzw", tiffinfo={274: 3}),
    "palette in P3": lambda: encoded(
        PALETTE, "PNG", optimize=True, icc_profile=PROFILES["sRGB IEC61966-2.1 (Linear RGB Profile)"]
    ),
    "tiny JPEG, turned": lambda: jpeg(quality=2, optimize=True, exif=turned(6).tobytes()),
    "tiny HEIC with XMP": lambda: heic_with(XMP),
    "tiny AVIF with XMP": lambda: encoded(photograph(), "AVIF", quality=2, xmp=XMP),
}


def heic_with(xmp: bytes) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(photograph()).save(buffer, quality=1, xmp=xmp)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["medium", "high", "ultra"])
@pytest.mark.parametrize("name", COMPACT)
def test_compression_alone_never_makes_a_file_larger(tmp_path: Path, name: str, compression: Any) -> None:
    """Nor does it leave the metadata in."""
    content = COMPACT[name]()
    made = make(tmp_path, content, compression)

    assert len(made.content) <= len(content)
    assert b"secret place" not in made.content


def test_what_stays_as_it_was_is_looked_at_as_before(tmp_path: Path) -> None:
    """The reader turns both by their orientation, and shows the same."""
    content = COMPACT["fax, turned"]()
    made = make(tmp_path, content)

    assert len(made.content) <= len(content)
    assert made.picture.tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_an_icon_keeps_its_large_picture(tmp_path: Path) -> None:
    """512 pixels, which the directory cannot say; alone, and among others."""
    held = {side: encoded(photograph(side, side), "PNG") for side in (16, 256, 512)}
    for sides in ((512,), (16, 512), (16, 256)):
        made = make(tmp_path, icon(*((side, held[side]) for side in sides)))
        count = struct.unpack_from("<H", made.content, 4)[0]
        entries = [struct.unpack_from("<II", made.content, 14 + 16 * place) for place in range(count)]
        found = sorted(struct.unpack_from(">I", made.content, offset + 16)[0] for _, offset in entries)
        assert found == list(sides)
    assert make(tmp_path, icon((16, held[16]), (512, held[512])), resize=Resize(128, 128)).picture.size == (128, 128)


# --- rights, texts, narrow pictures -----------------------------------------------------------------------------------------

NOTICES = {
    "UTF-8": ("Jürgen Müller".encode(), "© 2026 Jürgen Müller".encode()),
    "Latin-1": ("Jürgen Müller".encode("latin-1"), "© 2026 Jürgen Müller".encode("latin-1")),
    "Japanese": ("山田太郎".encode(), "© 山田太郎".encode()),
    "photographer and editor": (b"A. Photographer", b"A. Photographer\0B. Editor"),
    "brackets": (b"Foto GmbH (Berlin)", b"(c) 2026 Foto GmbH (Berlin)"),
}


def notice_block(artist: bytes, notice: bytes) -> bytes:
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", 2)
    first, second = artist + b"\0", notice + b"\0"
    entries = struct.pack("<HHII", 315, 2, len(first), 38) + struct.pack("<HHII", 33432, 2, len(second), 38 + len(first))
    return head + entries + bytes(4) + first + second


SMALL_PHOTO = photograph(160, 100)


def noticed_jpeg(block: bytes, quality: int) -> bytes:
    content = jpeg(*SMALL_PHOTO.size, quality=quality, optimize=True)
    payload = b"Exif\0\0" + block
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + content[2:]


def noticed_heic(block: bytes) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(SMALL_PHOTO).save(buffer, quality=90, exif=b"Exif\0\0" + block)
    return buffer.getvalue()


HOLDERS = {
    "jpeg encoded anew": lambda block: noticed_jpeg(block, 95),
    "jpeg kept": lambda block: noticed_jpeg(block, 15),
    "webp": lambda block: encoded(SMALL_PHOTO, "WEBP", quality=90, exif=b"Exif\0\0" + block),
    "webp kept": lambda block: encoded(SMALL_PHOTO, "WEBP", quality=5, exif=b"Exif\0\0" + block),
    "png": lambda block: encoded(SMALL_PHOTO, "PNG", exif=b"Exif\0\0" + block),
    "avif": lambda block: encoded(SMALL_PHOTO, "AVIF", quality=90, exif=b"Exif\0\0" + block),
    "heic": noticed_heic,
}


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("name", NOTICES)
def test_author_and_notice_stay_letter_for_letter(tmp_path: Path, name: str, holder: str, resize: Resize | None) -> None:
    """Their bytes are carried, in whatever letters and brackets."""
    artist, notice = NOTICES[name]
    made = make(tmp_path, HOLDERS[holder](notice_block(artist, notice)), resize=resize).content

    assert artist + b"\0" in made
    assert notice + b"\0" in made
    assert make(tmp_path, made).outcome.width > 0


def test_tiff_and_gif_carry_the_notice_too(tmp_path: Path) -> None:
    """In their own tags, and in a comment."""
    document = encoded(photograph(), "TIFF", tiffinfo={315: "Foto GmbH (Berlin)", 33432: "(c) Foto GmbH"})
    comment = encoded(photograph().convert("P"), "GIF", comment="© Jürgen".encode())
    for resize in WAYS:
        made = make(tmp_path, document, resize=resize)
        assert (b"Foto GmbH (Berlin)\0" in made.content, b"(c) Foto GmbH\0" in made.content) == (True, True)
        assert made.picture.getexif()[315] == "Foto GmbH (Berlin)"
        assert "© Jürgen".encode() in make(tmp_path, comment, resize=resize).content


@pytest.mark.parametrize("resize", WAYS)
@pytest.mark.parametrize(
    "text",
    [
        chunk(b"tEXt", b"Gr\xf6\xdfe\0x"),
        chunk(b"zTXt", b"Cr\xe9ateur\0\0" + zlib.compress(b"x")),
        chunk(b"iTXt", b"T\xedtulo\0\0\0\0\0x"),
    ],
)
def test_a_png_text_may_have_a_name_with_any_letters(tmp_path: Path, text: bytes, resize: Resize | None) -> None:
    """Latin-1, as PNG allows."""
    assert make(tmp_path, with_chunks(encoded(SMALL_PHOTO, "PNG"), text), resize=resize).outcome.output_format == "png"


@pytest.mark.parametrize("gravity", ["center", "top", "bottom"])
def test_a_narrow_picture_covers_a_wide_box(tmp_path: Path, gravity: Any) -> None:
    """What is cropped at once counts no pixels and costs no work; the part that is kept is the right one."""
    narrow = Image.new("RGB", (10, 3000), (0, 0, 255))
    narrow.paste((255, 0, 0), (0, 0, 10, 1000))
    narrow.paste((0, 255, 0), (0, 1000, 10, 2000))
    made = make(tmp_path, encoded(narrow, "PNG"), resize=Resize(1000, 1000, "fit", gravity))
    expected = {"center": (0, 255, 0), "top": (255, 0, 0), "bottom": (0, 0, 255)}[gravity]

    assert made.picture.size == (1000, 1000)
    assert is_near(shown(made.content, (500, 500)), expected)


def test_a_lab_profile_is_no_error(tmp_path: Path) -> None:
    """A profile that fits no such picture is passed over, as viewers do."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    assert is_near(shown(make(tmp_path, encoded(FLAT, "JPEG", icc_profile=lab, quality=97)).content, (50, 50)), (200, 60, 40))
