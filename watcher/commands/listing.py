"""`list`: the images that the journal knows."""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from watcher.commands.journal_access import reading
from watcher.commands.printing import flush, note, write_json, write_text
from watcher.commands.terminal import terminal_look
from watcher.config.units import parse_duration
from watcher.log.console import STATE_WIDTH, has_times, painted, render
from watcher.model import OPEN_STATES, FileRef, ImageState, OutputState, path_fields, timestamp
from watcher.result_records import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from watcher.config.schema import Settings
    from watcher.log.console import LineStyle
    from watcher.model import Record
    from watcher.records.listed import ListedOutput
    from watcher.records.views import JournalViews
    from watcher.records.watched import WatchedFile

Form = Literal["table", "json", "csv"]

IGNORED: Final = "ignored"
STATES: Final = (*OutputState, *ImageState, IGNORED)
COLUMNS: Final = (
    "id",
    "folder",
    "file",
    "rendition",
    "state",
    "detected",
    "ended",
    "attempts",
    "key",
    "url",
    "link",
    "reason",
    "message",
    "hint",
    "input_size",
    "output_size",
    "saved_bytes",
    "seconds",
    "due",
)
"""The fields of a line of `list`, in the order of the CSV columns."""
SHORT_ID: Final = 8
TIME_WIDTH: Final = 19
_TOLD: Final = frozenset({"folder", "file", "rendition", "url", "link", "reason", "message", "hint", "seconds"})
MOST_COUNTED: Final = 2_000
"""Lines that are not shown are counted to here."""
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def parse_since(text: str, now: float) -> float:
    """Unix seconds of "2h" (so long ago), "2026-01-31" or "2026-01-31T10:42:00Z" (UTC unless it says otherwise). ValueError."""
    try:
        if not _DAY.match(text):
            return now - parse_duration(text)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'{text!r} is neither a duration like "2h" nor a date like 2026-01-31 or 2026-01-31T10:42:00Z') from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def check_state(text: str) -> str:
    """The state, if there is one of this name. ValueError."""
    if text not in STATES:
        raise ValueError(f"no such state {text!r}; there are {', '.join(STATES)}")
    return text


def list_images(
    settings: Settings,
    state: str | None,
    folder: str | None,
    since: float | None,
    *,
    limit: int,
    form: Form,
    host: str | None = None,
) -> int:
    """Print a line for each output of each image, newest image first; `limit` lines, or all where it is 0.

    `state` is one of STATES: of the output, or of the image as a whole; `waiting` also shows files that are not whole yet,
    `ignored` those that are not taken. `since` is Unix seconds, of the detection;
    `host` one of those that share the journal.
    """
    with reading(settings, host) as journal:
        if journal is None:
            return 0
        rows = _rows(journal, settings, state, printable(folder), since)
        count = _print(islice(rows, limit) if limit else rows, form, _look(settings))
        flush()
        if form == "table":
            _say_rest(settings, count, sum(1 for _ in islice(rows, MOST_COUNTED)), folder)
    return 0


def _say_rest(settings: Settings, shown: int, more: int, folder: str | None) -> None:
    """How many more there are; or that there is nothing, and why that may be."""
    names = [each.name for each in settings.folders]
    if more:
        count = f"{more} more" if more < MOST_COUNTED else f"more than {MOST_COUNTED} others"
        note(f"{count} are not shown; --limit 0 shows all, --state, --folder and --since choose")
    elif not shown and folder is not None and folder not in names:
        note(f"no folder {folder!r} in the configuration; there are {', '.join(names)}")
    elif not shown:
        note("nothing found (`explain FILE` says what becomes of a file, `list` without options shows everything)")


def _rows(
    journal: JournalViews, settings: Settings, state: str | None, folder: str | None, since: float | None
) -> Iterator[Record]:
    roots = {each.name: each.path for each in settings.folders}
    if state == OutputState.WAITING:
        for file in journal.waiting_files(folder):
            if since is None or (file.since or 0.0) >= since:
                yield watched_row(file, roots.get(file.folder, Path("/")))
    if state == IGNORED:
        yield from (watched_row(file, roots.get(file.folder, Path("/"))) for file in journal.ignored_files(folder))
    else:
        yield from _image_rows(journal, state, folder, since)


def watched_row(file: WatchedFile, root: Path) -> Record:
    """A line for a file that no image was made of: it is not whole yet, or ignored."""
    return {
        **dict.fromkeys(COLUMNS),
        **FileRef(file.folder, root, file.relative).fields(),
        "state": IGNORED if file.since is None else str(OutputState.WAITING),
        "detected": None if file.since is None else timestamp(file.since),
        "reason": file.reason,
        "message": file.message or None,
        "input_size": file.size,
    }


def _image_rows(journal: JournalViews, state: str | None, folder: str | None, since: float | None) -> Iterator[Record]:
    of_output = state if state in set(OutputState) else None
    for output in journal.outputs(state=state, folder=folder, since=since):
        if of_output is None or of_output == output.state:
            yield listed(output)


def listed(output: ListedOutput) -> Record:
    """One line of `list`, as data: COLUMNS, and `file_base64` where the name is no UTF-8."""
    told = output.told.get
    return {
        "id": output.image_id,
        "folder": output.folder,
        **path_fields("file", output.path),
        "rendition": output.rendition,
        "state": output.state,
        "detected": timestamp(output.detected_at),
        "ended": told("timestamp"),
        "attempts": told("attempts", output.attempts),
        "key": output.key,
        "url": told("url"),
        "link": told("link"),
        "reason": told("reason"),
        "message": told("message"),
        "hint": told("hint"),
        "saved_bytes": told("saved_bytes"),
        "seconds": told("seconds"),
        "input_size": output.size,
        "output_size": (told("output") or {}).get("size"),
        "due": timestamp(output.due_at) if output.state in OPEN_STATES else None,
    }


def _look(settings: Settings) -> LineStyle:
    """Files as inside their folders where people read; whole paths for pipes."""
    look = terminal_look(settings, sys.stdout, dated=True)
    return look if sys.stdout.isatty() else replace(look, roots={})


def _print(rows: Iterable[Record], form: Form, look: LineStyle) -> int:
    """Print the lines as they come; gives how many there were."""
    if form == "csv":
        return _print_csv(rows)
    count = 0
    for count, row in enumerate(rows, 1):
        if form == "json":
            write_json(row)
        else:
            _print_row(row, look, first=count == 1)
    return count


def _print_csv(rows: Iterable[Record]) -> int:
    count = 0
    writer = csv.writer(_Utf8(), lineterminator="\n")
    writer.writerow(COLUMNS)
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
        writer.writerow([row.get(name) for name in COLUMNS])
    return count


class _Utf8:
    """Where the csv module writes to."""

    def write(self, text: str) -> None:
        """Hand it to standard output, in UTF-8."""
        write_text(text)


def _print_row(row: Record, look: LineStyle, *, first: bool) -> None:
    if first:
        when = f"{'DETECTED (UTC)':<{TIME_WIDTH}}  " if has_times(look.width()) else ""
        write_text(painted(f"{'ID':<{SHORT_ID}}  {when}{'STATE':<{STATE_WIDTH}}  FILE", "head", colours=look.colours) + "\n")
    sizes = {"input": {"size": row["input_size"]}, "output": {"size": row["output_size"]}}
    told = {name: value for name, value in row.items() if value is not None and name in _TOLD}
    fields = {**told, **sizes, "event": f"image.{row['state']}", "timestamp": (row["detected"] or "").ljust(TIME_WIDTH)}
    write_text(render(fields, look, (row["id"] or "").ljust(SHORT_ID)[:SHORT_ID]) + "\n")
