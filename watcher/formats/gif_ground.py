"""A transparent ground for GIFs whose first frame does not cover their screen. Pure.

Browsers show the whole screen, transparent where no frame has drawn. libvips takes the extent of the frames for the screen where
that has a size that monitors once had, and does not know of the transparent rest. A first frame that covers all tells it both.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BITS: Final = 2
_CLEAR, _END, _FIRST = 4, 5, 6
_WIDEST: Final = 12
_LAST: Final = (1 << _WIDEST) - 1
_RUN: Final = _FIRST - 2
"""The code `n` stands for a run of `n - _RUN` pixels."""
_CONTROL: Final = b"\x21\xf9\x04\x05\0\0\0\0"
"""Leave the frame where it is; the number 0 is transparent."""
_PALETTE: Final = bytes(6)


def ground(width: int, height: int) -> bytes:
    """The blocks of a frame of so many transparent pixels."""
    packed = _packed(_codes(width * height))
    blocks = (packed[at : at + 255] for at in range(0, len(packed), 255))
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0x80) + _PALETTE
    return _CONTROL + descriptor + bytes([_BITS]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _codes(pixels: int) -> Iterator[tuple[int, int]]:
    """Codes and their widths for so many pixels of the number 0, each run one longer than the one before."""
    width = _BITS + 1
    while pixels:
        yield _CLEAR, width
        yield 0, _BITS + 1
        pixels -= 1
        following = _FIRST
        while pixels and following <= _LAST:
            run = min(pixels, following - _RUN)
            yield (run + _RUN if run > 1 else 0), max(_BITS + 1, following.bit_length())
            pixels -= run
            following += 1
        width = min(_WIDEST, max(_BITS + 1, following.bit_length()))
    yield _END, width


def _packed(codes: Iterator[tuple[int, int]]) -> bytes:
    out, waiting, count = bytearray(), 0, 0
    for code, width in codes:
        waiting |= code << count
        count += width
        while count >= 8:
            out.append(waiting & 0xFF)
            waiting >>= 8
            count -= 8
    return bytes(out) + bytes([waiting])
