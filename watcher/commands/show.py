"""`show`: one image's whole history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from watcher.commands.journal_access import reading
from watcher.commands.naming import Ambiguous, places_of, root_of, stories_of
from watcher.commands.printing import console, moment, note, say, state_text, write_json
from watcher.config.units import human_size
from watcher.log.console import outcome, plain
from watcher.model import OPEN_STATES, FileRef, ImageState, OutputState, timestamp
from watcher.shown.links import output_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from watcher.config.schema import Settings
    from watcher.model import Output, PublishedObject, Record
    from watcher.records.cluster import Whereabouts
    from watcher.records.queries import NumberedEnding
    from watcher.records.views import Story
    from watcher.shown.images import HistoryStep


def show_image(settings: Settings, what: str, *, as_json: bool, host: str | None = None) -> int:
    """Print the history of the image with this id (or its beginning), or of the newest of the file that `what` names: by its
    path, the key of an output, or an address. Exit status 1: none.
    """
    with reading(settings, host) as journal:
        if journal is None:
            return 1
        try:
            stories = stories_of(journal, settings, what)
        except Ambiguous as error:
            note(str(error))
            return 1
        objects = (
            [each for place in places_of(journal, settings, what) for each in journal.published(place)] if not stories else []
        )
    if stories:
        shown = told(stories)
    elif objects:
        shown = told_published(settings, objects)
    else:
        note(f"no image is known by this path, id, key or address: {what} (`explain` says whether the file would be taken)")
        return 1
    if as_json:
        write_json(shown)
    elif stories:
        _show(console(), stories)
    else:
        _show_published(console(), shown)
    return 0


def told_published(settings: Settings, objects: Sequence[PublishedObject]) -> Record:
    """A file whose history has left the journal: what lies in the store of it is known all the same."""
    first = objects[0]
    file = FileRef(first.folder, root_of(settings, first.folder), first.relative)
    return {
        "id": first.facts.get("id"),
        **file.fields(),
        "state": str(ImageState.FINISHED),
        "outputs": [{"state": str(OutputState.STORED), **output_record(each)} for each in objects],
        "history": [],
        "earlier": [],
    }


def _show_published(out: Console, shown: Record) -> None:
    say(out, Text(plain(shown["file"]), "bold"))
    say(out, f"  folder    {plain(shown['folder'])}")
    for output in shown["outputs"]:
        name = "own output" if output["rendition"] is None else plain(output["rendition"])
        say(out, Text.assemble(f"\n  {name}: ", state_text(output["state"]), f"  {plain(output['key'])}"))
        say(out, f"    {plain(output['link'] or output['url'])}, since {plain(output['at'])}")
    say(out, "\n  its history is older than `keep` and is not in the journal any more")


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
        **({} if story.hosts is None else {"in_hand_of": story.hosts.in_hand_of, "seen_by": list(story.hosts.seen_by)}),
        "outputs": [_told_output(output, endings.get(output.rendition), story.hosts) for output in image.outputs],
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


def _told_output(output: Output, ending: NumberedEnding | None, hosts: Whereabouts | None) -> Record:
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
        **({} if hosts is None else {"host": hosts.ended_by.get(output.rendition)}),
    }


def _host_words(hosts: Whereabouts) -> str:
    """Which hosts had or have to do with it."""
    words = [f"ended by {', '.join(map(plain, dict.fromkeys(hosts.ended_by.values())))}"] if hosts.ended_by else []
    words += [f"in the hands of {plain(hosts.in_hand_of)}"] if hosts.in_hand_of else []
    words += [f"seen by {', '.join(map(plain, hosts.seen_by))}"] if hosts.seen_by else []
    return "; ".join(words) or "none"


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
    if story.hosts is not None:
        say(out, f"  hosts     {_host_words(story.hosts)}")
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
