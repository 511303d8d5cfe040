"""Names of outputs, and metadata taken out of whole files."""

import pytest

from watcher.engine.formats import FORMATS
from watcher.engine.lossless import DamagedContainer, without_metadata
from watcher.engine.processing import output_name


@pytest.mark.parametrize(
    ("name", "format_name", "expected"),
    [
        ("image.jpg", "jpeg", "image.jpeg"),
        ("photo.v2", "png", "photo.v2.png"),
        ("drawing.SVG", "png", "drawing.png"),
        ("image", "webp", "image.webp"),
        (".jpg", "jpeg", ".jpg.jpeg"),
    ],
)
def test_outputs_have_the_canonical_extension(name: str, format_name: str, expected: str) -> None:
    """The vendor's sample turns image.jpg into image.jpeg; a part of the name that is no extension stays."""
    assert output_name(name, format_name) == expected


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


SCAN = segment(0xDA, b"\1\1\0\0\x3f\0") + b"data\xff\0more\xff\xd0rest"


def test_a_jpeg_keeps_its_picture_and_profile_only() -> None:
    """Exif, comments and what lies behind the end go; JFIF, profile, Adobe's colour marker, tables and scans stay."""
    kept = [
        segment(0xE0, b"JFIF\0rest"),
        segment(0xE2, b"ICC_PROFILE\0profile"),
        segment(0xEE, b"Adobe\0"),
        segment(0xDB, b"table"),
        SCAN,
    ]
    dropped = [segment(0xE1, b"Exif\0\0GPS"), segment(0xE2, b"MPF\0"), segment(0xED, b"Photoshop"), segment(0xFE, b"comment")]
    content = b"\xff\xd8" + kept[0] + dropped[0] + dropped[1] + kept[1] + kept[2] + dropped[2] + kept[3] + dropped[3] + kept[4]
    assert without_metadata("jpeg", content + b"\xff\xd9tail") == b"\xff\xd8" + b"".join(kept) + b"\xff\xd9"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("jpeg", b"\xff\xd8" + SCAN),
        ("jpeg", b"\xff\xd8\xff\xe1\0\x01"),
        ("jpeg", b"\xff\xd8xx"),
        ("png", b"\x89PNG\r\n\x1a\n" + b"\0\0\xff\xffIDAT"),
        ("webp", b"RIFF\xff\xff\0\0WEBPVP8 \xff\0\0\0"),
    ],
)
def test_damaged_containers_are_noticed(name: str, content: bytes) -> None:
    """A container that is cut or wrong is never passed on as whole."""
    with pytest.raises(DamagedContainer):
        without_metadata(name, content)


def test_formats_that_cannot_be_stripped_say_so() -> None:
    """None for the others: they must be encoded anew to lose their metadata. (This is none of their containers.)"""
    assert {name for name in FORMATS if without_metadata_or_none(name)} == {"jpeg", "png", "webp", "gif", "heic", "avif"}


def without_metadata_or_none(name: str) -> bool:
    try:
        return without_metadata(name, b"RIFF\x04\0\0\0WEBP") is not None
    except DamagedContainer:
        return True
