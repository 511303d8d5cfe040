"""The engine's image work on one file, without a server or a worker process."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms

from watcher.engine.geometry import Resize
from watcher.engine.images import process
from watcher.engine.refusal import Refusal
from watcher.engine.work import ImageOrder, Limits, OutputOrder, Task

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.engine.work import Compression, Outcome

LIMITS = Limits(pixels=20_000_000, frames=100)


@dataclass
class Made:
    """What came of it."""

    outcome: Outcome
    content: bytes

    @property
    def picture(self) -> Image.Image:
        """Decoded by Pillow."""
        picture = Image.open(io.BytesIO(self.content))
        picture.load()
        return picture


def make(
    folder: Path,
    content: bytes,
    compression: Compression = "high",
    resize: Resize | None = None,
    output: OutputOrder = OutputOrder(),  # noqa: B008 - it is a value
    limits: Limits = LIMITS,
) -> Made:
    """The output for a file with this content. Raises Refusal."""
    source, target = folder / f"source-{uuid.uuid4()}", folder / "output"  # libvips remembers headers by name
    source.write_bytes(content)
    outcome = process(Task(source, target, ImageOrder(compression, resize, output), limits))
    return Made(outcome, target.read_bytes())


def refusal(folder: Path, content: bytes, **options: Any) -> str:
    """The words of the refusal that this content must meet."""
    try:
        made = make(folder, content, **options)
    except Refusal as refused:
        return refused.message
    raise AssertionError(f"it was not refused: {made.outcome}")


def shown(content: bytes, place: tuple[int, int]) -> tuple[int, ...]:
    """The colour of a pixel as a viewer that honours profiles shows it."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    profile = picture.info.get("icc_profile")
    rgb = picture.convert("RGB")
    if profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        rgb = ImageCms.profileToProfile(rgb, source, ImageCms.createProfile("sRGB"), renderingIntent=1) or rgb
    pixel = rgb.getpixel(place)
    assert isinstance(pixel, tuple)
    return pixel


def is_near(one: tuple[int, ...], other: tuple[int, ...], tolerance: int = 8) -> bool:
    """Whether no band differs by more."""
    return len(one) == len(other) and max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance
