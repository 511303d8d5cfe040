"""What a preview tells: a row for each output, and what a sample means for the whole folder. Pure but for the printing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from watcher.commands.printing import say
from watcher.commands.sheet import saved_words
from watcher.config.units import human_size
from watcher.log.console import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from watcher.model import Record

COLUMNS: Final = ("file", "output", "before", "after", "size", "saved", "key", "notes")


@dataclass(frozen=True, slots=True)
class Made:
    """One output of a picture: where the engine put it, its size in pixels and bytes; or why there is none."""

    name: str
    rendition: str | None
    source_size: int
    key: str | None
    file: Path
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    size: int = 0
    format: str = ""
    warnings: tuple[str, ...] = ()
    problem: str = ""

    def fields(self) -> Record:
        """For programs; None for what a refused output does not have."""
        made = not self.problem
        return {
            "file": self.name,
            "rendition": self.rendition,
            "key": self.key,
            "input": {"size": self.source_size, "width": self.before[0] or None, "height": self.before[1] or None},
            "output": {"size": self.size, "width": self.after[0], "height": self.after[1], "format": self.format}
            if made
            else None,
            "saved_bytes": self.source_size - self.size if made else None,
            "warnings": list(self.warnings),
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """What a sample comes to, and what that means for all files."""

    files: int
    """All files that may be pictures."""
    bytes: int
    sampled: int
    taken: int
    """Those of the sample that would be sent."""
    requests: int
    bytes_before: int
    bytes_after: int
    """Of the sample; every output counts."""
    refused: int

    @property
    def is_whole(self) -> bool:
        """Whether the sample is all there is."""
        return self.sampled == self.files

    def scaled(self, count: int) -> int:
        """What a count of the sample comes to for all files."""
        return round(count * self.files / self.sampled) if self.sampled else 0

    def scaled_bytes(self, count: int) -> int:
        """The same of bytes that came out: in the measure of those that went in, which are known."""
        return round(count * self.bytes / self.bytes_before) if self.bytes_before else 0

    def fields(self) -> Record:
        """For programs."""
        sample = {"pictures": self.taken, "requests": self.requests, "bytes_before": self.bytes_before}
        whole = {"files": self.files, "requests": self.scaled(self.requests), "bytes_before": self.bytes}
        return {
            "sample": {**sample, "bytes_after": self.bytes_after, "refused": self.refused},
            "all": {**whole, "bytes_after": self.scaled_bytes(self.bytes_after), "extrapolated": not self.is_whole},
        }

    def words(self) -> str:
        """For people."""
        sample = (
            f"{_count(self.taken, 'picture')}, {_count(self.requests, 'request')}: "
            f"{human_size(self.bytes_before)} -> {human_size(self.bytes_after)}"
        )
        if self.refused:
            sample += f", {self.refused} would fail"
        if self.is_whole:
            return sample
        after = human_size(self.scaled_bytes(self.bytes_after))
        requests = _count(self.scaled(self.requests), "request")
        return f"{sample}; all {self.files} files: about {requests}, {human_size(self.bytes)} -> {after}"


def figures(everything: tuple[int, int], made: Sequence[Sequence[Made]], sampled: int) -> Figures:
    """What it comes to. `everything`: how many files there are, and their bytes; `made`: the outputs of each taken picture."""
    outputs = [each for picture in made for each in picture]
    before = sum(picture[0].source_size for picture in made if picture)
    fine = [each for each in outputs if not each.problem]
    after, refused = sum(each.size for each in fine), len(outputs) - len(fine)
    return Figures(*everything, sampled, len(made), len(outputs), before, after, refused)


def as_rows(made: Sequence[Made]) -> list[tuple[str, ...]]:
    """The cells of each output, as COLUMNS have them."""
    return [
        (
            plain(each.name),
            plain(each.rendition or ""),
            _pixels(each.before),
            _pixels(each.after),
            "" if each.problem else f"{human_size(each.source_size)} -> {human_size(each.size)}",
            "" if each.problem else saved_words(each.source_size, each.size),
            plain(each.key or ""),
            plain(f"would fail: {each.problem}" if each.problem else ", ".join(each.warnings)),
        )
        for each in made
    ]


def show_rows(out: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """A table that fits the terminal: what it has no room for is dropped, least needed first. Elsewhere a line each."""
    if not out.is_terminal:
        for row in rows:
            say(out, "  ".join(cell for cell in row if cell))
        return
    columns = fitting(rows, out.width)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=name != "notes", overflow="fold" if name == "notes" else "ellipsis")
    for row in rows:
        cells = dict(zip(COLUMNS, row, strict=True))
        table.add_row(*(Text(cells[name], _style(name, cells)) for name in columns))
    out.print(table)


LEAST_NEEDED: Final = ("output", "before", "key", "size", "after")
"""Columns that are dropped where there is no room, in this order; those that are empty are dropped first."""
ROOM_FOR_NAMES: Final = 16
"""A file's name is shortened to this at most."""
ROOM_FOR_NOTES: Final = 20


def fitting(rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """The columns that fit into so many places. Pure."""
    widths = {name: max((len(row[place]) for row in rows), default=0) for place, name in enumerate(COLUMNS)}
    columns = [name for name in COLUMNS if widths[name]]
    limits = {"file": ROOM_FOR_NAMES, "notes": ROOM_FOR_NOTES}
    needs = {name: max(len(name), min(widths[name], limits.get(name, widths[name]))) + 2 for name in columns}
    dropped = [name for name in LEAST_NEEDED if name != "output"]
    if "output" in columns and len({row[1] for row in rows}) > 1:
        dropped = [*dropped, "output"]
    while sum(needs[name] for name in columns) > width and any(name in columns for name in dropped):
        columns.remove(next(name for name in dropped if name in columns))
    return columns


def _style(column: str, cells: dict[str, str]) -> str:
    if column == "notes":
        return "red" if cells["notes"].startswith("would fail") else "yellow"
    return "green" if column == "saved" and cells["saved"].startswith("-") else ""


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}" if all(size) else ""


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
