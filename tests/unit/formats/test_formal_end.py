"""Files that lack only their formal end, or whose end is followed by something else."""

import struct

import pytest
from PIL import Image

from tests.support.odd_files import UNDEFINED, rgb_page, tiff
from tests.support.pictures import encoded, jpeg, photograph
from tests.unit.formats.test_containers import judged
from watcher.formats.containers import ContainerFacts
from watcher.model import Format

FRAMES = [photograph(80, 60).rotate(angle) for angle in (0, 90, 180)]
ANIMATED = {"save_all": True, "append_images": FRAMES[1:]}
PRIVATE = struct.pack("<HHI", 65_000, UNDEFINED, 8)


def gif() -> bytes:
    return encoded(FRAMES[0].convert("P"), "GIF", **ANIMATED)


def apng() -> bytes:
    return encoded(FRAMES[0], "PNG", **ANIMATED)


def greyscale_jpeg() -> bytes:
    return encoded(photograph(83, 61).convert("L"), "JPEG")


FORMAL_END_ONLY = {
    "gif without trailer": (Format.GIF, lambda: gif()[:-1]),
    "gif with junk for a trailer": (Format.GIF, lambda: gif()[:-1] + b"\xff\xfe\x01junk"),
    "png without IEND": (Format.PNG, lambda: encoded(photograph(), "PNG")[:-12]),
    "png with half an IEND": (Format.PNG, lambda: encoded(photograph(), "PNG")[:-5]),
    "apng without IEND": (Format.PNG, lambda: apng()[:-12]),
    "jpeg without EOI": (Format.JPEG, lambda: jpeg()[:-2]),
    "grey jpeg without EOI": (Format.JPEG, lambda: greyscale_jpeg()[:-2]),
    "jpeg with restarts without EOI": (Format.JPEG, lambda: jpeg(restart_marker_rows=1)[:-2]),
    "jpeg with half an EOI": (Format.JPEG, lambda: jpeg()[:-1]),
    "jpeg, then notes of a phone": (Format.JPEG, lambda: jpeg()[:-2] + b"\0\0\x01\x0aPanorama_Shot_Info" + bytes(5000) + b"SEFT"),
    "tiff without the position of a next page": (Format.TIFF, lambda: tiff(rgb_page(photograph()))[:-4]),
    "tiff with a private value that is not there": (
        Format.TIFF,
        lambda: tiff(rgb_page(photograph(), {65_000: (UNDEFINED, bytes(8))})).replace(
            PRIVATE, struct.pack("<HHI", 65_000, UNDEFINED, 900_000)
        ),
    ),
    "tiff that counts too many bytes": (Format.TIFF, lambda: tiff(rgb_page(photograph(), {279: (4, [320 * 200 * 3 + 4096])}))),
}


@pytest.mark.parametrize("name", FORMAL_END_ONLY)
def test_a_picture_that_lacks_only_its_end_is_told_from_one_that_is_cut(name: str) -> None:
    """Such a file is not whole, and yet every pixel is there."""
    expected, content = FORMAL_END_ONLY[name]
    verdict = judged(content())

    assert (verdict.format, verdict.whole, verdict.formal) == (expected, False, True)


CUT = {
    "jpeg": (jpeg, range(700, len(jpeg()) - 8, 997)),
    "grey jpeg": (greyscale_jpeg, range(400, len(greyscale_jpeg()) - 8, 97)),
    "jpeg with restarts": (lambda: jpeg(restart_marker_rows=1), range(700, len(jpeg()) - 80, 997)),
    "progressive jpeg": (lambda: jpeg(progressive=True), range(700, len(jpeg(progressive=True)), 997)),
    "png": (lambda: encoded(photograph(), "PNG"), range(100, len(encoded(photograph(), "PNG")) - 20, 997)),
    "apng": (apng, range(100, len(apng()) - 20, 487)),
    "tiff": (lambda: tiff(rgb_page(photograph()), rgb_page(photograph())), (9, 90_000, 192_150, 300_000)),
    "heic": (lambda: encoded_heif("HEIF"), (200, 600, 900)),
    "avif": (lambda: encoded(photograph(), "AVIF"), (200, 300, 1000)),
}


def encoded_heif(format_name: str) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encoded(photograph(), format_name)


@pytest.mark.parametrize("name", CUT)
def test_a_picture_that_lacks_pixels_is_cut(name: str) -> None:
    """No cut through the pixels passes for a missing formality."""
    make, cuts = CUT[name]
    content = make()

    assert [cut for cut in cuts if judged(content[:cut]).whole or judged(content[:cut]).formal] == []


def test_a_gif_that_announces_another_frame_is_cut() -> None:
    """Behind a graphic control block comes a picture; without it something was lost."""
    content = gif()
    last = content.rindex(b"\x21\xf9\x04")

    assert judged(content[: last + 8]) == ContainerFacts(Format.GIF, "the trailer is missing")


TAILS = {
    "newline": b"\n",
    "zeros": bytes(5),
    "many zeros": bytes(200),
    "the rest of an older XMP": b'/>\n</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>',
    "notes of a phone": b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1600000000000SEFH" + bytes(20) + b"SEFT",
    "a film": struct.pack(">I", 508) + b"mpvd" + bytes(500),
    "a film that is cut": struct.pack(">I", 5008) + b"mpvd" + bytes(500),
}


@pytest.mark.parametrize("format_name", ["HEIF", "AVIF"])
@pytest.mark.parametrize("tail", TAILS)
def test_bytes_behind_the_last_box_do_no_harm(format_name: str, tail: str) -> None:
    """What counts is whether the items' extents are there, not what phones and editors put behind them."""
    assert judged(encoded_heif(format_name) + TAILS[tail]).whole


def test_a_webp_may_lack_its_padding() -> None:
    """The last byte of an odd chunk is padding, which some writers leave out."""
    sizes = (each for each in range(40, 90) if encoded(Image.new("RGB", (each, 9), (each, 1, 2)), "WEBP")[-1] == 0)
    content = encoded(Image.new("RGB", (next(sizes), 9), (200, 1, 2)), "WEBP")
    odd = content if int.from_bytes(content[16:20], "little") % 2 else None

    assert odd is None or judged(odd[:-1]).whole
    assert judged(content[:-9]).missing != ""
