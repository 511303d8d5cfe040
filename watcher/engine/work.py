"""What goes between the engine and its worker processes: an image's task, and its outcome. Pure.

Apart from orders.py, so that a worker starts without what only the engine needs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from watcher.engine.geometry import Resize
from watcher.engine.refusal import Refusal

if TYPE_CHECKING:
    from watcher.config.units import Colour
    from watcher.model import OutputFormat

Compression = Literal["medium", "high", "ultra"]


@dataclass(frozen=True, slots=True)
class OutputOrder:
    """The format to store, and what to lay alpha on where that has none (red, green, blue)."""

    format: OutputFormat = "auto"
    background: Colour = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """What to do with the image. Without a resize and an output it is only compressed."""

    compression: Compression = "high"
    resize: Resize | None = None
    output: OutputOrder = OutputOrder()


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may have: pixels over all its frames, and frames."""

    pixels: int
    frames: int


@dataclass(frozen=True, slots=True)
class Task:
    """One image: read `source`, write `target`."""

    source: Path
    target: Path
    image: ImageOrder
    limits: Limits

    def message(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**asdict(self), "source": str(self.source), "target": str(self.target)}

    @classmethod
    def read(cls, message: dict[str, Any]) -> Task:
        """What `message` made."""
        resize, output = message["image"]["resize"], message["image"]["output"]
        red, green, blue = output["background"]
        return cls(
            source=Path(message["source"]),
            target=Path(message["target"]),
            image=ImageOrder(
                message["image"]["compression"],
                None if resize is None else Resize(**resize),
                OutputOrder(output["format"], (red, green, blue)),
            ),
            limits=Limits(**message["limits"]),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished image: formats of input and output, the output's frame size in pixels, its bytes' number and SHA-1; and the
    input's frame size."""

    input_format: str
    output_format: str
    width: int
    height: int
    size: int
    sha1: str
    input_width: int
    input_height: int


def answer(outcome: Outcome | Refusal) -> dict[str, Any]:
    """A worker's answer as JSON takes it."""
    if isinstance(outcome, Refusal):
        return {"code": outcome.code, "message": outcome.message}
    return asdict(outcome)


def read_answer(message: dict[str, Any]) -> Outcome:
    """The outcome in a worker's answer. Raises the Refusal that it holds instead."""
    if "code" in message:
        raise Refusal(message["code"], message["message"])
    return Outcome(**message)
