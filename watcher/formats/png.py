"""PNG and APNG (W3C PNG 5.2-5.3): wholeness, size and kinds that cannot be read. Pure."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import CHUNK, Cut, NoFormalEnd
from watcher.formats.exif import orientation, upright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.formats.bounded_reading import Bytes

_IEND: Final = b"\0\0\0\0IEND\xaeB`\x82"
_NO_IEND: Final = "the IEND chunk is missing"
_MAX_EXIF: Final = 1 << 20
_MOST_UNPACKED: Final = 1 << 32


def check(data: Bytes) -> None:
    """Raises Cut where there is no IEND; NoFormalEnd where all pixels are there all the same."""
    if data.some(data.size - len(_IEND), len(_IEND)) == _IEND:
        return
    for kind, _, _ in chunks(data):
        if kind == b"IEND":
            return
    raise (NoFormalEnd if _holds_all_pixels(data) else Cut)(_NO_IEND)


def chunks(data: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of the content of every chunk that is there whole, up to IEND."""
    position = 8
    while True:
        header = data.some(position, 8)
        length = int.from_bytes(header[:4], "big")
        if len(header) < 8 or position + 12 + length > data.size:
            return
        yield header[4:], position + 8, length
        if header[4:] == b"IEND":
            return
        position += 12 + length


def _holds_all_pixels(data: Bytes) -> bool:
    """Whether the packed pixels of every announced frame reach their own end."""
    frames, ended, unpacked = 0, 0, 0
    announced = 0
    stream = zlib.decompressobj()
    for kind, start, length in chunks(data):
        if kind == b"acTL":
            announced = data.number(start, 4, _NO_IEND, ">")
        elif kind == b"fcTL":
            frames, stream = frames + 1, zlib.decompressobj()
        elif kind in (b"IDAT", b"fdAT") and not stream.eof:
            skipped = 4 if kind == b"fdAT" else 0
            unpacked += _inflate(data, start + skipped, length - skipped, stream)
            ended += stream.eof
        if unpacked > _MOST_UNPACKED:
            return False
    return ended >= max(announced, 1) and ended >= frames


def _inflate(data: Bytes, start: int, length: int, stream: zlib._Decompress) -> int:
    """Feed so many bytes to `stream`, piece by piece; how many came out of it."""
    unpacked = 0
    try:
        for position in range(start, start + length, CHUNK):
            piece = data.exactly(position, min(CHUNK, start + length - position), _NO_IEND)
            while piece and not stream.eof:
                unpacked += len(stream.decompress(piece, CHUNK * 16))
                piece = stream.unconsumed_tail
    except zlib.error:
        return unpacked
    return unpacked


def unsupported(data: Bytes) -> str:
    """Says of a kind of PNG that nobody else reads which it is; empty for all others."""
    if data.some(12, 4) == b"CgBI":
        return "an Apple-only PNG out of an app bundle (CgBI): open it on a Mac and export an ordinary PNG"
    return ""


def size(data: Bytes) -> tuple[int, int]:
    """Width and height as they are looked at: by the orientation before the pixels, as browsers and libraries read it."""
    head = data.exactly(16, 8, "cut")
    turned = 1
    for kind, start, length in chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"eXIf":
            turned = orientation(data.some(start, min(length, _MAX_EXIF)))
    return upright(int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big"), turned)


@dataclass(frozen=True, slots=True)
class Colours:
    """What the chunks before the pixels say: `cicp` (primaries, transfer), that it is `srgb` or has a profile, gamma, primaries.

    `gamma` is the exponent that files are encoded with (0.45455); `chromaticities` are x, y of white, red, green, blue.
    """

    cicp: tuple[int, int] | None = None
    srgb: bool = False
    profile: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] = ()


def colours(data: Bytes) -> Colours:
    """What a file says of its colours in numbers."""
    found: dict[bytes, bytes] = {}
    for kind, start, length in chunks(data):
        if kind == b"IDAT":
            break
        found.setdefault(kind, data.some(start, min(length, 64)))
    cicp, gamma, primaries = found.get(b"cICP", b""), found.get(b"gAMA", b""), found.get(b"cHRM", b"")
    return Colours(
        (cicp[0], cicp[1]) if len(cicp) >= 4 else None,
        b"sRGB" in found,
        b"iCCP" in found,
        int.from_bytes(gamma, "big") / 100_000 or None if len(gamma) == 4 else None,
        tuple(each / 100_000 for each in struct.unpack(">8I", primaries)) if len(primaries) == 32 else (),
    )


def is_animated(data: Bytes) -> bool:
    """Whether more than one frame is announced before the pixels."""
    for kind, _, _ in chunks(data):
        if kind == b"acTL":
            return True
        if kind == b"IDAT":
            break
    return False
