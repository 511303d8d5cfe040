"""ICC profiles for colours that are said in numbers: chromaticities and a transfer curve. Pure.

A matrix-and-curve profile (ICC.1:2022 8.3.3): the columns are the primaries, adapted to D50 by Bradford's method.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]
Point = tuple[float, float]

D65: Final[Point] = (0.3127, 0.3290)
_D50: Final[Vector] = (0.9642, 1.0, 0.8249)
_BRADFORD: Final[Matrix] = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


@dataclass(frozen=True, slots=True)
class Primaries:
    """Chromaticities (x, y) of the three colours and of white."""

    red: Point
    green: Point
    blue: Point
    white: Point = D65


BT709: Final = Primaries((0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
BT2020: Final = Primaries((0.708, 0.292), (0.17, 0.797), (0.131, 0.046))
PRIMARIES: Final = {
    1: BT709,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: Primaries((0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: Primaries((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    7: Primaries((0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: BT2020,
    11: Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: Primaries((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    22: Primaries((0.63, 0.34), (0.295, 0.605), (0.155, 0.077)),
}
"""By the numbers of ITU-T H.273 table 2."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A plain power where `gamma` is given, else the transfer curve of sRGB."""

    gamma: float | None = None


SRGB_CURVE: Final = Curve()


def curve_of(transfer: int) -> Curve:
    """The curve for a number of H.273 table 3. Those of video are shown by viewers of pictures as sRGB's is."""
    return {4: Curve(2.2), 5: Curve(2.8), 8: Curve(1.0)}.get(transfer, SRGB_CURVE)


def profile(primaries: Primaries, curve: Curve) -> bytes:
    """A display profile for such colours. Raises ValueError where the chromaticities span no triangle."""
    to_xyz = _adapted(_rgb_to_xyz(primaries), primaries.white)
    columns = [_xyz(tuple(row[number] for row in to_xyz)) for number in range(3)]
    text = "from the numbers in the picture".encode("utf-16-be")
    label = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(text), 28) + text
    tags = [(b"desc", label), (b"cprt", label), (b"wtpt", _xyz(_D50))]
    tags += [(letter + b"XYZ", column) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)]
    tags += [(letter + b"TRC", _curve(curve)) for letter in (b"r", b"g", b"b")]
    return _assembled(tags)


def between(source: Primaries, target: Primaries) -> Matrix:
    """What turns linear RGB of one set of primaries into that of another; both have one white."""
    return _product(_inverse(_rgb_to_xyz(target)), _rgb_to_xyz(source))


def _assembled(tags: list[tuple[bytes, bytes]]) -> bytes:
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags:
        table += tag + struct.pack(">II", place + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    size = 132 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ").ljust(36, b"\0") + b"acsp"
    return head.ljust(68, b"\0") + _fixed(*_D50).ljust(60, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65_536)) for number in numbers)


def _xyz(column: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*column)


def _curve(curve: Curve) -> bytes:
    if curve.gamma is not None:
        return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(curve.gamma)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _rgb_to_xyz(primaries: Primaries) -> Matrix:
    columns = [_point_xyz(each) for each in (primaries.red, primaries.green, primaries.blue)]
    raw = _transposed((columns[0], columns[1], columns[2]))
    scales = _applied(_inverse(raw), _point_xyz(primaries.white))
    return _rows([[value * scale for value, scale in zip(row, scales, strict=True)] for row in raw])


def _adapted(matrix: Matrix, white: Point) -> Matrix:
    before, after = _applied(_BRADFORD, _point_xyz(white)), _applied(_BRADFORD, _D50)
    scales = [new / old for new, old in zip(after, before, strict=True)]
    scaled = _rows([[value * scale for value in row] for row, scale in zip(_BRADFORD, scales, strict=True)])
    return _product(_product(_inverse(_BRADFORD), scaled), matrix)


def _point_xyz(point: Point) -> Vector:
    x, y = point
    if not y:
        raise ValueError("a chromaticity without luminance")
    return x / y, 1.0, (1 - x - y) / y


def _rows(rows: list[list[float]]) -> Matrix:
    first, second, third = ((row[0], row[1], row[2]) for row in rows)
    return first, second, third


def _transposed(matrix: Matrix) -> Matrix:
    return _rows([[row[number] for row in matrix] for number in range(3)])


def _applied(matrix: Matrix, vector: Vector) -> Vector:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _product(left: Matrix, right: Matrix) -> Matrix:
    columns = _transposed(right)
    return _rows([[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left])


def _inverse(matrix: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) < 1e-9:
        raise ValueError("the chromaticities span no triangle")
    rows = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    return _rows([[value / determinant for value in row] for row in rows])
