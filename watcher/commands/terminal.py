"""What the commands know of the terminal that they write to: its width, whether it has colours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from watcher.log.console import LineStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.config.schema import Settings

USUAL_WIDTH = 80


def terminal_width(stream: TextIO) -> int | None:
    """The columns there are now; None where the stream is no terminal."""
    if not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    except (OSError, ValueError):
        return USUAL_WIDTH


def has_colours(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colours are welcome there."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def terminal_look(
    settings: Settings, stream: TextIO, *, dated: bool = False, prefix: Callable[[], str] | None = None
) -> LineStyle:
    """How lines of these folders look on the stream."""
    roots = {folder.name: str(folder.path) for folder in settings.folders}
    return LineStyle(lambda: terminal_width(stream), has_colours(stream), dated, roots, prefix or (lambda: ""))
