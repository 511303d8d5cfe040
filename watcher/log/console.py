"""How a line of the log looks on a terminal: what happened, to which file, sizes, time, then where it lies. Pure.

One line for each output, fitted to the width; what a failure has to say stands on one more. A URL is never cut, since people copy
it: where it does not fit beside the rest, it gets a line of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from watcher.config.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watcher.model import Record

STATE_WIDTH: Final = 10
WIDE: Final = 100
"""From so many columns on a line begins with its time."""
NARROWEST_NAME: Final = 16
INDENT: Final = "  "
MOST_ROWS: Final = 4
"""What a line has to tell takes no more rows; `show` has the whole."""
CLEAR_LINE: Final = "\r\x1b[2K"

_CODES: Final[Mapping[str, str]] = {"good": "32", "bad": "1;31", "warn": "33", "busy": "36", "dim": "2", "head": "1", "": ""}
_STYLE_OF: Final[Mapping[str, str]] = {
    "stored": "good",
    "unchanged": "good",
    "failed": "bad",
    "retry": "warn",
    "waiting": "warn",
    "ignored": "warn",
    "enqueued": "busy",
    "requested": "busy",
    "superseded": "dim",
    "vanished": "dim",
}
_LEVEL_STYLE: Final[Mapping[str, str]] = {"error": "bad", "warning": "warn", "debug": "dim"}
_NOT_TOLD: Final = frozenset(
    {"timestamp", "level", "event", "id", "folder", "file", "file_base64", "rendition", "message", "hint", "reason", "key"}
)

Piece = tuple[str, str]
"""A text and its style."""


@dataclass(frozen=True)
class LineStyle:
    """How lines are to look. `width` gives the columns there are now, None where nobody breaks lines."""

    width: Callable[[], int | None] = lambda: None
    colours: bool = False
    dated: bool = False
    """Whether times have their day: the lines are not of this moment."""
    roots: Mapping[str, str] = field(default_factory=dict)
    """The paths of the folders by their names: files are shown as inside them."""
    prefix: Callable[[], str] = lambda: ""
    """What goes before a line: CLEAR_LINE while a progress bar stands where it goes."""


class ConsoleRenderer:
    """Renders the objects of log lines for people; a processor of structlog."""

    def __init__(self, look: LineStyle) -> None:
        self.look = look

    def __call__(self, _logger: object, _method: str, fields: Mapping[str, Any]) -> str:
        """The line, or two."""
        return self.look.prefix() + render(fields, self.look)


def render(fields: Mapping[str, Any], look: LineStyle, lead: str = "") -> str:
    """The object of a log line as people read it, without a line feed at its end. `lead` is a column before all others."""
    lines = _lines(fields, look, look.width(), [(lead, "dim")] if lead else [])
    return "\n".join(_paint(line, colours=look.colours) for line in lines)


def has_times(width: int | None) -> bool:
    """Whether lines of this width begin with their time."""
    return width is None or width >= WIDE


def _lines(fields: Mapping[str, Any], look: LineStyle, width: int | None, lead: list[Piece]) -> list[list[Piece]]:
    event = str(fields.get("event", ""))
    head = [*lead, *_time(fields, look, width)]
    if not event.startswith("image."):
        return _fitted([*head, (event, _LEVEL_STYLE.get(str(fields.get("level")), ""))], _facts(fields), width)
    state = event.removeprefix("image.")
    head.append((state.ljust(STATE_WIDTH), _STYLE_OF.get(state, "")))
    if fields.get("url"):
        return _stored(head, fields, look, width)
    head.append((_name(fields, look), ""))
    return _fitted(head, _facts(fields), width, apart=state == "failed")


def _time(fields: Mapping[str, Any], look: LineStyle, width: int | None) -> list[Piece]:
    stamp = str(fields.get("timestamp", ""))
    if not stamp or not has_times(width):
        return []
    return [(stamp[:19].replace("T", " ") if look.dated else stamp[11:19], "dim")]


def _stored(head: list[Piece], fields: Mapping[str, Any], look: LineStyle, width: int | None) -> list[list[Piece]]:
    url = plain(fields.get("link") or fields.get("url") or "")
    figures = _figures(fields)
    warnings = [("warning: " + ", ".join(map(plain, fields["warnings"])), "warn")] if fields.get("warnings") else []
    name = _name(fields, look)
    whole = [*head, (name, ""), *figures, *warnings, (url, "")]
    if width is None or _length(whole) <= width:
        return [whole]
    room = width - _length([*head, *figures, *warnings, ("", "")])
    return [[*head, (shortened(name, max(room, NARROWEST_NAME)), ""), *figures, *warnings], [(INDENT + url, "")]]


def _figures(fields: Mapping[str, Any]) -> list[Piece]:
    sizes: list[Any] = [(fields.get(name) or {}).get("size") for name in ("input", "output")]
    figures = []
    if None not in sizes:
        figures.append((f"{human_size(sizes[0])} -> {human_size(sizes[1])}", ""))
    if fields.get("seconds") is not None:
        figures.append((human_duration(fields["seconds"]), "dim"))
    return figures


def _fitted(head: list[Piece], told: list[Piece], width: int | None, *, apart: bool = False) -> list[list[Piece]]:
    """All on one line where it fits; else, or where it is to stand `apart`, what is told stands below."""
    whole = [*head, *told]
    if not told or width is None or (_length(whole) <= width and not apart):
        return [whole]
    *before, (name, style) = head
    room = width - _length([*before, ("", "")])
    below = [[(INDENT + row, told[0][1])] for row in wrapped(told[0][0], width - len(INDENT))]
    return [[*before, (shortened(name, max(room, NARROWEST_NAME)), style)], *below]


def _facts(fields: Mapping[str, Any]) -> list[Piece]:
    """What a line has to say besides its event and file: the reason, the message and the hint; else its values."""
    style = _LEVEL_STYLE.get(str(fields.get("level")), "")
    words = outcome(fields)
    subject = [f"{plain(fields['folder'])}:"] if "folder" in fields and "file" not in fields else []
    rest = ", ".join(f"{name} {plain(value)}" for name, value in fields.items() if name not in _NOT_TOLD and _is_told(value))
    if words:
        return [(" ".join([*subject, words]), style)]
    return [(" ".join([*subject, rest]), "dim")] if rest or subject else []


def _is_told(value: object) -> bool:
    return value is not None and not isinstance(value, dict)


def outcome(record: Mapping[str, Any]) -> str:
    """What a log line comes down to: where the object lies, or why there is none and what to do."""
    if "url" in record:
        return plain(record.get("link") or record["url"])
    words = [plain(record[name]) for name in ("reason", "message") if record.get(name)]
    if len(words) == 1:
        words = [words[0].replace("_", " ")] if "reason" in record else words
    hint = f" ({plain(record['hint'])})" if record.get("hint") else ""
    again = f"; again in {human_duration(record['wait'])}" if isinstance(record.get("wait"), int | float) else ""
    return ": ".join(words) + hint + again


def _name(fields: Mapping[str, Any], look: LineStyle) -> str:
    """The file inside its folder, with the name of the rendition."""
    rendition = fields.get("rendition")
    name = inside(plain(fields.get("file", "")), plain(look.roots.get(str(fields.get("folder")), "")))
    return name + (f" [{plain(rendition)}]" if rendition is not None else "")


def inside(file: str, root: str) -> str:
    """A path as inside a folder; the whole path where it does not lie in it."""
    start = root.rstrip("/") + "/"
    return file.removeprefix(start) if root and file.startswith(start) else file


def shortened(text: str, width: int) -> str:
    """The text in so many columns: what is too much goes out of its middle, since a name's beginning and end tell most."""
    from rich.cells import cell_len, set_cell_size  # asked for only where lines are fitted

    if cell_len(text) <= width:
        return text
    behind = (width - 1) // 2
    end = text[-behind:] if behind else ""
    while cell_len(end) > behind:
        end = end[1:]
    return set_cell_size(text, max(width - 1 - cell_len(end), 0)).rstrip() + "…" + end


def wrapped(text: str, width: int) -> list[str]:
    """The text in rows of so many columns; no word is broken that fits a row, and no more than MOST_ROWS are given."""
    import textwrap  # as above

    return textwrap.wrap(text, max(width, NARROWEST_NAME), max_lines=MOST_ROWS, placeholder=" …", break_on_hyphens=False)


def plain(text: object) -> str:
    """Text that is safe on a terminal: control characters and bytes that are no UTF-8 (file names hold both) are escaped."""
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in words)


def _length(pieces: list[Piece]) -> int:
    from rich.cells import cell_len  # as above

    return sum(cell_len(text) for text, _ in pieces) + 2 * (len(pieces) - 1)


def _paint(pieces: list[Piece], *, colours: bool) -> str:
    return "  ".join(painted(text, style, colours=colours) for text, style in pieces).rstrip()


def painted(text: str, style: str, *, colours: bool) -> str:
    """The text in the colour of a style."""
    code = _CODES[style]
    return f"\x1b[{code}m{text}\x1b[0m" if colours and code and text else text


# --- the sum ----------------------------------------------------------------------------------------------------------------


REMEMBERED_IMAGES: Final = 10_000
"""So many of the last images are remembered, so that the outputs of one are counted as one image."""
_RANK: Final = ("unchanged", "superseded", "vanished", "stored", "failed")


class Tally:
    """Counts what the lines of a run tell, by images: an image with an output that failed has failed."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(_RANK, 0)
        self.ignored = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.remembered: dict[str, str] = {}
        """The states of the latest images, by id."""

    def note(self, fields: Mapping[str, Any]) -> None:
        """Count one line, an object with its `event`."""
        event = str(fields.get("event", ""))
        state = event.removeprefix("image.")
        if state == "ignored" and fields.get("level") == "info":
            self.ignored += 1
        elif event.startswith("image.") and state in self.counts and "id" in fields:
            self._note_ending(str(fields["id"]), state)
            self._note_bytes(fields)

    def _note_ending(self, image: str, state: str) -> None:
        before = self.remembered.get(image)
        if before is not None and _RANK.index(before) >= _RANK.index(state):
            return
        if before is not None:
            self.counts[before] -= 1
        self.counts[state] += 1
        self.remembered[image] = state
        if len(self.remembered) > REMEMBERED_IMAGES:
            del self.remembered[next(iter(self.remembered))]

    def _note_bytes(self, fields: Mapping[str, Any]) -> None:
        """Renditions share the original of the folder's own output: what went in is counted with that."""
        before, after = ((fields.get(name) or {}).get("size") for name in ("input", "output"))
        if before is not None and after is not None:
            self.bytes_in += before if fields.get("rendition") is None else 0
            self.bytes_out += after

    def summary(self, seconds: float, not_whole: int = 0, ignored: int | None = None, others: Record | None = None) -> str:
        """One line: "72 stored, 1 failed, 2 not whole, 3 ignored; 61.2 MB -> 4.1 MB in 38 s"."""
        counts = {"stored": self.counts["stored"], "failed": self.counts["failed"]}
        counts |= {name: self.counts[name] for name in ("unchanged", "superseded", "vanished")}
        counts |= {"not whole": not_whole, "ignored": self.ignored if ignored is None else ignored, **(others or {})}
        told = [f"{count} {name}" for name, count in counts.items() if count or name == "stored"]
        sizes = f"; {human_size(self.bytes_in)} -> {human_size(self.bytes_out)}" if self.bytes_in else ""
        took = f"{seconds:.0f} s" if 10 <= seconds < 60 else human_duration(seconds)
        return f"{', '.join(told)}{sizes} in {took}"
