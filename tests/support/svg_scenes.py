"""Random SVG drawings out of a seed: every unit, with and without a view box, every way to fit it, drawings within drawings."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Final

PIXELS: Final = {"": 1, "px": 1, "pt": 96 / 72, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96, "em": 16}
_COLOURS: Final = ("#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#222222", "#ffff33")
_PLACES: Final = [f"x{across}Y{down}" for across, down in itertools.product(("Min", "Mid", "Max"), repeat=2)]
FITS: Final = ("none", *(f"{place}{way}" for place, way in itertools.product(_PLACES, ("", " meet", " slice"))))


@dataclass(frozen=True)
class _Area:
    """Where to draw: in its own units, of which it has so many."""

    width: float
    height: float


def drawing(seed: int) -> str:
    """An SVG whose size is said: by both sides, or by a view box and at most one of them."""
    chance = random.Random(seed)
    area = _Area(chance.uniform(150, 400), chance.uniform(150, 400))
    box, inside = _view_box(chance, area, always=(sides := chance.random()) > 0.7)
    width = f' width="{_length(chance, area.width)}"' if sides < 0.85 else ""
    height = f' height="{_length(chance, area.height)}"' if sides < 0.7 or 0.85 <= sides < 0.95 else ""
    ground = '<rect width="100%" height="100%" fill="#eeeeee"/>' if chance.random() < 0.4 else ""
    shapes = "".join(_shape(chance, inside, 0) for _ in range(chance.randint(2, 6)))
    return f'<svg xmlns="http://www.w3.org/2000/svg"{width}{height}{box}>{ground}{shapes}</svg>'


def _length(chance: random.Random, pixels: float, *, parts: bool = False) -> str:
    unit = chance.choice([*PIXELS, *(["%"] if parts else [])])
    return f"{chance.choice((25, 50, 75))}%" if unit == "%" else f"{pixels / PIXELS[unit]:.5g}{unit}"


def _view_box(chance: random.Random, area: _Area, *, always: bool = False) -> tuple[str, _Area]:
    """A view box with what it needs beside it, and the area that it makes."""
    if not always and chance.random() < 0.3:
        return "", area
    scale, wider = chance.choice((0.5, 1, 2, 10)), chance.choice((1, 1, 1, 0.5, 2, 3))
    left, top = chance.choice((0, 0, -0.1, 0.05)) * area.width * scale, chance.choice((0, 0, -0.1, 0.2)) * area.height * scale
    inside = _Area(area.width * scale * wider, area.height * scale)
    fit = f' preserveAspectRatio="{chance.choice(FITS)}"' if chance.random() < 0.6 else ""
    return f' viewBox="{left:.5g} {top:.5g} {inside.width:.5g} {inside.height:.5g}"{fit}', inside


def _shape(chance: random.Random, area: _Area, depth: int) -> str:
    kind = chance.choice((_rectangle, _rectangle, _circle, _ellipse, _line, _path, _group, _inner))
    return kind(chance, area, depth)


def _along(chance: random.Random, side: float) -> str:
    return _length(chance, chance.uniform(0.05, 0.7) * side, parts=True)


def _paint(chance: random.Random, area: _Area) -> str:
    colour = f'fill="{chance.choice(_COLOURS)}" opacity="{chance.choice((1, 1, 0.5))}"'
    if chance.random() < 0.6:
        return colour
    thickness = _length(chance, chance.uniform(0.02, 0.08) * min(area.width, area.height))
    return f'{colour} stroke="{chance.choice(_COLOURS)}" stroke-width="{thickness}"'


def _rectangle(chance: random.Random, area: _Area, _depth: int) -> str:
    across, down = (_along(chance, area.width) for _ in range(2)), (_along(chance, area.height) for _ in range(2))
    (left, width), (top, height) = across, down
    return f'<rect x="{left}" y="{top}" width="{width}" height="{height}" {_paint(chance, area)}/>'


def _circle(chance: random.Random, area: _Area, _depth: int) -> str:
    radius = _along(chance, min(area.width, area.height))
    return f'<circle cx="{_along(chance, area.width)}" cy="{_along(chance, area.height)}" r="{radius}" {_paint(chance, area)}/>'


def _ellipse(chance: random.Random, area: _Area, _depth: int) -> str:
    middle = f'cx="{_along(chance, area.width)}" cy="{_along(chance, area.height)}"'
    return f'<ellipse {middle} rx="{_along(chance, area.width)}" ry="{_along(chance, area.height)}" {_paint(chance, area)}/>'


def _line(chance: random.Random, area: _Area, _depth: int) -> str:
    thickness = _length(chance, 0.05 * min(area.width, area.height))
    ends = [f'{name}="{_along(chance, side)}"' for name, side in zip(("x1", "x2", "y1", "y2"), _twice(area), strict=True)]
    return f'<line {" ".join(ends)} stroke="{chance.choice(_COLOURS)}" stroke-width="{thickness}"/>'


def _twice(area: _Area) -> tuple[float, float, float, float]:
    return area.width, area.width, area.height, area.height


def _path(chance: random.Random, area: _Area, _depth: int) -> str:
    points = [f"{chance.random() * area.width:.4g} {chance.random() * area.height:.4g}" for _ in range(3)]
    return f'<path d="M {" L ".join(points)} z" {_paint(chance, area)}/>'


def _group(chance: random.Random, area: _Area, depth: int) -> str:
    turn = f"rotate({chance.randrange(90)} {area.width / 2:.4g} {area.height / 2:.4g})"
    inside = "".join(_shape(chance, area, depth + 1) for _ in range(2)) if depth < 3 else _path(chance, area, depth)
    return f'<g transform="{turn} scale({chance.choice((0.5, 1, 1.5))})">{inside}</g>'


def _inner(chance: random.Random, area: _Area, depth: int) -> str:
    if depth > 1:
        return _path(chance, area, depth)
    own = _Area(chance.uniform(0.3, 0.9) * area.width, chance.uniform(0.3, 0.9) * area.height)
    box, inside = _view_box(chance, own)
    place = f'x="{_along(chance, area.width / 2)}" y="{_along(chance, area.height / 2)}"'
    sides = f'width="{_length(chance, own.width, parts=True)}" height="{_length(chance, own.height, parts=True)}"'
    shapes = "".join(_shape(chance, inside, depth + 1) for _ in range(3))
    return f"<svg {place} {sides}{box}>{shapes}</svg>"
