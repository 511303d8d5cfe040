"""`list` and `show`: the images that the journal knows."""

from __future__ import annotations

import csv
import os
import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from rich.text import Text

from watcher.commands.output import console, flush, moment, note, outcome, plain, say, state_text, write_json, write_text
from watcher.commands.reading import reading
from watcher.config.units import human_size, parse_duration
from watcher.model import OPEN_STATES, ImageState, OutputState, timestamp
from watcher.result_records import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

    from watcher.config.schema import Settings
    from watcher.model import Image, Output, Record
    from watcher.records.queries import NumberedEnding
    from watcher.records.views import JournalViews, Step, Story

Form = Literal["table", "json", "csv"]

STATES: Final = (*OutputState, *ImageState)
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
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


# --- list -------------------------------------------------------------------------------------------------------------------


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


def list_images(settings: Settings, state: str | None, folder: str | None, since: float | None, *, limit: int, form: Form) -> int:
    """Print a line for each output of each image, newest image first; `limit` lines, or all where it is 0.

    `state` is one of STATES: of the output, or of the image as a whole. `since` is Unix seconds, of the detection.
    """
    with reading(settings) as journal:
        rows = _rows(journal, state, printable(folder), since) if journal is not None else iter(())
        count = _print(islice(rows, limit) if limit else rows, form)
    flush()
    if not count and folder is not None and folder not in (names := [each.name for each in settings.folders]):
        note(f"no folder {folder!r} in the configuration; there are {', '.join(names)}")
    return 0


def _rows(journal: JournalViews, state: str | None, folder: str | None, since: float | None) -> Iterator[Record]:
    of_output = state if state in set(OutputState) else None
    for image in journal.images(state=state, folder=folder, since=since):
        endings = {ending.rendition: ending for ending in journal.endings_of(image.id)}
        for output in image.outputs:
            if of_output in (None, output.state):
                yield listed(image, output, endings.get(output.rendition))


def listed(image: Image, output: Output, ending: NumberedEnding | None) -> Record:
    """One line of `list`, as data: COLUMNS, and `file_base64` where the name is no UTF-8."""
    record = ending.record if ending is not None else {}
    told = {name: record.get(name) for name in ("url", "link", "reason", "message", "hint", "saved_bytes", "seconds")}
    return {
        "id": image.id,
        **image.file.fields(),
        "rendition": output.rendition,
        "state": str(output.state),
        "detected": timestamp(image.detected_at),
        "ended": record.get("timestamp"),
        "attempts": record.get("attempts", output.attempts),
        "key": output.key,
        **told,
        "input_size": image.facts.size if image.facts is not None else image.observation.size,
        "output_size": (record.get("output") or {}).get("size"),
        "due": timestamp(output.due_at) if output.state in OPEN_STATES else None,
    }


def _print(rows: Iterable[Record], form: Form) -> int:
    """Print the lines as they come; gives how many there were."""
    if form == "csv":
        return _print_csv(rows)
    count = 0
    out = console()
    for count, row in enumerate(rows, 1):
        if form == "json":
            write_json(row)
        else:
            _print_row(out, row, first=count == 1)
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


def _print_row(out: Console, row: Record, *, first: bool) -> None:
    if first:
        say(out, Text(f"{'ID':<{SHORT_ID}}  {'DETECTED (UTC)':<19}  {'STATE':<10}  FILE", "bold"))
    name = plain(row["file"]) + (f" [{plain(row['rendition'])}]" if row["rendition"] is not None else "")
    detected = str(row["detected"])[:19].replace("T", " ")
    line = Text.assemble(f"{row['id'][:SHORT_ID]}  {detected}  ", state_text(row["state"], 10), f"  {name}")
    if row["url"] or row["reason"]:
        line.append(f"  {plain(outcome({key: value for key, value in row.items() if value is not None}))}", "dim")
    say(out, line)


# --- show -------------------------------------------------------------------------------------------------------------------


def show_image(settings: Settings, what: str, *, as_json: bool) -> int:
    """Print the history of the image with this id (or its beginning), or of the newest at this path. Exit status 1: none."""
    with reading(settings) as journal:
        if journal is None:
            return 1
        stories = journal.stories(what) or journal.stories(os.path.realpath(what))
    if not stories:
        note(f"no image is known by this path or id: {what} (`explain` says whether the file would be taken)")
        return 1
    if _is_ambiguous(stories, what):
        note(f"several images have an id that begins with {what}: " + ", ".join(story.image.id for story in stories))
        return 1
    if as_json:
        write_json(told(stories))
    else:
        _show(console(), stories)
    return 0


def _is_ambiguous(stories: Sequence[Story], what: str) -> bool:
    return len(stories) > 1 and all(story.image.id.startswith(what) for story in stories)


def told(stories: Sequence[Story]) -> Record:
    """The newest image as data, with what was taken at its path before it."""
    story, *earlier = stories
    image = story.image
    endings = {ending.rendition: ending for ending in story.endings}
    facts = image.facts
    return {
        "id": image.id,
        **image.file.fields(),
        "state": str(image.state),
        "detected": timestamp(image.detected_at),
        "size": image.observation.size,
        "sha1": facts.sha1 if facts else None,
        "format": str(facts.format) if facts else None,
        "on_success": image.rule.on_success,
        "on_failure": image.rule.on_failure,
        "outputs": [_told_output(output, endings.get(output.rendition)) for output in image.outputs],
        "history": [_told_step(step) for step in story.steps],
        "earlier": [
            {
                "id": each.image.id,
                "detected": timestamp(each.image.detected_at),
                "states": [str(output.state) for output in each.image.outputs],
            }
            for each in earlier
        ],
    }


def _told_output(output: Output, ending: NumberedEnding | None) -> Record:
    is_open = output.state in OPEN_STATES
    return {
        "rendition": output.rendition,
        "state": str(output.state),
        "key": output.key,
        "attempts": ending.record.get("attempts", output.attempts) if ending else output.attempts,
        "answer_unknown": output.doubt,
        "job_id": output.job_id,
        "due": timestamp(output.due_at) if is_open else None,
        "ending": ending.record if ending else None,
    }


def _told_step(step: Step) -> Record:
    detail = {name: timestamp(value) if name == "due_at" else value for name, value in step.detail.items()}
    return {"timestamp": timestamp(step.at), "event": step.event, "rendition": step.rendition, **detail}


def _show(out: Console, stories: Sequence[Story]) -> None:
    story, *earlier = stories
    image = story.image
    say(out, Text(plain(image.file.path), "bold"))
    say(out, f"  id        {image.id}")
    say(out, f"  folder    {plain(image.file.folder)}")
    say(out, f"  detected  {moment(image.detected_at)} UTC, {human_size(image.observation.size)}")
    if image.facts is not None:
        say(out, f"  content   {image.facts.format}, SHA-1 {image.facts.sha1}")
    say(out, f"  state     {image.state}; afterwards: {image.rule.on_success}, if an output fails: {image.rule.on_failure}")
    endings = {ending.rendition: ending for ending in story.endings}
    for output in image.outputs:
        _show_output(out, output, endings.get(output.rendition))
    say(out, Text("\n  history (UTC)", "bold"))
    for step in story.steps:
        _show_step(out, step, endings)
    for each in earlier:
        states = ", ".join(str(output.state) for output in each.image.outputs)
        say(out, f"\n  earlier   {each.image.id}  {moment(each.image.detected_at)}  {states}")


def _show_output(out: Console, output: Output, ending: NumberedEnding | None) -> None:
    name = "own output" if output.rendition is None else plain(output.rendition)
    say(out, Text.assemble(f"\n  {name}: ", state_text(output.state), f"  {plain(output.key or '')}"))
    if output.state in OPEN_STATES:
        doubt = "; a request was sent and its answer is not known" if output.doubt else ""
        job = f"; job {plain(output.job_id)}" if output.job_id else ""
        say(out, f"    {output.attempts} attempts, due {moment(output.due_at)}{job}{doubt}")
    if ending is not None and (words := outcome(ending.record)):
        say(out, f"    {plain(words)}")


def _show_step(out: Console, step: Step, endings: dict[str | None, NumberedEnding]) -> None:
    rendition = f"[{plain(step.rendition)}] " if step.rendition is not None else ""
    event = step.event.removeprefix("image.")
    words = _step_words(step, endings.get(step.rendition))
    say(out, Text.assemble(f"    {moment(step.at)}  {rendition}", state_text(event, 10), f"  {plain(words)}"))


def _step_words(step: Step, ending: NumberedEnding | None) -> str:
    """What a step of the history has to tell besides its name."""
    if ending is not None and ending.record["event"] == step.event:
        return outcome(ending.record)
    words = []
    for name, value in step.detail.items():
        if name == "due_at":
            words.append(f"due {moment(value)}")
        elif value not in (None, ""):
            words.append(str(value) if name in ("message", "note") else f"{name} {value}")
    return ", ".join(words)
