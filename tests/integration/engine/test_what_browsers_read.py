"""Pictures with a fault, or of a layout, that libraries stumble over and browsers do not."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from tests.support.engine_images import is_near, make, refusal, shown
from tests.support.odd_files import chunk
from tests.support.reference import distance
from watcher.engine import profiles
from watcher.engine.geometry import Resize
from watcher.engine.work import OutputOrder
from watcher.formats.gif import readable
from watcher.formats.sizes import pixel_size
from watcher.model import Format, OutputFormat

# --- GIF whose codes do not end in the code for it --------------------------------------------------------------------------


def gif_codes(pixels: list[int], bits: int, *, ended: bool) -> bytes:
    """Pixels as GIF packs them."""
    clear, table = 1 << bits, {(number,): number for number in range(1 << bits)}
    codes, width, following, run = [(clear, bits + 1)], bits + 1, clear + 2, tuple[int, ...]()
    for pixel in pixels:
        if (*run, pixel) in table:
            run = (*run, pixel)
            continue
        codes.append((table[run], width))
        table[(*run, pixel)] = following
        following += 1
        width += following > 1 << width
        run = (pixel,)
    codes.append((table[run], width))
    if ended:
        codes.append((clear + 1, width + (following == 1 << width)))
    packed = place = 0
    for code, width in codes:
        packed |= code << place
        place += width
    return packed.to_bytes(-(-place // 8), "little")


def gif(size: tuple[int, int], pixels: list[int], bits: int, *, ended: bool) -> bytes:
    palette = bytes(number * 255 // ((1 << bits) - 1) for number in range(1 << bits) for _ in range(3))
    codes = gif_codes(pixels, bits, ended=ended)
    blocks = b"".join(bytes([len(part)]) + part for part in (codes[at : at + 255] for at in range(0, len(codes), 255)))
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80 | (bits - 1), 0, 0) + palette
    return head + b"," + struct.pack("<HHHHBB", 0, 0, *size, 0, bits) + blocks + b"\0;"


@pytest.mark.parametrize("resize", [None, Resize(40, 40, upscale=True)])
def test_a_gif_whose_codes_do_not_end_keeps_its_last_pixels(tmp_path: Path, resize: Resize | None) -> None:
    """They came out black, a quarter of such files, without an error."""
    chance = random.Random(7)
    for _ in range(12):
        size, bits = (chance.randint(1, 9), chance.randint(1, 9)), chance.choice((2, 3, 4))
        pixels = [chance.randrange(1 << bits) for _ in range(size[0] * size[1])]

        made, proper = (make(tmp_path, gif(size, pixels, bits, ended=ended), "medium", resize) for ended in (False, True))

        assert distance(made.picture.convert("RGBA"), proper.picture.convert("RGBA")) == 0


@pytest.mark.parametrize("cut", [0, 3, 20, 35, 40, 43])
def test_a_gif_that_is_cut_is_given_no_room_in_the_wrong_place(cut: int) -> None:
    """What there is stays as it was."""
    content = gif((4, 4), list(range(4)) * 4, 2, ended=True)[:cut]

    assert readable(content).content == content


def test_a_gif_may_be_padded_between_its_blocks(tmp_path: Path) -> None:
    """As Chromium and Pillow read it."""
    proper = gif((4, 4), list(range(4)) * 4, 2, ended=True)
    padded = proper[:25] + b"\0\0" + proper[25:-1] + b"\0;"
    assert proper[25:26] == b","

    made = [make(tmp_path, content, "medium").picture.convert("RGBA") for content in (padded, proper)]

    assert distance(*made) == 0


# --- PNG ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resize", [None, Resize(60, 60)])
def test_a_png_may_name_too_small_a_window(tmp_path: Path, resize: Resize | None) -> None:
    """Pixels that repeat from further back than the packed data says they do."""
    row = bytes(random.Random(1).randrange(256) for _ in range(900))
    packed = bytearray(zlib.compress(b"".join(b"\0" + row for _ in range(100)), 9))
    packed[0] = 0x18
    packed[1] = 31 - 0x1800 % 31
    header = struct.pack(">IIBBBBB", 300, 100, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND", b"")

    made = make(tmp_path, content, "medium", resize)

    if resize is None:
        assert made.picture.convert("RGB").tobytes() == row * 100
    assert made.picture.width == (60 if resize else 300)


# --- BMP whose bits are laid out in a way of its own ----------------------------------------------------------------------------


def bmp(bits: int, masks: tuple[int, ...], *, header: int, down: bool) -> tuple[bytes, list[tuple[int, ...]]]:
    """A BMP, and the colours of its pixels from the top left on."""
    size, chance = (33, 20), random.Random(bits)
    colours = [tuple(chance.randrange(256) for _ in masks) for _ in range(size[0] * size[1])]
    words = [sum(_put(value, mask) for value, mask in zip(colour, masks, strict=True)) for colour in colours]
    rows = [words[at : at + size[0]] for at in range(0, len(words), size[0])]
    packed = [b"".join(word.to_bytes(bits // 8, "little") for word in row) for row in rows]
    pixels = b"".join(row + bytes(-len(row) % 4) for row in (packed if down else packed[::-1]))
    height = -size[1] if down else size[1]
    head = struct.pack("<IiiHHIIiiII", header, size[0], height, 1, bits, 3, len(pixels), 2835, 2835, 0, 0)
    head += struct.pack("<4I", *masks, *[0] * (4 - len(masks)))[: 12 if header <= 52 else 16]
    head = head.ljust(header, b"\0")
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + pixels, colours


def _put(value: int, mask: int) -> int:
    lowest = mask & -mask
    most = mask // lowest
    return (value * most + 127) // 255 * lowest


@pytest.mark.parametrize(
    ("bits", "masks", "header"),
    [
        (16, (0xF800, 0x07E0, 0x001F), 40),
        (16, (0x0F00, 0x00F0, 0x000F), 40),
        (16, (0x0F00, 0x00F0, 0x000F, 0xF000), 108),
        (32, (0x0FF00000, 0x0007F000, 0x000000FF), 40),
        (32, (0x3FF00000, 0x000FFC00, 0x000003FF), 52),
        (32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF), 56),
        (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000), 124),
    ],
)
@pytest.mark.parametrize("down", [False, True])
def test_a_bmp_is_read_by_its_masks(tmp_path: Path, bits: int, masks: tuple[int, ...], header: int, *, down: bool) -> None:
    """Whichever bits are which colour."""
    content, colours = bmp(bits, masks, header=header, down=down)

    picture = make(tmp_path, content, "medium", output=OutputOrder("png")).picture

    assert picture.mode == ("RGBA" if len(masks) == 4 else "RGB")
    step = max(255 // (mask // (mask & -mask)) for mask in masks) + 1
    shown = [picture.getpixel((at % 33, at // 33)) for at in range(33 * 20)]
    assert all(
        max(abs(a - b) for a, b in zip(one, other, strict=True)) <= step for one, other in zip(shown, colours, strict=True)
    )


@pytest.mark.parametrize("masks", [(0xF0F0, 0x0F00, 0x000F), (0, 0, 0)])
def test_masks_that_make_no_sense_are_refused(tmp_path: Path, masks: tuple[int, ...]) -> None:
    """As a kind that cannot be read."""
    content, _ = bmp(16, (0xF800, 0x07E0, 0x001F), header=40, down=False)
    content = content[:54] + struct.pack("<3I", *masks) + content[66:]

    assert refusal(tmp_path, content).startswith("unsupported: a kind of BMP")


@pytest.mark.parametrize("resize", [None, Resize(20, 20)])
def test_a_profile_in_a_bmp_counts(tmp_path: Path, resize: Resize | None) -> None:
    """Of version 5, embedded; one that is linked to is not looked for."""
    colours, pixels = profiles.profile(profiles.PRIMARIES[12], profiles.SRGB_CURVE), bytes((40, 60, 200, 0)) * 1600
    head = struct.pack("<IiiHHIIiiII", 124, 40, 40, 1, 32, 0, len(pixels), 0, 0, 0, 0).ljust(56, b"\0") + b"DEBM"
    head = head.ljust(112, b"\0") + struct.pack("<IIII", 124 + len(pixels), len(colours), 0, 0)[:12]
    content = b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(colours), 0, 0, 138) + head + pixels + colours

    for bmp, expected in ((content, (219, 41, 24)), (content.replace(b"DEBM", b"KNIL"), (200, 60, 40))):
        assert is_near(shown(make(tmp_path, bmp, "medium", resize, OutputOrder("png")).content, (9, 9)), expected)


# --- ICO ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
def test_the_mask_of_an_icon_counts_where_no_pixel_has_alpha(tmp_path: Path, *, masked: bool) -> None:
    """Old programs leave the fourth byte zero: the icon came out with nothing in it."""
    head = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 32, 0, 0, 0, 0, 0, 0)
    picture = head + bytes((40, 60, 200, 0)) * 256 + (b"\xf0\0\0\0" * 16 if masked else b"")
    content = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture

    alpha = make(tmp_path, content, output=OutputOrder("png")).picture.convert("RGBA").getchannel("A")
    assert [alpha.getpixel((0, 0)), alpha.getpixel((9, 9))] == [0 if masked else 255, 255]


# --- GIF whose frames do not cover its screen -----------------------------------------------------------------------------------


def sparse_gif(screen: tuple[int, int], frames: list[tuple[int, int, int]]) -> bytes:
    """Frames of 9 x 7 pixels: left, top, number of the colour (of black, dark, light and white)."""
    palette = bytes(number * 85 for number in range(4) for _ in range(3))
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x81, 0, 0) + palette + b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0"
    for left, top, colour in frames:
        codes = gif_codes([colour] * 63, 2, ended=True)
        out += b"\x21\xf9\4" + struct.pack("<BHB", 4, 7, 0) + b"\0,"
        out += struct.pack("<HHHHBB", left, top, 9, 7, 0, 2) + bytes([len(codes)]) + codes + b"\0"
    return out + b";"


@pytest.mark.parametrize("screen", [(640, 480), (60, 50), (2100, 90)])
def test_the_screen_of_a_gif_is_shown_whole(tmp_path: Path, screen: tuple[int, int]) -> None:
    """Transparent where no frame has drawn; libvips made 21 x 23 pixels of one of 640 x 480."""
    made = make(tmp_path, sparse_gif(screen, [(12, 16, 2)]), "medium", output=OutputOrder("png"))
    picture = made.picture.convert("RGBA")

    assert (made.outcome.width, made.outcome.height) == picture.size == screen
    assert picture.getbbox() == (12, 16, 21, 23)
    assert picture.getpixel((14, 18)) == (170, 170, 170, 255)


@pytest.mark.parametrize("screen", [(13, 40), (5, 4), (0, 0), (640, 20)])
def test_the_screen_of_a_gif_grows_with_its_first_frame(tmp_path: Path, screen: tuple[int, int]) -> None:
    """As browsers have it: the frame was cut off, or lost, and the rest called a success. Later frames are cut."""
    content = sparse_gif(screen, [(12, 16, 2), (30, 30, 3)])
    size = max(screen[0], 21), max(screen[1], 23)

    made = make(tmp_path, content, "medium", output=OutputOrder("webp"))
    picture = made.picture.convert("RGBA")

    assert pixel_size(lambda offset, count: content[offset : offset + count], len(content), Format.GIF) == size
    assert (made.outcome.width, made.outcome.height) == picture.size == size
    assert picture.getbbox() == (12, 16, 21, 23)


@pytest.mark.parametrize(("resize", "word"), [(None, "webp"), (Resize(320, 240), "auto"), (Resize(64, 64, "fit"), "webp")])
def test_frames_that_lie_anywhere_on_the_screen_stay(tmp_path: Path, resize: Resize | None, word: OutputFormat) -> None:
    """With their durations, none lost and none added."""
    content = sparse_gif((640, 480), [(300, 200, 1), (330, 250, 3), (316, 236, 2)])

    picture = Image.open(io.BytesIO(make(tmp_path, content, "medium", resize, OutputOrder(word)).content))
    frames = [(frame.convert("RGBA").getchannel("A"), frame.info["duration"]) for frame in ImageSequence.Iterator(picture)]

    assert [duration for _, duration in frames] == [70] * 3
    assert [alpha.getpixel((0, 0)) for alpha, _ in frames] == [0] * 3
    assert [bool(alpha.getbbox()) for alpha, _ in frames] == [True] * 3


# --- SVG ------------------------------------------------------------------------------------------------------------------------


def drawn(folder: Path, attributes: str, body: str) -> Image.Image:
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'
    return make(folder, text.encode(), "medium").picture.convert("RGBA")


@pytest.mark.parametrize(
    ("attributes", "size"), [("", (300, 150)), ('width="100%" height="100%"', (300, 150)), ('width="90"', (90, 150))]
)
def test_shapes_measured_by_a_size_that_is_not_said(tmp_path: Path, attributes: str, size: tuple[int, int]) -> None:
    """They came out as one pixel. Browsers take 300 x 150 for what is not said."""
    picture = drawn(tmp_path, attributes, '<rect width="50%" height="50%" fill="#c83c28"/>')

    assert picture.size == size
    assert picture.getbbox() == (0, 0, size[0] // 2, size[1] // 2)


def test_css_of_drawing_programs_counts(tmp_path: Path) -> None:
    """The background of the root was transparent, and shapes in the colour of a variable were black or not there."""
    body = "<style>:root{--ink:#c83c28} rect{fill:var(--ink)}</style><rect width='20' height='20'/>"
    style = 'style="background: #fff; background-color: light-dark(#ddeeff, var(--dark, #121212))"'
    picture = drawn(tmp_path, f'width="40" height="40" {style}', body)

    assert [picture.getpixel(place) for place in ((9, 9), (30, 30))] == [(200, 60, 40, 255), (221, 238, 255, 255)]


def test_what_an_svg_would_have_from_other_files_is_named(tmp_path: Path) -> None:
    content = b'<!DOCTYPE svg [<!ENTITY x SYSTEM "x.txt">]><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">&x;</svg>'

    assert "(entities)" in refusal(tmp_path, content)
    assert "clip-path" in refusal(tmp_path, content.replace(b"&x;", b'<path style="clip-path:circle(2px)"/>'))
