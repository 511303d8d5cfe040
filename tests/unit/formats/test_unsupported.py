"""Kinds of pictures that cannot be done are named, with what to do instead."""

import gzip
import struct

import pytest

from tests.support.odd_files import ASCII, BYTE, LONG, SHORT, Page, cgbi_png, page, rgb_page, tiff
from tests.support.pictures import jpeg, photograph
from tests.unit.formats.test_containers import box, judged, reader
from watcher.formats.sniffing import sniff, unreadable_kind
from watcher.model import Format

SENSOR = page((64, 48), (16,), 32803, bytes(64 * 48 * 2), {254: (LONG, [0])})


def raw(make: bytes, *, tags: dict[int, tuple[int, list[int]]] | None = None, below: Page = SENSOR) -> bytes:
    thumbnail = rgb_page(photograph(32, 24), {254: (LONG, [1]), 271: (ASCII, make + b"\0"), **(tags or {})}, below=[below])
    return tiff(thumbnail)


RAWS = {
    "NEF": raw(b"NIKON CORPORATION"),
    "NEF, compressed": raw(b"NIKON", below=Page({**SENSOR.tags, 259: (SHORT, [34713]), 262: (SHORT, [1])}, SENSOR.strips)),
    "ARW": raw(b"SONY"),
    "DNG": raw(b"Cam", tags={50706: (BYTE, [1, 4, 0, 0])}),
    "PEF": tiff(
        page((64, 48), (16,), 32803, bytes(6144), {271: (ASCII, b"PENTAX Corporation\0"), 259: (SHORT, [65535])}), order=">"
    ),
    "SRW": raw(b"SAMSUNG"),
    "": raw(b"Nobody"),
    "CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(500),
    "CR3": box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(500),
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + bytes(500),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(500),
    "ORF": b"IIRO\x08\0\0\0" + bytes(500),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(500),
    "X3F": b"FOVb" + bytes(500),
    "IIQ": b"II*\0\x08\0\0\0IIII" + bytes(500),
}


@pytest.mark.parametrize("kind", RAWS)
def test_camera_raws_are_known_by_their_marks(kind: str) -> None:
    """Also where they wear TIFF's clothes: their thumbnail is never taken for the picture."""
    verdict = judged(RAWS[kind])

    assert verdict.format is None
    name = kind.partition(",")[0]
    assert verdict.unsupported.startswith(f"a camera raw ({name}): " if name else "a camera raw: ")
    assert "export a JPEG" in verdict.unsupported


OTHERS = {
    "Photoshop": b"8BPS\0\1" + bytes(500),
    "PSB": b"8BPS\0\2" + bytes(500),
    "GIMP": b"gimp xcf v011\0" + bytes(500),
    "JPEG XL": b"\xff\x0a" + bytes(500),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500),
    "OpenEXR": b"v/1\x01\2\0\0\0" + bytes(500),
    "Radiance": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n" + bytes(500),
    "QOI": b"qoif" + bytes(500),
    "cursor": b"\0\0\2\0\1\0" + bytes(500),
    "DICOM": bytes(128) + b"DICM" + bytes(500),
    "H.264": box(b"ftyp", b"mif1\0\0\0\0mif1avci")
    + box(
        b"meta",
        bytes(4) + box(b"pitm", bytes(4) + b"\0\1") + box(b"iinf", bytes(4) + b"\0\1" + box(b"infe", b"\2\0\0\0\0\1\0\0avc1\0")),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_kinds_are_named(kind: str) -> None:
    """They are pictures, so the words say which, and what to export."""
    verdict = judged(OTHERS[kind])

    assert verdict.format is None
    assert kind in verdict.unsupported
    assert ": " in verdict.unsupported


def frame(marker: int, precision: int) -> bytes:
    return b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">HBHHB", 11, precision, 8, 8, 1) + b"\1\x11\0" + b"\xff\xd9"


@pytest.mark.parametrize(
    ("content", "image_format", "words"),
    [
        (cgbi_png(), Format.PNG, "CgBI"),
        (frame(0xC1, 12), Format.JPEG, "12 bits"),
        (frame(0xC3, 8), Format.JPEG, "lossless JPEG"),
        (frame(0xF7, 8), Format.JPEG, "JPEG-LS"),
        (frame(0xC5, 8), Format.JPEG, "hierarchical"),
        (jpeg(), Format.JPEG, ""),
        (b"\xff\xd8\xff", Format.JPEG, ""),
    ],
)
def test_kinds_of_an_accepted_format_are_named_too(content: bytes, image_format: Format, words: str) -> None:
    """They go to the API, which may know them; the engine refuses them with these words."""
    found = unreadable_kind(reader(content), len(content), image_format)

    assert words in found
    assert bool(found) == bool(words)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="20" height="20"/></svg>'
DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'
PROLOGUES = {
    "stylesheet": DECLARATION + b'<?xml-stylesheet type="text/css" href="a.css"?>\n' + SVG,
    "a licence of 5 KB": DECLARATION + b"<!-- " + b"licence " * 640 + b"-->\n" + SVG,
    "a licence of 700 KB": DECLARATION + b"<!-- " + b"licence " * 90_000 + b"-->\n" + SVG,
    "entity with a bracket": DECLARATION
    + b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd" [<!ENTITY a "a]b">]>'
    + SVG,
    "name space as an entity": DECLARATION
    + b'<!DOCTYPE svg [<!ENTITY ns "http://www.w3.org/2000/svg">]>\n<svg xmlns="&ns;" width="40" height="20"></svg>',
    "comment in the doctype": DECLARATION + b'<!DOCTYPE svg [ <!-- a > b ] --> <!ENTITY n "x"> ]>\n' + SVG,
    "everything": DECLARATION + b"<?a b?><!DOCTYPE svg><!-- x -->\n<?c d?>" + SVG,
    "gzip": gzip.compress(DECLARATION + SVG, mtime=0),
    "utf-16": ("\ufeff" + (DECLARATION + SVG).decode().replace("utf-8", "utf-16")).encode("utf-16-le"),
    "utf-16 big-endian": ("\ufeff" + SVG.decode()).encode("utf-16-be"),
    "comment behind the end": SVG + b"\n<!-- the end -->\n",
}


@pytest.mark.parametrize("name", PROLOGUES)
def test_an_svg_is_known_by_its_root_whatever_stands_before_it(name: str) -> None:
    """Processing instructions, document types, comments of any length, packed or in UTF-16: it is whole, and cut it is not."""
    content = PROLOGUES[name]

    assert judged(content).format is Format.SVG
    assert judged(content).whole
    assert not judged(content[: len(content) * 7 // 10]).whole


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"text", mtime=0), gzip.compress(b"<html/>", mtime=0), b"\x1f\x8b\x08\0junk", b"<?xml version='1.0'?><x/>"],
)
def test_other_markup_and_packed_files_are_no_pictures(content: bytes) -> None:
    """Only the root element makes an SVG."""
    assert sniff(reader(content), len(content)).format is None
    assert judged(content).unsupported == ""
