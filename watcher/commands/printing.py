"""What the commands print: lines for programs, lines and tables for people. Standard output only; notes go to standard error."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from watcher.json_text import dumps
from watcher.log.console import plain
from watcher.result_records import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STYLES: Final[Mapping[str, str]] = {
    "stored": "green",
    "unchanged": "green",
    "ok": "green",
    "failed": "bold red",
    "fail": "bold red",
    "warn": "yellow",
    "superseded": "dim",
    "vanished": "dim",
    "skip": "dim",
    "requested": "cyan",
    "enqueued": "cyan",
}
"""How states look on a terminal that has colours."""
_WIDE: Final = 1_000_000


def console() -> Console:
    """Standard output for people: as wide as the terminal, and without colours or line breaks where it is none."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else _WIDE)


def say(target: Console, *parts: str | Text) -> None:
    """One line of parts; long ones are left for the terminal to break, so that addresses can be copied."""
    line = Text(" ").join(each if isinstance(each, Text) else Text(each) for each in parts)
    line.rstrip()
    target.print(line, soft_wrap=True)


def say_rows(target: Console, rows: Iterable[Sequence[str | Text]], *widths: int) -> None:
    """Rows of cells; the first ones are filled to `widths`. On a terminal the last cell is broken between words, and goes on
    below itself; elsewhere a row is a line.
    """
    if not target.is_terminal:
        for row in rows:
            filled = (_filled(cell, width) for cell, width in zip(row, widths, strict=False))
            say(target, *filled, *(cell for cell in row[len(widths) :] if cell))
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    for width in widths:
        grid.add_column(no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    for row in rows:
        last = Text("\n").join(Text(cell) if isinstance(cell, str) else cell for cell in row[len(widths) :] if cell)
        grid.add_row(*row[: len(widths)], last)
    target.print(grid)


def _filled(cell: str | Text, width: int) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell.copy()
    text.pad_right(max(0, width - text.cell_len))
    return text


def state_text(state: str, width: int = 0) -> Text:
    """A state in its colour, filled to a width."""
    return Text(state.ljust(width), STYLES.get(state, ""))


def note(message: str) -> None:
    """A word beside the output: what is missing, what to do."""
    sys.stderr.write(f"compressor-watcher: {plain(message)}\n")


def write_json(value: object) -> None:
    """One JSON value on a line of its own, in UTF-8 whatever the locale."""
    try:
        line = dumps(value)
    except UnicodeEncodeError:  # a name that is no text stands in it
        line = dumps(printable(value))
    write_bytes(line + b"\n")


def write_text(text: str) -> None:
    """Text as it is, in UTF-8 whatever the locale."""
    write_bytes(text.encode("utf-8", "backslashreplace"))


def write_bytes(data: bytes) -> None:
    """Bytes as they are."""
    sys.stdout.buffer.write(data)


def flush() -> None:
    """What was written goes out now: that its reader has gone is noticed here, as BrokenPipeError."""
    sys.stdout.flush()


def moment(seconds: float | None) -> str:
    """A time for people, UTC as in the log: "2026-11-22 10:42:07"."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
