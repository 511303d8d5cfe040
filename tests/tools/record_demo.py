"""Records the demo in a terminal of 108 columns as docs/demo.svg: `make recording`."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.support.terminal import Terminal

SIZE = (108, 40)
HOME = "/home/ada"
"""Stands for the temporary folder."""
COLOURS = {"brown": "yellow", "default": None}


def recorded() -> Text:
    """What the demo shows, with its colours; places of this machine are left out."""
    on_path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (
        tempfile.TemporaryDirectory(prefix="d", dir="/tmp") as folder,
        Terminal("demo", "--into", f"{folder}/demo", size=SIZE, cwd=folder, environment=on_path) as terminal,
    ):
        if terminal.end(300) != 0:
            sys.exit(terminal.text)
        rows = [*terminal.screen.history.top, *(terminal.screen.buffer[row] for row in range(SIZE[1]))]
        text = Text("$ make demo\n", style="bold")
        for row in rows:
            line = Text("")
            for column in range(SIZE[0]):
                cell = row[column]
                line.append(cell.data, Style(color=COLOURS.get(cell.fg, cell.fg), bold=cell.bold))
            line.rstrip()
            text.append(line).append("\n")
        plain = text.plain.replace(folder, HOME)
        return text if plain == text.plain else _shortened(text, folder)


def _shortened(text: Text, folder: str) -> Text:
    """The text with a home in place of the temporary folder; the colours of such lines are lost."""
    lines = [Text(line.plain.replace(folder, HOME)) if folder in line.plain else line for line in text.split("\n")]
    return Text("\n").join(lines)


def main() -> None:
    """Write the picture. The font is the reader's own: nothing is loaded from elsewhere."""
    console = Console(record=True, width=SIZE[0], file=Path("/dev/null").open("w", encoding="utf-8"))  # noqa: SIM115 - for as long as this runs
    text = recorded()
    text.rstrip()
    console.print(text)
    svg = console.export_svg(title="compressor-watcher demo", font_aspect_ratio=0.61)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    Path("docs/demo.svg").write_text(re.sub(r"terminal-\d+", "terminal", svg), encoding="utf-8")


if __name__ == "__main__":
    main()
