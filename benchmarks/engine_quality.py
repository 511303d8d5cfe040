"""What each `compression` costs and keeps: bytes and SSIM of every format on photographs. Makes the table of docs/ENGINE.md.

    python benchmarks/engine_quality.py PHOTOGRAPH...

Each photograph is brought to 1600 pixels, written losslessly, and put through the engine's own encoders. SSIM is that of Wang
et al. (2004), Gaussian window of 1.5 pixels, on luminance, mean over the image.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

import pyvips

from watcher.engine.encoding import QUALITIES, Encoding, encode, quality_of
from watcher.engine.rendering import to_srgb

if TYPE_CHECKING:
    from watcher.engine.work import Compression

STEPS: tuple[Compression, ...] = ("medium", "high", "ultra")
SIDE = 1600
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(one: pyvips.Image, other: pyvips.Image) -> float:
    """Mean structural similarity of two images of one size; 1 is identity."""
    first, second = (image.colourspace("b-w").extract_band(0).cast("float") for image in (one, other))
    means = [_window(image) for image in (first, second)]
    variances = [_window(image * image) - average * average for image, average in zip((first, second), means, strict=True)]
    covariance = _window(first * second) - means[0] * means[1]
    numerator = (means[0] * means[1] * 2 + _C1) * (covariance * 2 + _C2)
    denominator = (means[0] * means[0] + means[1] * means[1] + _C1) * (variances[0] + variances[1] + _C2)
    return float((numerator / denominator).avg())


def _window(image: pyvips.Image) -> pyvips.Image:
    return image.gaussblur(1.5, precision="float")


def prepared(path: Path) -> pyvips.Image:
    """The photograph as pixels in memory."""
    return to_srgb(pyvips.Image.thumbnail(str(path), SIDE, height=SIDE, size="down")).copy_memory()


def measured(image: pyvips.Image, format_name: str, step: Compression) -> tuple[float, float, float]:
    """Bits a pixel, SSIM, and seconds of CPU."""
    encoding = Encoding(format_name, step, quality_of(format_name, step))
    begin = time.process_time()
    content = encode(image, encoding)
    seconds = time.process_time() - begin
    return len(content) * 8 / (image.width * image.height), ssim(image, decoded(content, format_name)), seconds


def decoded(content: bytes, format_name: str) -> pyvips.Image:
    """The pixels of an output."""
    if format_name != "heic":
        return to_srgb(pyvips.Image.new_from_buffer(content, "")).copy_memory()
    import tempfile

    from watcher.engine import rasters

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return rasters.load(Path(file.name), "heic")


def main() -> None:
    """Print the table."""
    images = [prepared(Path(argument)) for argument in sys.argv[1:]]
    lines = [
        "| format | " + " | ".join(f"{step}: bits/pixel, SSIM, CPU ms" for step in STEPS) + " |",
        "|---" * (len(STEPS) + 1) + "|",
    ]
    lines += [row(format_name, images) for format_name in (*QUALITIES, "gif")]
    sys.stdout.write("\n".join(lines) + "\n")


def row(format_name: str, images: list[pyvips.Image]) -> str:
    """A format's line of the table: means over the photographs."""
    cells = []
    for step in STEPS:
        found = [measured(image, format_name, step) for image in images]
        bits, similarity, seconds = (mean(each[column] for each in found) for column in range(3))
        cells.append(f"{bits:.2f}, {similarity:.3f}, {seconds * 1000:.0f}")
    return f"| {format_name} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
