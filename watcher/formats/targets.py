"""What `image.output` asks for: the format that is stored for a source, its extension, and what cannot be done. Pure.

The engine, the keys, `explain`, `check` and the lines of the log all ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from watcher.model import Format, OutputFormat

AS_IT_CAME: Final = "auto"
FOR_BROWSERS: Final = "web"
WORDS: Final[tuple[str, ...]] = get_args(OutputFormat)
NOT_WEB_SAFE: Final = frozenset({Format.HEIC, Format.TIFF, Format.BMP})
"""Formats that not every browser shows."""

_WEB: Final = {Format.HEIC: Format.JPEG, Format.TIFF: Format.JPEG, Format.BMP: Format.PNG, Format.SVG: Format.PNG}
_MOVING: Final = frozenset({Format.WEBP})
"""Formats that an animation can be written in anew."""
_FRAMES_READ: Final = frozenset({Format.GIF, Format.WEBP})
"""Formats whose frames can be read."""
_WITHOUT_ALPHA: Final = frozenset({Format.JPEG})
_EXTENSIONS: Final = {Format.JPEG: "jpg"}
EXTENSIONS: Final[Mapping[Format, tuple[str, ...]]] = {
    Format.JPEG: ("jpg", "jpeg", "jpe", "jfif"),
    Format.PNG: ("png", "apng"),
    Format.WEBP: ("webp",),
    Format.AVIF: ("avif",),
    Format.HEIC: ("heic", "heif", "hif"),
    Format.GIF: ("gif",),
    Format.TIFF: ("tif", "tiff"),
    Format.BMP: ("bmp", "dib"),
    Format.SVG: ("svg", "svgz"),
    Format.ICO: ("ico",),
}
"""What names of files of a format end in."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is stored. `flattens`: its alpha is laid on `background`. `problem`: why it cannot be done, in words ("": it can)."""

    format: Format
    flattens: bool = False
    problem: str = ""


def wanted(image: Mapping[str, Any]) -> str:
    """The word in an `image` object's `output.format`; "auto" where there is none."""
    output = image.get("output")
    word = output.get("format") if isinstance(output, Mapping) else None
    return word if isinstance(word, str) and word in WORDS else AS_IT_CAME


def stored_format(source: Format, word: str, *, renders_svg: bool = True) -> Format:
    """The format that a source is stored in. `renders_svg`: an SVG always becomes a PNG at least, as the embedded engine does."""
    if word == FOR_BROWSERS:
        return _WEB.get(source, source)
    if word != AS_IT_CAME:
        return Format(word)
    return Format.PNG if source is Format.SVG and renders_svg else source


def target(source: Format, word: str, *, pictures: int = 1, animated: bool = False, alpha: bool = False) -> Target:
    """What the engine stores for a source with so many frames or pages; `animated`: they are shown one after the other."""
    stored = stored_format(source, word)
    several = animated or pictures > 1
    if stored is not source and several and not (animated and source in _FRAMES_READ and stored in _MOVING):
        return Target(stored, problem=_cannot_hold(source, stored, pictures, animated=animated))
    return Target(stored, flattens=alpha and stored in _WITHOUT_ALPHA)


def _cannot_hold(source: Format, stored: Format, pictures: int, *, animated: bool) -> str:
    if animated:
        return (
            f"an animated {source.name} cannot become {article(stored)}: "
            'use image.output = { format = "web" }, which keeps animations, or "auto"'
        )
    return (
        f"a {source.name} of {pictures} pages cannot become {article(stored)}, which holds one picture: "
        'save each page as a file of its own, or use image.output = { format = "auto" }'
    )


def by_name(name: str) -> Format | None:
    """The format that a name speaks of, where there are no bytes yet."""
    extension = name.rpartition(".")[2].lower()
    return next((each for each, known in EXTENSIONS.items() if extension in known), None)


def article(image_format: Format) -> str:
    """The name of a format with its article: "a JPEG", "an AVIF"."""
    name = "WebP" if image_format is Format.WEBP else image_format.name
    return f"{'an' if name[0] in 'AEIOS' else 'a'} {name}"


def converted_extension(source: Format, image: Mapping[str, Any], *, renders_svg: bool) -> str | None:
    """The extension of what is stored, where that is another format than came ("jpg" for JPEG); None where it is not."""
    stored = stored_format(source, wanted(image), renders_svg=renders_svg)
    return None if stored is source else _EXTENSIONS.get(stored, str(stored))
