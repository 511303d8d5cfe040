"""Counts the coded blocks of a baseline JPEG scan, to tell a picture without end marker from one that is cut. Pure.

Coefficients are stepped over, not decoded: a Huffman code says how many bits follow it (ITU-T T.81 annex F.2.2).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_END: Final = re.compile(rb"\xff(?![\x00\xd0-\xd7])")
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_STUFFED: Final = b"\xff\0"
_REFILL: Final = 64
_MOST_BLOCKS: Final = 4_000_000
"""A baseline picture of some 170 megapixels; more would keep us busy for minutes."""

Table = list[int]
"""For every 16 bits that may lie ahead: length of the code times 256, plus its symbol; 0 for no code."""


class _Exhausted(Exception):
    """The coded data end, or hold no valid code, before all blocks were seen."""


@dataclass(frozen=True, slots=True)
class _Component:
    identity: int
    across: int
    down: int


def end_of_blocks(frame: bytes, tables: Sequence[bytes], scan: bytes, restart: int, coded: bytes) -> int | None:
    """Where in `coded`, what follows the scan's header, the last block ends that the frame's header announces.

    None where not all are there. `tables` are the contents of DHT segments, `restart` is the interval in MCUs (0: none).
    """
    try:
        codes = _codes(tables)
        height, width, components = _frame(frame)
        chosen = [(components[identity], codes[which >> 4], codes[16 + (which & 15)]) for identity, which in _pairs(scan)]
        if len(chosen) != len(components):
            return None
        blocks = [(direct, alternating) for part, direct, alternating in chosen for _ in range(_blocks(part, len(chosen)))]
        count = _units(width, height, [part for part, _, _ in chosen])
        if count * len(blocks) > _MOST_BLOCKS:
            return None
        return _step_through(coded, blocks, count, restart)
    except (_Exhausted, KeyError, IndexError, struct.error):
        return None


def _frame(frame: bytes) -> tuple[int, int, dict[int, _Component]]:
    height, width, count = struct.unpack_from(">HHB", frame, 1)
    parts = (frame[place : place + 3] for place in range(6, 6 + 3 * count, 3))
    found = {part[0]: _Component(part[0], part[1] >> 4, part[1] & 15) for part in parts}
    if not (height and width and found and all(each.across and each.down for each in found.values())):
        raise _Exhausted
    return height, width, found


def _pairs(scan: bytes) -> list[tuple[int, int]]:
    return [(scan[place], scan[place + 1]) for place in range(1, 1 + 2 * scan[0], 2)]


def _blocks(part: _Component, components: int) -> int:
    return part.across * part.down if components > 1 else 1


def _units(width: int, height: int, parts: Sequence[_Component]) -> int:
    """MCUs of the scan; one component alone is not interleaved, so its unit is one block."""
    across = 8 * (max(part.across for part in parts) if len(parts) > 1 else 1)
    down = 8 * (max(part.down for part in parts) if len(parts) > 1 else 1)
    return -(-width // across) * -(-height // down)


def _codes(segments: Sequence[bytes]) -> Mapping[int, Table]:
    """The tables by their number, AC tables from 16 on."""
    found: dict[int, Table] = {}
    for segment in segments:
        place = 0
        while place + 17 <= len(segment):
            lengths = segment[place + 1 : place + 17]
            symbols = segment[place + 17 : place + 17 + sum(lengths)]
            found[segment[place] & 0x1F] = _table(lengths, symbols)
            place += 17 + len(symbols)
    return found


def _table(lengths: bytes, symbols: bytes) -> Table:
    table = [0] * 65_536
    code, number = 0, 0
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            first = code << (16 - length)
            table[first : first + (1 << (16 - length))] = [length << 8 | symbols[number]] * (1 << (16 - length))
            code, number = code + 1, number + 1
        code <<= 1
    return table[:65_536]


def _step_through(coded: bytes, blocks: Sequence[tuple[Table, Table]], count: int, restart: int) -> int:
    """Where the last of `count` units of `blocks` ends. Raises _Exhausted where the data end before."""
    end = _END.search(coded)
    start = 0
    for piece in _RESTART.split(coded[: end.start()] if end else coded):
        units = min(restart or count, count)
        bits = _Bits(piece.replace(_STUFFED, b"\xff"))
        bits.step(blocks, units)
        count -= units
        if count == 0:
            return start + _stuffed_length(piece, bits.used_bytes)
        start += len(piece) + 2
    raise _Exhausted


def _stuffed_length(piece: bytes, count: int) -> int:
    """How many bytes of `piece` stand for so many bytes without stuffing."""
    place = 0
    for _ in range(count):
        place += 2 if piece[place : place + 2] == _STUFFED else 1
    return place


class _Bits:
    """The bits of one restart interval."""

    def __init__(self, coded: bytes) -> None:
        self._coded = coded
        self._place = 0
        self._held = 0
        self._count = 0

    @property
    def used_bytes(self) -> int:
        """How many bytes were looked at, the last one perhaps in part."""
        return -(-(self._place * 8 - self._count) // 8)

    def step(self, blocks: Sequence[tuple[Table, Table]], units: int) -> None:
        """Step over so many units."""
        for _ in range(units):
            for direct, alternating in blocks:
                self._skip(direct)
                place = 1
                while place < 64:
                    symbol = self._skip(alternating)
                    if symbol & 15:
                        place += (symbol >> 4) + 1
                    elif symbol == 0xF0:
                        place += 16
                    else:
                        break

    def _skip(self, table: Table) -> int:
        """The next symbol, stepped over with the bits that belong to it."""
        if self._count < 32:
            self._refill()
        code = table[self._held >> (self._count - 16) & 0xFFFF]
        used = (code >> 8) + (code & 15)
        self._count -= used
        if code == 0 or self._place * 8 - self._count > len(self._coded) * 8:
            raise _Exhausted
        self._held &= (1 << self._count) - 1
        return code & 0xFF

    def _refill(self) -> None:
        """More bytes; ones behind the end, as T.81 pads, which count as missing once they are used."""
        piece = self._coded[self._place : self._place + _REFILL].ljust(_REFILL, b"\xff")
        self._held = self._held << 8 * _REFILL | int.from_bytes(piece, "big")
        self._count += 8 * _REFILL
        self._place += _REFILL
