"""Random SVG drawings come out of the engine as resvg draws them: another renderer, which shares no code with librsvg."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.support.engine_images import make
from tests.support.reference import distance, drawn_by_resvg, looked_at
from tests.support.svg_scenes import drawing
from watcher.engine.work import Limits

LIMITS: Final = Limits(150_000_000, 1)
"""As the engine has them: one drawing has 24 million pixels."""
TOLERANCE: Final = 2.0
"""Of 255, on the mean: edges are smoothed in other ways, and one rounds half a pixel up, the other down."""
SOME: Final = range(24)
ALL: Final = range(650)


HALVES: Final = {560: "a height of 53.7 pixels: resvg aligns to the foot of 54, Chromium and librsvg to that of 53.7"}
"""Drawings of which only the size is compared."""


def trouble(folder: Path, seed: int) -> str:
    """How the two drawings of a seed differ; nothing where they agree."""
    text = drawing(seed)
    theirs, ours = drawn_by_resvg(text), looked_at(make(folder, text.encode(), "medium", limits=LIMITS).content)
    assert ours is not None
    (width, height), (other_width, other_height) = theirs.size, ours.size
    if abs(width - other_width) > 1 or abs(height - other_height) > 1:
        return f"{ours.size}, not {theirs.size}"
    if seed in HALVES:
        return ""
    common = (0, 0, min(width, other_width), min(height, other_height))
    found = distance(theirs.crop(common), ours.crop(common))
    return f"differs by {found:.1f}" if found > TOLERANCE else ""


def troubles(folder: Path, seeds: range) -> dict[int, str]:
    found = {seed: trouble(folder, seed) for seed in seeds}
    return {seed: words for seed, words in found.items() if words}


def test_some_random_drawings_agree(tmp_path: Path) -> None:
    """Sizes and lengths in every unit, view boxes, ways to fit them, drawings within drawings."""
    assert troubles(tmp_path, SOME) == {}


@pytest.mark.soak
def test_many_random_drawings_agree(tmp_path: Path) -> None:
    """As many as found the first faults."""
    assert troubles(tmp_path, ALL) == {}
