"""Author and copyright notice that stand in XMP, IPTC or the texts of a PNG are kept, in whatever is stored."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from tests.support.engine_images import make
from tests.support.odd_files import chunk, with_chunks
from tests.support.pictures import encoded, photograph
from watcher.engine.geometry import Resize
from watcher.engine.lossless import without_metadata
from watcher.engine.notices import from_iptc, from_xmp, merged
from watcher.engine.rights import ARTIST, COPYRIGHT, PREFIX, exif_block
from watcher.engine.work import Limits, OutputOrder
from watcher.model import OutputFormat

pillow_heif.register_heif_opener()
AUTHOR, NOTICE = "Zoë (Müller)", "© 2026 株式会社"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">
<dc:creator><rdf:Seq><rdf:li>{AUTHOR}</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{NOTICE}</rdf:li></rdf:Alt></dc:rights>
<photoshop:City>a place that must go</photoshop:City>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()
PHOTO = photograph(120, 72)
TINY = Image.new("L", (40, 30), 90)


def iptc_jpeg() -> bytes:
    def record(number: int, text: str) -> bytes:
        return b"\x1c\x02" + struct.pack(">BH", number, len(text.encode())) + text.encode()

    records = record(80, AUTHOR) + record(90, "a place that must go") + record(116, NOTICE)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + b"\0" * (len(records) % 2)
    body = b"Photoshop 3.0\0" + resource
    content = encoded(PHOTO, "JPEG", quality=95)
    return content[:2] + b"\xff\xed" + struct.pack(">H", len(body) + 2) + body + content[2:]


def text_png(kind: bytes, *, picture: Image.Image = PHOTO, before: bytes = b"IDAT") -> bytes:
    def text(keyword: bytes, value: str) -> bytes:
        if kind == b"tEXt":
            return chunk(kind, keyword + b"\0" + value.encode("latin-1", "replace"))
        if kind == b"zTXt":
            return chunk(kind, keyword + b"\0\0" + zlib.compress(value.encode("latin-1", "replace")))
        return chunk(kind, keyword + b"\0\1\0\0\0" + zlib.compress(value.encode()))

    return with_chunks(encoded(picture, "PNG"), text(b"Author", AUTHOR), text(b"Copyright", NOTICE), before=before)


def xmp_gif(picture: Image.Image = PHOTO, comment: bytes = b"") -> bytes:
    """A GIF as other programs write XMP into it: whole, and a row of bytes behind it that ends it for all readers of blocks."""
    content = encoded(picture.convert("L").quantize(4), "GIF", comment=comment or b"a place that must go")
    place = 13 + (3 << (content[10] & 7) + 1)
    block = b"\x21\xff\x0bXMP DataXMP" + XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    return content[:place] + block + content[place:]


SOURCES = {
    "gif, XMP": xmp_gif,
    "jpeg, XMP": lambda: encoded(PHOTO, "JPEG", quality=95, xmp=XMP),
    "png, XMP": lambda: with_chunks(encoded(PHOTO, "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
    "webp, XMP": lambda: encoded(PHOTO, "WEBP", quality=95, xmp=XMP),
    "avif, XMP": lambda: encoded(PHOTO, "AVIF", quality=95, xmp=XMP),
    "heic, XMP": lambda: encoded(PHOTO, "HEIF", quality=95, xmp=XMP),
    "tiff, XMP": lambda: encoded(PHOTO, "TIFF", tiffinfo={700: XMP}),
    "small tiff, XMP": lambda: encoded(TINY, "TIFF", tiffinfo={700: XMP}, compression="tiff_adobe_deflate"),
    "jpeg, IPTC": iptc_jpeg,
    "png, iTXt": lambda: text_png(b"iTXt"),
    "png, iTXt behind the pixels": lambda: text_png(b"iTXt", before=b"IEND"),
    "small png, iTXt": lambda: text_png(b"iTXt", picture=TINY),
}


@pytest.mark.parametrize("word", ["auto", "web", "webp"])
@pytest.mark.parametrize("resize", [None, Resize(30, 30)])
@pytest.mark.parametrize("name", SOURCES)
def test_the_notice_is_kept_and_nothing_else(tmp_path: Path, name: str, resize: Resize | None, word: OutputFormat) -> None:
    """Its letters are those that stood there; the place is gone."""
    made = make(tmp_path, SOURCES[name](), resize=resize, output=OutputOrder(word))

    assert AUTHOR.encode() in made.content
    assert NOTICE.encode() in made.content
    assert b"must go" not in made.content


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_latin_letters_of_a_png_become_utf_8(tmp_path: Path, kind: bytes) -> None:
    """As the texts of a PNG are Latin-1, and what Exif holds is read as UTF-8."""
    made = make(tmp_path, text_png(kind))

    assert AUTHOR.encode() in made.content


def test_exif_goes_before_xmp(tmp_path: Path) -> None:
    """Of two authors Exif's is kept; a notice that only XMP has is added."""
    exif = PREFIX + exif_block(((ARTIST, b"Exif's author"),))
    made = make(tmp_path, encoded(PHOTO, "JPEG", quality=95, xmp=XMP, exif=exif), resize=Resize(50, 50))

    assert b"Exif's author" in made.content
    assert AUTHOR.encode() not in made.content
    assert NOTICE.encode() in made.content


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"", ()),
        (b"no xml at all", ()),
        (XMP[: XMP.index(b"<photoshop")], ((ARTIST, AUTHOR.encode()), (COPYRIGHT, NOTICE.encode()))),
        (XMP + b"\0" * 50, ((ARTIST, AUTHOR.encode()), (COPYRIGHT, NOTICE.encode()))),
        (b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/" t:Artist="A" t:Copyright="C"/>', ((ARTIST, b"A"), (COPYRIGHT, b"C"))),
        (b'<a xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>A</dc:creator></a>', ((ARTIST, b"A"),)),
        (
            b'<r xmlns:d="http://purl.org/dc/elements/1.1/"><d:creator><l>A</l><l>B</l><l>A</l></d:creator></r>',
            ((ARTIST, b"A; B"),),
        ),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a xmlns:d="http://purl.org/dc/elements/1.1/"><d:rights>&x;</d:rights></a>', ()),
    ],
)
def test_what_a_packet_says(packet: bytes, expected: object) -> None:
    """Damaged packets count as far as they go; entities are not expanded."""
    assert from_xmp(packet) == expected


@pytest.mark.parametrize("block", [b"", b"\x1c\x02", b"\x1c\x02\x74\xff\xff", b"8BIM\x04\x04\0\0\0\0\0\x05\x1c\x02\x74\0\0"])
def test_damaged_iptc_says_nothing(block: bytes) -> None:
    """And costs nothing."""
    assert from_iptc(block) == ()


def test_the_first_that_says_it_is_kept() -> None:
    """Tag by tag."""
    assert merged(((1, b"a"),), (), ((1, b"b"), (2, b"c"))) == ((1, b"a"), (2, b"c"))


def test_a_packet_of_megabytes_is_passed_over() -> None:
    """It is no notice."""
    assert from_xmp(XMP + b" " * (1 << 20)) == ()


def test_what_is_cropped_at_once_counts_for_nothing(tmp_path: Path) -> None:
    """A narrow picture that covers a box: the limit is about what comes out."""
    content = encoded(Image.new("L", (300, 1500), 90), "PNG")
    made = make(tmp_path, content, resize=Resize(600, 400, "fit"), limits=Limits(pixels=600_000, frames=1))

    assert Image.open(io.BytesIO(made.content)).size == (600, 400)


def test_a_gif_that_stays_as_it_is_loses_its_metadata(tmp_path: Path) -> None:
    """Its comment and XMP were stored with it. How often it repeats, and what each frame does, stay."""
    frames = [Image.new("L", (9, 9), grey) for grey in (3, 90, 200)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=3, duration=70)
    place = content.index(b"\x21\xff\x0bNETSCAPE2.0")
    private = b"\x21\xfe\x06secret\0\x21\xff\x0bXMP DataXMP" + XMP + b"\1" + bytes(range(255, -1, -1)) + b"\0"

    assert without_metadata("gif", content[:place] + private + content[place:] + b"behind") == content
    assert without_metadata("gif", content[:place] + content[place:]) == content
    assert NOTICE.encode() in make(tmp_path, content[:place] + private + content[place:]).content
