"""Twenty pictures of different kinds to measure quality on, made here: no download, no licence, the same every time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyvips

from watcher.commands.samples import SCENES, render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WIDTH, HEIGHT = 640, 426
_WORDS: Final = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "five",
    "wizards",
    "pack",
    "boxes",
    "of",
    "liquor",
    "and",
    "sphinxes",
    "of",
    "black",
    "quartz",
    "judge",
    "their",
    "vow",
]


def dice(seed: int) -> random.Random:
    """The same throws every time."""
    return random.Random(seed)  # noqa: S311 - nothing is to be kept secret


def scene(number: int) -> Any:
    """A landscape as a camera sees it."""
    whole = render(replace(SCENES[number], width=WIDTH * 2, height=HEIGHT * 2))
    return whole.resize(0.5).cast("uchar")


def grain(number: int, sigma: float) -> Any:
    """The same at a high sensitivity: noise on every pixel."""
    noise = pyvips.Image.gaussnoise(WIDTH, HEIGHT, mean=0, sigma=sigma, seed=number + 70)
    coloured = noise.bandjoin(
        [pyvips.Image.gaussnoise(WIDTH, HEIGHT, mean=0, sigma=sigma, seed=number + each) for each in (80, 90)]
    )
    return (scene(number) + coloured).cast("uchar")


def soft(number: int) -> Any:
    """Skin, cloth, a background out of focus: smooth, with a few sharp edges."""
    blurred = scene(number).gaussblur(9)
    mask = drawing(f'<ellipse cx="{WIDTH / 2}" cy="{HEIGHT / 2}" rx="120" ry="160" fill="#d8a888"/>')
    return composed(blurred, mask)


def drawing(body: str, background: str = "none") -> Any:
    """An SVG, with alpha."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="DejaVu Sans, sans-serif">'
    ground = f'<rect width="100%" height="100%" fill="{background}"/>'
    return pyvips.Image.svgload_buffer(f"{head}{ground}{body}</svg>".encode())


def composed(below: Any, above: Any) -> Any:
    """One over the other, opaque."""
    return below.bandjoin(255).composite(above, "over").flatten().cast("uchar").copy(interpretation="srgb")


def opaque(body: str, background: str) -> Any:
    """A drawing on a ground."""
    return drawing(body, background).flatten().cast("uchar")


def paragraph(seed: int, size: float, colour: str = "#222") -> str:
    """Lines of words over the whole picture."""
    chosen = dice(seed)
    lines = []
    for row in range(1, int(HEIGHT / (size * 1.5))):
        words = " ".join(chosen.choice(_WORDS) for _ in range(int(WIDTH / size / 3)))
        lines.append(f'<text x="20" y="{row * size * 1.5:.0f}" font-size="{size}" fill="{colour}">{words}</text>')
    return "".join(lines)


def window(seed: int, ground: str, accent: str) -> Any:
    """A program's window: bars, boxes, buttons, small text."""
    chosen = dice(seed)
    boxes = "".join(
        f'<rect x="{160 + 115 * (n % 4)}" y="{60 + 95 * (n // 4)}" width="100" height="80" rx="6" fill="#fff" stroke="#bbb"/>'
        f'<text x="{168 + 115 * (n % 4)}" y="{84 + 95 * (n // 4)}" font-size="12" fill="{accent}">{chosen.choice(_WORDS)}</text>'
        f'<text x="{168 + 115 * (n % 4)}" y="{104 + 95 * (n // 4)}" font-size="9" fill="#666">{chosen.randrange(10**6)}</text>'
        for n in range(16)
    )
    bars = f'<rect width="640" height="40" fill="{accent}"/><rect y="40" width="140" height="400" fill="#e8e8ee"/>'
    return opaque(bars + boxes, ground)


def strokes(seed: int, colour: str) -> Any:
    """Line art: curves of one colour on white."""
    chosen = dice(seed)
    paths = "".join(
        f'<path d="M{chosen.randrange(640)} {chosen.randrange(426)} C'
        + " ".join(str(chosen.randrange(640)) for _ in range(6))
        + f'" fill="none" stroke="{colour}" stroke-width="{chosen.uniform(0.5, 3):.1f}"/>'
        for _ in range(60)
    )
    return opaque(paths, "#fff")


def chart() -> Any:
    """Bars in strong colours with labels."""
    chosen = dice(3)
    bars = "".join(
        f'<rect x="{40 + 36 * n}" y="{400 - tall}" width="26" height="{tall}" fill="hsl({n * 22},80%,50%)"/>'
        f'<text x="{40 + 36 * n}" y="416" font-size="10">{_WORDS[n][:5]}</text>'
        for n, tall in enumerate(chosen.randrange(40, 360) for _ in range(16))
    )
    return opaque(bars, "#fff")


def blend(seed: int) -> Any:
    """A gradient over the whole picture, where banding would be seen."""
    first, last = (("#102040", "#7090c0"), ("#f8e0d0", "#b04060"))[seed]
    stops = f'<stop offset="0" stop-color="{first}"/><stop offset="1" stop-color="{last}"/>'
    return opaque(
        f'<defs><linearGradient id="g" y2="1">{stops}</linearGradient></defs><rect width="640" height="426" fill="url(#g)"/>',
        "#fff",
    )


def logo() -> Any:
    """Flat colours on nothing, with a soft shadow."""
    shadow = f'{_blur(9)}<circle cx="330" cy="223" r="150" filter="url(#b)" opacity=".5"/>'
    disc = '<circle cx="320" cy="213" r="150" fill="#e04020"/>'
    return drawing(f'{shadow}{disc}<text x="225" y="235" font-size="64" fill="#fff">Logo</text>')


def _blur(deviation: float) -> str:
    return f'<defs><filter id="b"><feGaussianBlur stdDeviation="{deviation}"/></filter></defs>'


def cut_out() -> Any:
    """A photograph behind a soft mask."""
    mask = drawing(f'{_blur(4)}<circle cx="320" cy="213" r="170" filter="url(#b)"/>')
    return scene(0).bandjoin(mask[3]).cast("uchar").copy(interpretation="srgb")


def blocks() -> Any:
    """Pixel art: few colours, hard edges."""
    chosen = dice(5)
    colours = [bytes(chosen.randrange(256) for _ in range(3)) for _ in range(12)]
    small = b"".join(chosen.choice(colours) for _ in range(80 * 53))
    return pyvips.Image.new_from_memory(small, 80, 53, 3, "uchar").copy(interpretation="srgb").zoom(8, 8)


PICTURES: Final[Mapping[str, Callable[[], Any]]] = {
    "photo: mountains": lambda: scene(0),
    "photo: coast": lambda: scene(2),
    "photo: desert": lambda: scene(4),
    "photo: night": lambda: scene(5),
    "photo: fog": lambda: scene(3),
    "grain: mild": lambda: grain(1, 9),
    "grain: strong": lambda: grain(4, 22),
    "soft: warm": lambda: soft(4),
    "soft: cold": lambda: soft(3),
    "screenshot: light": lambda: window(1, "#f4f4f8", "#3060c0"),
    "screenshot: dark": lambda: window(2, "#202028", "#c04080"),
    "text: large": lambda: opaque(paragraph(1, 18), "#fff"),
    "text: small": lambda: opaque(paragraph(2, 10, "#600"), "#fffbe8"),
    "line art: black": lambda: strokes(1, "#000"),
    "line art: red": lambda: strokes(2, "#d00"),
    "chart": chart,
    "gradient: blue": lambda: blend(0),
    "gradient: red": lambda: blend(1),
    "alpha: logo": logo,
    "alpha: cut-out": cut_out,
}
