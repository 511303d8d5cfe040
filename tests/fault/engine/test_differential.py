"""Every picture of a test collection agrees with an independent decoder, or is refused with a reason that is expected here.

One in twelve of Pillow's own collection with all other tests; all of it, and those of libvips, libtiff, libpng and giflib where
Debian's sources can be had, by `make corpus`. WATCHER_CORPUS names a folder of more.
"""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from tests.support.corpus import corpus, debian_corpus
from tests.support.engine_images import make
from tests.support.reference import distance, looked_at
from watcher.engine.refusal import Refusal
from watcher.engine.work import Limits

TOLERANCE: Final = 9.0
EVERY: Final = 12
LIMITS: Final = Limits(150_000_000, 1_000)
PICTURES: Final = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".avif",
        ".heic",
        ".heif",
        ".gif",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".svg",
        ".svgz",
        ".ico",
        ".cur",
    ]
)
REFUSED: Final[dict[str, str]] = {
    "*multipage*.tiff": "pages of different sizes",
    "*lab*.tif": "Lab colours",
    "*hopper.Lab.tif": "Lab colours",
    "*old-style-jpeg*": "old-style JPEG",
    "*ojpeg*": "old-style JPEG",
    "*lzma*": "LZMA compression",
    "*tiled_planar*": "tiled colour planes",
    "*12bit*": "12 bits a sample",
    "*10ct_32bit*": "floating point",
    "*bit.s.tif": "signed or floating point",
    "*16_bit_binary_pgm.tiff": "signed or floating point",
    "*no_rows_per_strip.tif": "floating point",
    "*ome.tif": "signed or floating point",
    "*wrong_bits_per_sample_2*": "1 and 8 bits a sample",
    "*.cur": "cursor",
    "*.dib": "no image of an accepted format",
    "*crashers/*": "corrupt",
    "*example.heic": "2 pictures",
}
"""Pictures that Pillow reads, and why they are refused all the same."""
UNLIKE: Final[dict[str, str]] = {
    "*orientation*.png": "Pillow turns by XMP and by ImageMagick's text, browsers do not",
    "*cmyk*": "Pillow converts CMYK without a profile by a formula",
    "*linear*.png": "Pillow reads no gAMA",
    "*-1.8*.png": "Pillow reads no gAMA",
    "*pngsuite/*": "Pillow reads no gAMA",
    "*pil123rgba.png": "Pillow reads no gAMA",
    "*gray-[24]-*tRNS.png": "Pillow compares transparency of few bits with pixels of eight",
    "*pngtest.png": "Pillow turns by Exif behind the pixels",
    "*i_trns.png": "Pillow takes no transparency in 16 bits of grey",
    "*app13.jpg": "four pixels, coded anew",
    "*pil_sample_rgb.jpg": "text in red on red, coded with half the colours",
    "*app14.jpg": "the same",
}
"""Pictures that come out unlike what Pillow shows, and why; Chromium agrees with the engine."""


def expected(table: dict[str, str], path: Path) -> str | None:
    return next((words for pattern, words in table.items() if fnmatch(str(path), pattern)), None)


def trouble(folder: Path, path: Path) -> str:
    """What is wrong with how the engine takes a picture; nothing where all is well."""
    content = path.read_bytes()
    reference = looked_at(content)
    try:
        made = make(folder, content, "medium", limits=LIMITS)
    except Refusal as refused:
        return _refusal_trouble(path, refused.message, readable=reference is not None)
    finally:
        for source in folder.glob("source-*"):
            source.unlink()
    output = looked_at(made.content)
    if output is None:
        readable = reference is not None and made.outcome.output_format != "heic"
        return "what was stored cannot be read" if readable else ""
    if reference is None or expected(UNLIKE, path):
        return ""
    found = distance(reference, output)
    return f"differs by {found:.1f}" if found > TOLERANCE else ""


def _refusal_trouble(path: Path, message: str, *, readable: bool) -> str:
    words = expected(REFUSED, path)
    if readable and (words is None or words not in message):
        return f"refused: {message}"
    return f"no reason is given: {message}" if "fault of compressor-watcher" in message or not message else ""


def troubles(folder: Path, paths: list[Path]) -> dict[str, str]:
    found = {str(path): trouble(folder, path) for path in paths}
    return {path: words for path, words in found.items() if words}


def pictures(paths: tuple[Path, ...]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in PICTURES]


@pytest.mark.timeout(300)
def test_some_of_pillows_pictures_agree(tmp_path: Path) -> None:
    """None is refused that can be read, none comes out otherwise, none ends the process."""
    some = pictures(corpus())[::EVERY]

    assert len(some) > 40
    assert troubles(tmp_path, some) == {}


@pytest.mark.soak
def test_all_of_pillows_pictures_agree(tmp_path: Path) -> None:
    """The whole collection."""
    assert troubles(tmp_path, pictures(corpus())) == {}


@pytest.mark.soak
@pytest.mark.parametrize("package", ["vips", "tiff", "libpng1.6", "giflib"])
def test_the_pictures_of_libraries_agree(tmp_path: Path, package: str) -> None:
    """Those that the libraries test themselves with."""
    assert troubles(tmp_path, pictures(debian_corpus(package))) == {}


@pytest.mark.soak
@pytest.mark.skipif("WATCHER_CORPUS" not in os.environ, reason="WATCHER_CORPUS names no folder")
def test_the_pictures_of_a_folder_agree(tmp_path: Path) -> None:
    """Anybody's own collection."""
    folder = Path(os.environ["WATCHER_CORPUS"])

    assert troubles(tmp_path, pictures(tuple(sorted(path for path in folder.rglob("*") if path.is_file())))) == {}
