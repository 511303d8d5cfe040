"""`show`: one image's whole history."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.text import Text

from watcher.commands.output import console, moment, note, say, state_text, write_json
from watcher.commands.reading import reading
from watcher.config.units import human_size
from watcher.log.console import outcome, plain
from watcher.model import OPEN_STATES, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from watcher.config.schema import Settings
    from watcher.model import Output, Record
    from watcher.records.queries import NumberedEnding
    from watcher.records.views import HistoryStep, Story


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


def _told_step(step: HistoryStep) -> Record:
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


def _show_step(out: Console, step: HistoryStep, endings: dict[str | None, NumberedEnding]) -> None:
    rendition = f"[{plain(step.rendition)}] " if step.rendition is not None else ""
    event = step.event.removeprefix("image.")
    words = _step_words(step, endings.get(step.rendition))
    say(out, Text.assemble(f"    {moment(step.at)}  {rendition}", state_text(event, 10), f"  {plain(words)}"))


def _step_words(step: HistoryStep, ending: NumberedEnding | None) -> str:
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
