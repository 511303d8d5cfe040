"""Pictures that lack only the formal end of their file come out as if they had it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageSequence, ImageStat

from tests.support.engine_images import Made, make, refusal
from tests.support.odd_files import rgb_page, tiff
from tests.support.pictures import encoded, jpeg, photograph
from tests.unit.formats.test_formal_end import FORMAL_END_ONLY, apng, gif, greyscale_jpeg
from watcher.engine.geometry import Resize
from watcher.model import Format

WHOLE = {
    "apng without IEND": apng,
    "gif without trailer": gif,
    "gif with junk for a trailer": gif,
    "grey jpeg without EOI": greyscale_jpeg,
    "jpeg with restarts without EOI": lambda: jpeg(restart_marker_rows=1),
    Format.JPEG: jpeg,
    Format.PNG: lambda: encoded(photograph(), "PNG"),
    Format.TIFF: lambda: tiff(rgb_page(photograph())),
}


def frames(made: Made) -> list[Image.Image]:
    return [frame.convert("RGB") for frame in ImageSequence.Iterator(made.picture)]


@pytest.mark.parametrize("resize", [None, Resize(40, 40)])
@pytest.mark.parametrize("name", FORMAL_END_ONLY)
def test_it_comes_out_as_with_its_end(tmp_path: Path, name: str, resize: Resize | None) -> None:
    """Every frame and every pixel; of what stood in the end's place nothing is left."""
    image_format, content = FORMAL_END_ONLY[name]
    whole = WHOLE.get(name) or WHOLE[image_format]
    if name == "apng without IEND" and resize is not None:
        assert "cannot be resized" in refusal(tmp_path, content(), resize=resize)
        return

    came, wanted = make(tmp_path, content(), resize=resize), make(tmp_path, whole(), resize=resize)

    assert len(frames(came)) == len(frames(wanted))
    for one, other in zip(frames(came), frames(wanted), strict=True):
        assert max(ImageStat.Stat(ImageChops.difference(one, other)).mean) < 1
    assert b"junk" not in came.content
    assert b"Panorama" not in came.content


def test_a_small_one_keeps_its_own_pixels_and_loses_what_stood_behind_them(tmp_path: Path) -> None:
    """Where a compressed copy would be no smaller the input's pixels stay, and with them no notes of a phone."""
    small = jpeg(quality=5, optimize=True)

    made = make(tmp_path, small[:-2] + b"\0\0\x01\x0aPanorama_Shot_Info" + bytes(5000) + b"SEFT")

    assert b"Panorama" not in made.content
    assert len(made.content) <= len(small)
    assert made.picture.tobytes() == Image.open(io.BytesIO(small)).tobytes()


@pytest.mark.parametrize("missing", [1, 2])
def test_a_webp_that_counts_a_byte_too_many(tmp_path: Path, missing: int) -> None:
    """The last chunk is there; the RIFF size says more."""
    content = encoded(photograph(), "WEBP", quality=80)
    longer = content[:4] + (len(content) - 8 + missing * 2).to_bytes(4, "little") + content[8:]

    assert make(tmp_path, longer).picture.size == photograph().size
