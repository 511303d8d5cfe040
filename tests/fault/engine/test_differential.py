"""Every picture of a test collection agrees with an independent decoder, or is refused with a reason that is expected here.

One in twelve of Pillow's own collection with all other tests; all of it, and those of the other packages that are named in
tests/support/corpus.py, by `make corpus`. WATCHER_CORPUS names a folder of more. sharp's npm package and resvg's wheel hold no
pictures: libvips' collection (sharp is built on it) and the drawings of librsvg and Qt stand for theirs, and resvg itself is the
other renderer. imageio's sources hold one picture.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from tests.support.corpus import DEBIAN, DEBIAN_BINARY, PYTHON, corpus, debian_corpus, python_corpus
from tests.support.engine_images import make
from tests.support.reference import coarse_distance, looked_at
from watcher.engine.refusal import Refusal
from watcher.engine.work import Limits, OutputOrder

TOLERANCE: Final = 4.0
"""Of 255, on the mean of pictures a quarter as large: what every codec keeps, however it treats grain."""
EVERY: Final = 12
MANY: Final = 200_000
"""Bytes of a HEIC."""
LIMITS: Final = Limits(150_000_000, 1_000)
_USUAL: Final = "jpg jpeg jfif mpo png apng webp avif avifs heic heif hif gif tif tiff bmp dib svg svgz ico cur"
_RAWS: Final = "cr2 cr3 crw nef dng arw orf rw2 raf srw pef x3f mrw 3fr iiq"
PICTURES: Final = frozenset(f".{each}" for each in _USUAL.split())
KINDS: Final = {
    **{f".{each}": "unsupported: a camera raw" for each in _RAWS.split()},
    ".psd": "unsupported: a Photoshop file",
    ".jp2": "unsupported: a JPEG 2000",
    ".jxl": "unsupported: a JPEG XL",
    ".exr": "unsupported: an OpenEXR picture",
    ".cur": "unsupported: a Windows cursor",
    ".dib": "no image of an accepted format",
}
"""Pictures of these kinds are always refused, with these words."""
PASSED_OVER: Final = {
    "*qtbase*/doc/*": "hundreds of screenshots",
    "*qtbase*/examples/*": "the same",
    "*qtbase*/src/*": "the same",
    "*/345-too-large-size.svg": "resvg takes 40 GB of memory for it",
    "*/515-pattern-billion-laughs.svg": "resvg takes hours for it",
}
REFUSED: Final[dict[str, str]] = {
    "*/multipage-mmap.tiff": "pages of different sizes",
    "*/multipage.tiff": "pages of different sizes",
    "*/multipage_out_of_order.tiff": "pages of different sizes",
    "*[Ll]ab*.tif": "Lab colours",
    "*old-style-jpeg*": "old-style JPEG",
    "*ojpeg*": "old-style JPEG",
    "*JPG_old.tif": "old-style JPEG",
    "*lzma*": "LZMA compression",
    "*tiled_planar*": "tiled colour planes",
    "*12bit*": "12 bits a sample",
    "*10ct_32bit*": "floating point",
    "*bit.s.tif": "signed or floating point",
    "*16_bit_binary_pgm.tiff": "signed or floating point",
    "*no_rows_per_strip.tif": "floating point",
    "*ome.tif": "signed or floating point",
    "*wrong_bits_per_sample_2*": "1 and 8 bits a sample",
    "*crashers/*": "corrupt",
    "*/heic.heic": "2 pictures",
    "*/example.heic": "2 pictures",
    "*/invalid_id.heic": "2 pictures",
    "*/zPug_3.heic": "3 pictures",
    "*/bird_burst.heic": "4 pictures",
    "*/stereo_*.heic": "2 pictures",
    "*/spatial_photo.heic": "2 pictures",
    "*/empty_icc.heic": "2 pictures",
    "*/truncated.heic": "2 pictures",
    "*/200MP.heic": "150000000 are allowed",
    "*/earth.gif": "corrupt",  # cut within its last block
    "*/label.heic": "corrupt",  # its header says 0 x 0
    "*/463-characters-outside-first-element.svg": "corrupt",
    "*/xinclude-text-xml.svg": "corrupt",  # by its entities
    "*/377-xinclude-invalid-xml.svg": "corrupt",
    "*/empty.svg": "says no size and draws nothing",
    "*/no-size.svg": "says no size and draws nothing",
    "*/800-font-inherit.svg": "says no size and draws nothing",
    "*/marker-cycles.svg": "says no size and draws nothing",
    "*/render-crash/*.svg": "says no size and draws nothing",
}
"""Pictures that others read, and why they are refused all the same."""
UNLIKE: Final[dict[str, str]] = {
    "*parliament_?.png": "Pillow reads no Exif before the pixels of these",
    "*cmyk*": "Pillow converts CMYK without a profile by a formula",
    "*CMYK*": "the same",
    "*linear*.png": "Pillow reads no gAMA",
    "*-1.8*.png": "Pillow reads no gAMA",
    "*pngsuite/*": "Pillow reads no gAMA",
    "*/qimagereader/images/*16.png": "Pillow reads no gAMA",
    "*pil123rgba.png": "Pillow reads no gAMA",
    "*/valid.1.png": "Pillow reads no gAMA",
    "*/svg1.1/*/*.png": "Pillow reads no gAMA",
    "*/lancelot/images/sign.png": "Pillow reads no gAMA",
    "*/32bit_grayscale.png": "Pillow reads no gAMA",
    "*gray-[24]-*tRNS.png": "Pillow compares transparency of few bits with pixels of eight",
    "*i_trns.png": "Pillow takes no transparency in 16 bits of grey",
    "*tbwn0g16.png": "the same",
    "*app13.jpg": "four pixels, coded anew",
    "*pil_sample_rgb.jpg": "text in red on red, coded with half the colours",
    "*app14.jpg": "the same",
    "*/valid/WORLD*.ico": "Pillow takes the picture of 16 colours, browsers that of 256",
    "*/images/sponsor.jpg": "rows that alternate, coded with half the colours",
    "*/resources/tree.jpg": "leaves in saturated yellow, coded with half the colours",
    "*/677-partial-pixel.svg": "half a pixel",
    "*/others/quadratic_path.svg": "sizes rounded in two ways",
    "*/input-tablet-symbolic.svg": "the same",
    "*/mixed-fill-rule.svg": "librsvg fills all shapes of a clip by one rule",
    "*/qsvgplugin/*.svg": "a drawing that says no size",
    "*/svg/qsvgrenderer/data/tiger.svg": "the same",
    "*/mask-cycles.svg": "a drawing that says no size",
    "*/343-feComponentTransfer-child-in-error.svg": "the same",
    "*/style-with-xml-comments.svg": "resvg reads no styles in comments",
    "*/structural-pseudo-classes.svg": "resvg knows no such classes",
}
"""Pictures that come out unlike what others show, and why; Chromium agrees with the engine."""
BY_SIZE: Final = re.compile(rb"<(\w+:)?(text|filter|image|switch|style|foreignObject|marker)\b")
"""What renderers draw each in its own way: of such drawings only the size is compared."""
BROKEN: Final = re.compile(
    r"the image is corrupt or cut off \(\w+\)|the source is no image of an accepted format|the compressed SVG is damaged"
    r"|the image has \d+ (pixels|frames); \d+ are allowed|the image has more pixels than are allowed|unsupported: an? .+: .+"
)
"""What may be said of a file that no other decoder reads either."""


def expected(table: dict[str, str], path: Path) -> str | None:
    return next((words for pattern, words in table.items() if fnmatch(str(path), pattern)), None)


def trouble(folder: Path, path: Path) -> str:
    """What is wrong with how the engine takes a picture; nothing where all is well."""
    content = path.read_bytes()
    reference = looked_at(content)
    try:
        made = make(folder, content, "medium", limits=LIMITS, output=_output(path, content))
    except Refusal as refused:
        return _refusal_trouble(path, refused.message, readable=reference is not None)
    finally:
        for source in folder.glob("source-*"):
            source.unlink()
    if made.content == content:
        return ""  # as it came, and looked at alike
    output = looked_at(made.content)
    if output is None:
        return "what was stored cannot be read" if reference is not None else ""
    if reference is None or expected(UNLIKE, path):
        return ""
    if path.suffix.lower() in (".svg", ".svgz"):
        return _drawing_trouble(content, reference, output)
    found = coarse_distance(reference, output)
    return f"differs by {found:.1f}" if found > TOLERANCE else ""


def _output(path: Path, content: bytes) -> OutputOrder:
    """HEICs of many pixels are stored as PNG: to encode HEVC takes minutes, and what is in question is how they are read."""
    return OutputOrder("png" if path.suffix.lower() in (".heic", ".hif", ".heif") and len(content) > MANY else "auto")


def _drawing_trouble(content: bytes, reference: Image.Image, output: Image.Image) -> str:
    (width, height), (other_width, other_height) = reference.size, output.size
    if abs(width - other_width) > 1 or abs(height - other_height) > 1:
        return f"{output.size}, not {reference.size}"
    if content.startswith(b"\x1f\x8b") or BY_SIZE.search(content.replace(b"\0", b"")):
        return ""
    common = (0, 0, min(width, other_width), min(height, other_height))
    found = coarse_distance(reference.crop(common), output.crop(common))
    return f"differs by {found:.1f}" if found > TOLERANCE else ""


def _refusal_trouble(path: Path, message: str, *, readable: bool) -> str:
    kind = KINDS.get(path.suffix.lower())
    words = expected(REFUSED, path) or kind
    if readable and (words is None or words not in message):
        return f"refused: {message}"
    return "" if BROKEN.match(message) else f"no reason is given: {message}"


def troubles(folder: Path, paths: list[Path]) -> dict[str, str]:
    found = {str(path): trouble(folder, path) for path in paths}
    return {path: words for path, words in found.items() if words}


def pictures(paths: tuple[Path, ...]) -> list[Path]:
    return [path for path in paths if path.suffix.lower() in {*PICTURES, *KINDS} and not expected(PASSED_OVER, path)]


@pytest.mark.timeout(300)
def test_some_of_pillows_pictures_agree(tmp_path: Path) -> None:
    """None is refused that can be read, none comes out otherwise, none ends the process."""
    some = pictures(corpus())[::EVERY]

    assert len(some) > 40
    assert troubles(tmp_path, some) == {}


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(PYTHON))
def test_the_pictures_of_python_packages_agree(tmp_path: Path, name: str) -> None:
    """All that Pillow, imageio and others test themselves with."""
    assert troubles(tmp_path, pictures(corpus() if name == "pillow" else python_corpus(name))) == {}


@pytest.mark.soak
@pytest.mark.parametrize("package", [*DEBIAN, *DEBIAN_BINARY])
def test_the_pictures_of_libraries_agree(tmp_path: Path, package: str) -> None:
    """All that libvips, libtiff, librsvg and others test themselves with."""
    found = pictures(debian_corpus(package))

    assert found
    assert troubles(tmp_path, found) == {}


@pytest.mark.soak
@pytest.mark.skipif("WATCHER_CORPUS" not in os.environ, reason="WATCHER_CORPUS names no folder")
def test_the_pictures_of_a_folder_agree(tmp_path: Path) -> None:
    """Anybody's own collection."""
    folder = Path(os.environ["WATCHER_CORPUS"])

    assert troubles(tmp_path, pictures(tuple(sorted(path for path in folder.rglob("*") if path.is_file())))) == {}
