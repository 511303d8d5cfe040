"""Formats by content, and whether the container is whole."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from encodings import aliases
from functools import cache
from itertools import count

import pytest
from PIL import Image

from tests.support.pictures import encoded, photograph
from watcher.formats.bounded_reading import ReadAt
from watcher.formats.containers import ContainerFacts, judge
from watcher.formats.sniffing import sniff
from watcher.model import Format


def judged(content: bytes) -> ContainerFacts:
    return judge(reader(content), len(content))


def reader(content: bytes) -> ReadAt:
    """As os.pread reads: it refuses what lies before the beginning."""

    def read_at(offset: int, size: int) -> bytes:
        assert offset >= 0
        return content[offset : offset + size]

    return read_at


def big_tiff() -> bytes:
    """A BigTIFF of two strips, written by hand: Pillow writes none."""
    strips = [bytes(range(64)), bytes(range(64))]
    entries = [
        (256, 4, 1, struct.pack("<I4x", 8)),
        (257, 4, 1, struct.pack("<I4x", 16)),
        (258, 3, 1, struct.pack("<H6x", 8)),
        (259, 3, 1, struct.pack("<H6x", 1)),
        (262, 3, 1, struct.pack("<H6x", 1)),
        (273, 16, 2, None),
        (278, 4, 1, struct.pack("<I4x", 8)),
        (279, 16, 2, None),
    ]
    directory = 16
    behind = directory + 8 + 20 * len(entries) + 8
    offsets, counts, data = behind, behind + 16, behind + 32
    places = {273: struct.pack("<Q", offsets), 279: struct.pack("<Q", counts)}
    body = struct.pack("<Q", len(entries))
    for tag, kind, amount, value in entries:
        body += struct.pack("<HHQ", tag, kind, amount) + (value or places[tag])
    body += struct.pack("<Q", 0) + struct.pack("<QQ", data, data + 64) + struct.pack("<QQ", 64, 64)
    return b"II+\0\x08\0\0\0" + struct.pack("<Q", directory) + body + b"".join(strips)


def box(kind: bytes, content: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I", 1) + kind + struct.pack(">Q", 16 + len(content)) + content
    return struct.pack(">I", 8 + len(content)) + kind + content


def heic(brand: bytes = b"heic", *more: bytes) -> bytes:
    """Boxes as phones write them. The picture itself is noise: nothing here decodes."""
    return (
        box(b"ftyp", brand + b"\0\0\0\0" + b"".join((b"mif1", brand, *more))) + box(b"meta", bytes(60)) + box(b"mdat", bytes(999))
    )


SVG = b"""\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand, a > b -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [ <!ENTITY ns "http://x"> ]>
<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><svg><g id="&ns;"/></svg><text>a</text></svg>
<!-- the end -->
"""


@cache
def samples() -> dict[str, tuple[Format, bytes]]:
    picture, palette = photograph(80, 60), photograph(80, 60).convert("P")
    frames = [photograph(80, 60).rotate(angle) for angle in (0, 90, 180)]
    animated = {"save_all": True, "append_images": frames[1:]}
    exif = Image.Exif()
    exif[271] = "a camera"
    return {
        "jpeg": (Format.JPEG, encoded(picture, "JPEG", exif=exif)),
        "jpeg progressive": (Format.JPEG, encoded(picture, "JPEG", progressive=True, quality=95)),
        "jpeg with restarts": (Format.JPEG, encoded(picture, "JPEG", restart_marker_rows=1)),
        "jpeg grey": (Format.JPEG, encoded(picture.convert("L"), "JPEG")),
        "png": (Format.PNG, encoded(picture, "PNG")),
        "png animated": (Format.PNG, encoded(frames[0], "PNG", **animated)),
        "webp": (Format.WEBP, encoded(picture, "WEBP")),
        "webp lossless animated": (Format.WEBP, encoded(frames[0], "WEBP", lossless=True, **animated)),
        "gif": (Format.GIF, encoded(palette, "GIF")),
        "gif animated": (Format.GIF, encoded(frames[0].convert("P"), "GIF", **animated, comment=b"hello")),
        "avif": (Format.AVIF, encoded(picture, "AVIF")),
        "avif animated": (Format.AVIF, encoded(frames[0], "AVIF", **animated)),
        "heic": (Format.HEIC, heic()),
        "heif with a general brand": (Format.HEIC, heic(b"mif1", b"heic")),
        "avif with a general brand": (Format.AVIF, heic(b"mif1", b"avif")),
        "tiff": (Format.TIFF, encoded(picture, "TIFF")),
        "tiff compressed": (Format.TIFF, encoded(picture, "TIFF", compression="tiff_lzw")),
        "tiff pages": (Format.TIFF, encoded(frames[0], "TIFF", **animated)),
        "bigtiff": (Format.TIFF, big_tiff()),
        "bmp": (Format.BMP, encoded(picture, "BMP")),
        "bmp palette": (Format.BMP, encoded(palette, "BMP")),
        "ico": (Format.ICO, encoded(picture, "ICO", sizes=[(16, 16), (32, 32), (48, 48)])),
        "svg": (Format.SVG, SVG),
        "svg bare": (Format.SVG, b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='1' height='1'/></svg>"),
        "svg utf-16": (Format.SVG, '\ufeff<svg a="x"><g></g></svg>'.encode("utf-16-le")),
        "svg prefixed": (Format.SVG, b'<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:g></s:g></s:svg>\n'),
        "svg empty": (Format.SVG, b'<svg xmlns="http://www.w3.org/2000/svg" />'),
    }


NAMES = sorted(samples())
END_IS_ENOUGH = {
    "svg": SVG.rindex(b"</svg>") + 6,
    "svg prefixed": len(samples()["svg prefixed"][1]) - 1,
    "tiff pages": len(samples()["tiff pages"][1].rstrip(b"\0")),
}
"""Where the container ends before the file does: what follows is white space, or fills up a word."""


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_known_by_its_content_and_found_whole(name: str) -> None:
    """Whole samples of every format are recognised, and whole."""
    expected, content = samples()[name]

    assert judged(content) == ContainerFacts(expected)


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_is_taken_for_a_whole_image(name: str) -> None:
    """Cut anywhere, a file is either no image yet or an image of which something is missing: never whole."""
    _, content = samples()[name]
    end = END_IS_ENOUGH.get(name, len(content))
    every = max(1, end // 700)
    cuts = {*range(0, end, every), *range(max(0, end - 64), end), *range(min(200, end))}

    assert [cut for cut in sorted(cuts) if judged(content[:cut]).whole] == []


@pytest.mark.parametrize("name", [name for name in NAMES if samples()[name][0] not in (Format.SVG, Format.AVIF, Format.HEIC)])
def test_bytes_behind_the_end_do_no_harm(name: str) -> None:
    """Phones add data behind the end marker: that is a whole image."""
    expected, content = samples()[name]

    assert judged(content + bytes(5_000) + b"trailer") == ContainerFacts(expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("jpeg")])
def test_a_motion_photo_with_a_cut_film_is_a_whole_jpeg(name: str) -> None:
    """What follows the picture's own end marker, even a second picture that is cut, is not asked."""
    _, content = samples()[name]

    assert judged(content + content[: len(content) // 2]).whole


def test_a_thumbnails_end_marker_is_not_the_pictures() -> None:
    """The EOI of a thumbnail within EXIF does not make a cut picture whole."""
    thumbnail = encoded(photograph(32, 32), "JPEG")
    exif = b"Exif\0\0" + thumbnail
    content = encoded(photograph(160, 120), "JPEG", exif=exif)
    scan = content.rindex(b"\xff\xda")

    assert thumbnail in content[:scan]
    assert judged(content).whole
    assert not judged(content[: content.index(thumbnail) + len(thumbnail)]).whole
    assert not judged(content[: scan + 500]).whole


def test_a_jpeg_of_headers_only_is_cut() -> None:
    """An end marker without a scan before it ends nothing."""
    assert judged(b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9").missing != ""


def test_a_truncated_jpeg_says_what_is_missing() -> None:
    """The words are for people: image.failed carries them."""
    _, content = samples()["jpeg"]

    assert judged(content[:-99]) == ContainerFacts(Format.JPEG, "the end marker (EOI) is missing")


def test_an_animated_gif_may_pad_its_blocks() -> None:
    """Zero bytes between blocks, as some encoders write them, are stepped over."""
    _, content = samples()["gif"]

    assert judged(content[:-1] + b"\0\0" + content[-1:]).whole


def test_a_box_of_unknown_length_reaches_to_the_end() -> None:
    """A last box of length 0 goes on to the end of the file (ISO/IEC 14496-12 4.2)."""
    content = heic()
    open_ended = content.replace(struct.pack(">I", 1007) + b"mdat", bytes(4) + b"mdat")

    assert open_ended != content
    assert judged(open_ended).whole


def test_a_wide_box_is_measured() -> None:
    """64-bit box lengths count."""
    head = box(b"ftyp", b"heic\0\0\0\0mif1") + box(b"meta", bytes(20))
    data = box(b"mdat", bytes(100), wide=True)

    assert judged(head + data).whole
    assert not judged(head + data[:-1]).whole


def test_a_small_picture_may_live_in_its_meta_box() -> None:
    """Where the data are in `idat`, no `mdat` is needed."""
    head = box(b"ftyp", b"avif\0\0\0\0mif1")

    assert judged(head + box(b"meta", bytes(4) + box(b"idat", bytes(50)))).whole
    assert not judged(head + box(b"meta", bytes(4) + box(b"iloc", bytes(50)))).whole


def test_svg_with_a_foreign_entity_is_judged_by_its_end() -> None:
    """Markup that a strict parser refuses is whole where it ends with the closing tag."""
    content = b"<svg xmlns='http://www.w3.org/2000/svg'><text>&nbsp;</text></svg>"

    assert judged(content).whole
    assert not judged(content[:-4]).whole


NOT_IMAGES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello, world\n",
    "one byte of a jpeg": b"\xff",
    "html with an svg in it": b"<!DOCTYPE html><html><body><svg></svg></body></html>",
    "svg in a comment": b"<!-- <svg></svg> --><html></html>",
    "xml": b"<?xml version='1.0'?><note/>",
    "pdf": b"%PDF-1.7\n" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
    "mp4": box(b"ftyp", b"isom\0\0\0\0avc1mp41") + box(b"mdat", bytes(50)),
    "wave": b"RIFF\x24\0\0\0WAVEfmt " + bytes(40),
    "canon raw": b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
    "text that begins like a bitmap": b"BMW is a make of cars, and this is a text about them",
    "zeros": bytes(4096),
    "cursor": b"\0\0\2\0\1\0" + bytes(100),
    "many comments": b"<!-- -->" * 2_000 + b"<html>",
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_what_is_no_image_is_told(name: str) -> None:
    """Other files, and texts that begin like an image, have no format."""
    assert judged(NOT_IMAGES[name]).format is None


def entity(number: int) -> bytes:
    return b'<!ENTITY e%d "&e%d;&e%d;">' % (number + 1, number, number)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "gif of one-byte blocks": lambda: b"GIF89a\1\0\1\0\0\0\0\x2c" + bytes(8) + b"\0\2" + b"\1a" * 3_000_000,
    "jpeg of fill bytes": lambda: b"\xff\xd8\xff\xda\0\2" + b"\xff" * 3_000_000 + b"\0" * 9,
    "tiff that points to itself": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(60),
    "tiff with endless values": lambda: b"II*\0\x08\0\0\0\1\0\x11\1\4\0\xff\xff\xff\xff\0\0\0\0" + bytes(60),
    "svg bomb": lambda: (
        b"<!DOCTYPE svg [" + b"".join(b'<!ENTITY e%d "&e%d;&e%d;">' % (n + 1, n, n) for n in range(60)) + b"]><svg>&e60;"
    ),
    "png of empty chunks": lambda: b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0abcd\0\0\0\0" * 200_000,
    "boxes of eight bytes": lambda: box(b"ftyp", b"avif\0\0\0\0") + b"\0\0\0\x08free" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_made_to_keep_us_busy_are_refused_in_bounded_time(name: str) -> None:
    """No content makes the check run for long or fail otherwise; none of these is whole."""
    data, before = HOSTILE[name](), time.process_time()
    assert not judged(data).whole or name == "tiff that points to itself"
    assert time.process_time() - before < 20, "of this process alone, however busy the machine is"


ENCODINGS = sorted({*aliases.aliases, *aliases.aliases.values(), "undefined", "no-such-encoding", "x" * 5000, "../x", "a\0b"})


@pytest.mark.parametrize("end", ["</svg>", "<g>"])
def test_svg_may_name_any_encoding(end: str) -> None:
    """One that nobody knows, or that is no encoding of text, is no error of ours: such a picture is judged by its end."""
    for encoding in ENCODINGS:
        document = f'<?xml version="1.0" encoding="{encoding}"?><svg xmlns="http://www.w3.org/2000/svg"><text>\xe9</text>{end}'
        verdict = judged(document.encode("latin-1"))

        assert (encoding, verdict.whole, verdict.format) == (encoding, end == "</svg>", Format.SVG)


def test_only_what_is_needed_is_read() -> None:
    """A large JPEG that ends as it should costs its headers and its end, not a read of the whole."""
    _, content = samples()["jpeg"]
    large = content[:-2] + bytes(20_000_000) + b"\xff\xd9"
    read: list[int] = []

    def read_at(offset: int, size: int) -> bytes:
        read.append(size)
        return large[offset : offset + size]

    assert judge(read_at, len(large)).whole
    assert sum(read) < 100_000


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_shrinks_while_it_is_read_is_no_error(name: str) -> None:
    """Whoever writes it anew empties it first, at any moment. Who can ask for its size must say whether that happened."""
    expected, content = samples()[name]

    def shrinking(reads: int, left: int) -> ReadAt:
        before, after, calls = reader(content), reader(content[:left]), count()
        return lambda offset, size: before(offset, size) if next(calls) < reads else after(offset, size)

    for left in (0, 1, 5, 13, len(content) // 2):
        for reads in range(6):
            assert judge(shrinking(reads, left), len(content)).format in (expected, None)


def test_an_error_of_reading_is_not_hidden() -> None:
    """A disk that fails is no cut file."""

    def read_at(offset: int, size: int) -> bytes:
        raise OSError(5, "I/O error")

    with pytest.raises(OSError, match="I/O"):
        judge(read_at, 100)


def test_mime_and_name_agree_with_nothing_but_the_content() -> None:
    """`sniff` alone tells a format from the first bytes."""
    assert {sniff(reader(content), len(content)).format for _, content in samples().values()} == set(Format)


def test_a_png_is_whole_by_its_chunks_where_something_follows() -> None:
    """Chunks are walked, so the word IEND inside data does not end it."""
    data = zlib.compress(b"IEND" * 50, 0)
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data)
    stream = io.BytesIO(head + chunk(b"IEND", b"") + b"more")

    assert not judged(head + b"more").whole
    assert judged(stream.getvalue()).whole
