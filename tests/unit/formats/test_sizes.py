"""The size in pixels, out of the headers alone."""

import io

import pillow_heif
import pytest
from PIL import Image

from tests.support.odd_files import LONG, SHORT, icon, page, rgb_page, tiff
from tests.support.pictures import encoded, photograph
from tests.unit.formats.test_containers import box, reader
from watcher.formats.sizes import pixel_size
from watcher.formats.sniffing import sniff

pillow_heif.register_heif_opener()


def size_of(content: bytes) -> tuple[int, int] | None:
    found = sniff(reader(content), len(content)).format
    assert found is not None
    return pixel_size(reader(content), len(content), found)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[271] = "a camera"
    exif[274] = orientation
    return exif


WIDE = photograph(67, 45)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
def test_every_format_says_its_size(format_name: str) -> None:
    """Width and height of a plain picture."""
    assert size_of(encoded(WIDE, format_name)) == (67, 45)


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"quality": 50, "exif": turned(1)}, {"save_all": True, "append_images": [WIDE.rotate(9)]}]
)
def test_every_kind_of_webp_says_its_size(options: dict[str, object]) -> None:
    """VP8, VP8L and VP8X keep it in places of their own."""
    assert size_of(encoded(WIDE, "WEBP", **options)) == (67, 45)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_measured_upright(format_name: str, orientation: int) -> None:
    """Orientations 5 to 8 swap the sides."""
    content = encoded(WIDE, format_name, exif=turned(orientation).tobytes())

    assert size_of(content) == ((45, 67) if orientation >= 5 else (67, 45))


def test_a_tiff_is_measured_by_its_first_page() -> None:
    """A thumbnail before it is none; its orientation counts."""
    thumbnail = rgb_page(photograph(16, 12), {254: (LONG, [1])})
    main = rgb_page(WIDE, {254: (LONG, [0]), 274: (SHORT, [6])})

    assert size_of(tiff(thumbnail, main, order=">")) == (45, 67)
    assert size_of(tiff(page((16, 12), (8,), 1, bytes(192), {254: (LONG, [1])}, below=[rgb_page(WIDE)]))) == (67, 45)


def test_an_icon_is_measured_by_its_largest_picture() -> None:
    """What the pictures say counts, since the directory ends at 256."""
    pictures = [(side, encoded(photograph(side, side), "PNG")) for side in (16, 512, 32)]

    assert size_of(icon(*pictures)) == (512, 512)
    assert size_of(encoded(photograph(64, 64), "ICO", sizes=[(16, 16), (48, 48)], bitmap_format="bmp")) == (48, 48)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('width="400" height="200"', (400, 200)),
        ('width="400px" height="200PX"', (400, 200)),
        ('width="300pt" height="150pt"', (400, 200)),
        ('width="105.83333mm" height="5.2916667cm"', (400, 200)),
        ('width="4.1666667in" height="12.5pc"', (400, 200)),
        ('width="423.33333Q" height="200"', (400, 200)),
        ('viewBox="0 0 400 200"', (400, 200)),
        ('viewBox="-9,-9 4e2,200" width="200"', (200, 100)),
        ('viewBox="0 0 400 200" height="50%" width="100%"', (400, 200)),
        ('viewBox="0 0 0 0"', None),
        ('width="100%"', None),
        ("", None),
    ],
)
def test_an_svg_is_measured_as_css_says(attributes: str, expected: tuple[int, int] | None) -> None:
    """96 pixels an inch; a side that is missing follows from the view box."""
    assert size_of(f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}><g/></svg>'.encode()) == expected


def test_a_damaged_header_says_nothing() -> None:
    """No size is better than a wrong one, and nothing is raised."""
    assert size_of(b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9") is None
    assert size_of(b"\x89PNG\r\n\x1a\n\0\0") is None
    assert size_of(box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", b"\0" * 4 + box(b"iloc", b"\1\0"))) is None
    assert size_of(b"GIF89a\0\0\0\0" + bytes(9)) is None


def test_only_headers_are_read() -> None:
    """A picture of megabytes costs a few kilobytes."""
    content = encoded(photograph(320, 200), "TIFF", compression=None)
    asked: list[int] = []

    def read_at(offset: int, size: int) -> bytes:
        asked.append(size)
        return content[offset : offset + size]

    found = sniff(read_at, len(content)).format
    assert found is not None
    assert pixel_size(read_at, len(content), found) == (320, 200)
    assert sum(asked) < 40_000


def test_sizes_agree_with_pillow_where_a_heic_is_turned_and_cropped() -> None:
    """irot, clap and ispe together: what a decoder gives is what the header says."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(photograph(130, 70)).save(buffer, quality=50, exif=turned(8).tobytes())

    assert size_of(buffer.getvalue()) == pillow_heif.open_heif(buffer.getvalue()).size
