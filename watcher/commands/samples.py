"""Sample photographs for the demo, rendered on this machine with libvips: landscapes with sky, sun, hills, haze and sensor noise.

They are made so that the demo needs no download and no licence, and are as hard to compress as photographs are: soft gradients,
fine texture and noise everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyvips

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """A landscape: its size in pixels, the colours of the sky (top, horizon) and of the hills (far to near), its seed."""

    file: str
    width: int
    height: int
    zenith: Colour
    horizon: Colour
    hills: Sequence[Colour]
    seed: int
    held_upright: bool = False


SCENES: Final = (
    Scene("alps/morning.jpg", 3000, 2000, (58, 96, 160), (244, 206, 170), ((130, 140, 160), (70, 92, 100), (34, 52, 40)), 1),
    Scene("alps/portrait.jpg", 1600, 2400, (20, 40, 90), (230, 120, 80), ((120, 90, 110), (60, 50, 70), (24, 24, 36)), 2, True),
    Scene("coast/noon.png", 1800, 1200, (40, 120, 210), (200, 228, 244), ((110, 160, 180), (90, 130, 80), (60, 96, 40)), 3),
    Scene("coast/fog.webp", 2400, 1350, (150, 160, 170), (214, 216, 218), ((176, 182, 188), (140, 148, 152), (96, 104, 104)), 4),
    Scene("desert.tif", 1600, 1200, (70, 130, 200), (240, 214, 160), ((214, 160, 110), (190, 120, 70), (140, 80, 44)), 5),
    Scene("night.avif", 1500, 1000, (6, 8, 24), (40, 44, 80), ((24, 26, 44), (14, 16, 28), (6, 8, 12)), 6),
)
"""What the demo drops; five formats, one with a camera's orientation mark."""


TURN_RIGHT: Final = 6
"""The value of Exif's orientation: shown as it is meant after a quarter turn clockwise."""


def write_samples(folder: Path, scenes: Sequence[Scene] = SCENES) -> list[Path]:
    """Render the scenes below `folder`; gives the files."""
    paths = []
    for scene in scenes:
        path = folder / scene.file
        path.parent.mkdir(parents=True, exist_ok=True)
        save(render(scene), path, held_upright=scene.held_upright)
        paths.append(path)
    return paths


def render(scene: Scene) -> Any:
    """The picture, three bands of eight bits."""
    rows = pyvips.Image.xyz(scene.width, scene.height)
    down = rows[1] / scene.height
    picture = blend(down * 1.6, scene.zenith, scene.horizon) + clouds(scene)
    for number, colour in enumerate(scene.hills):
        ridge = 0.42 + 0.17 * number + relief(scene, number) * 0.0016
        soil = texture(scene, number) + list(colour)
        picture = (down > ridge).ifthenelse(soil, picture)
    noise = pyvips.Image.gaussnoise(scene.width, scene.height, mean=0, sigma=5, seed=scene.seed)
    vignette = 1 - ((rows[0] / scene.width - 0.5) ** 2 + (down - 0.5) ** 2) * 0.7
    return ((picture + noise) * vignette).cast("uchar").copy(interpretation="srgb")


def blend(weight: Any, first: Colour, second: Colour) -> Any:
    """From the first colour to the second."""
    difference = [to - start for start, to in zip(first, second, strict=True)]
    return (weight > 1).ifthenelse(1, weight).bandjoin([weight, weight])[0:3] * difference + list(first)


def clouds(scene: Scene) -> Any:
    """Soft brightening of the sky."""
    coarse = pyvips.Image.perlin(scene.width, scene.height, cell_size=420, seed=scene.seed)
    fine = pyvips.Image.perlin(scene.width, scene.height, cell_size=90, seed=scene.seed + 100)
    return coarse * 26 + fine * 9


def relief(scene: Scene, number: int) -> Any:
    """The height of a ridge along the picture: one line of noise, stretched over all rows."""
    wide = pyvips.Image.perlin(scene.width, 1, cell_size=300, seed=scene.seed * 10 + number)
    sharp = pyvips.Image.perlin(scene.width, 1, cell_size=40, seed=scene.seed * 10 + number + 5)
    line = wide * 90 + sharp * 12
    return line.replicate(1, scene.height)


def texture(scene: Scene, number: int) -> Any:
    """Grass, stone, sand: finer the nearer the hill."""
    grain = pyvips.Image.worley(scene.width, scene.height, cell_size=36 - 8 * number, seed=scene.seed + number)
    rough = pyvips.Image.perlin(scene.width, scene.height, cell_size=14, seed=scene.seed + 50 + number)
    return grain * 0.7 + rough * 14 - 12


def save(picture: Any, path: Path, *, held_upright: bool) -> None:
    """Write it in the format that its name says, at a camera's quality."""
    if held_upright:
        # a camera held upright stores the pixels lying and a mark that says so
        picture = picture.rot270().copy()
        picture.set_type(pyvips.GValue.gint_type, "orientation", TURN_RIGHT)
    saver, options = SAVERS[path.suffix]
    getattr(picture, saver)(str(path), **options)


SAVERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    ".jpg": ("jpegsave", {"Q": 95, "keep": "exif"}),
    ".png": ("pngsave", {"compression": 6}),
    ".webp": ("webpsave", {"Q": 95}),
    ".tif": ("tiffsave", {"compression": "lzw", "predictor": "horizontal"}),
    ".avif": ("heifsave", {"Q": 85, "effort": 1}),
}
