"""`retry`: failed images back into the queue, under the rule that their folder has today; or, instead, dismissed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from watcher.commands.journal_access import reading
from watcher.commands.naming import stories_of
from watcher.commands.printing import console, note, say
from watcher.commands.steering import steered, wake
from watcher.config.rules import folder_rules
from watcher.log.console import plain
from watcher.model import OutputState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.config.schema import Settings
    from watcher.model import Image, Rule
    from watcher.records.views import JournalViews, Story


NOT_KNOWN: Final = (
    "no image has this id, and no file this path, key or address "
    "(`list --state failed` shows those that failed; of an id at least 4 characters are needed)"
)


async def retry_images(settings: Settings, names: Sequence[str], *, all_failed: bool, host: str | None = None) -> int:
    """Queue a new image for each failed one that is named (by its id or the beginning of it, path, key or address), or for all;
    with `host` only of those that this one ended.

    Exit status 1 where a name means nothing or its image cannot be taken again; the others are queued all the same.
    """
    with reading(settings, host) as journal:
        if journal is None:
            return 1
        wanted, problems = resolve(journal, settings, names)
        chosen = _chosen(journal, wanted, all_failed=all_failed, host=host)
    made = 0 if chosen == [] else await _queue(settings, chosen)
    if not all_failed and made < len(wanted):
        problems.append(f"{len(wanted) - made} of them got a newer image in this moment and were left to that")
    for problem in problems:
        note(problem)
    woken = wake(settings.state_dir) if made else False
    say(console(), summary(made, woken=woken))
    return 1 if problems else 0


async def dismiss_images(settings: Settings, names: Sequence[str], *, all_failed: bool, host: str | None = None) -> int:
    """Let failed images that are named, or all, count as failed no longer. Exit status 1 where a name means no failed image."""
    with reading(settings, host) as journal:
        if journal is None:
            return 1
        wanted, problems = resolve(journal, settings, names, why_settled)
        chosen = _chosen(journal, wanted, all_failed=all_failed, host=host)
    count = 0
    if chosen != []:
        async with steered(settings) as steering:
            count = len(await steering.dismiss_failed(chosen, time.time()))
    if not all_failed and count < len(wanted):
        problems.append(f"{len(wanted) - count} of them were dismissed before")
    for problem in problems:
        note(problem)
    say(console(), f"{count or 'no'} image{'' if count == 1 else 's'} dismissed; `show` still tells what happened")
    return 1 if problems else 0


def _chosen(journal: JournalViews, wanted: list[str], *, all_failed: bool, host: str | None) -> list[str] | None:
    """The ids of the images that are meant; None for all that failed."""
    if not all_failed:
        return wanted
    return None if host is None else journal.failed_ids()


def resolve(
    journal: JournalViews,
    settings: Settings,
    names: Sequence[str],
    why: Callable[[JournalViews, Settings, Story], str | None] | None = None,
) -> tuple[list[str], list[str]]:
    """The ids of the images that can be retried, named by id, path, key or address; and what is wrong with the others.

    `why` says it of one: why it cannot be retried, unless something else is to be done with it.
    """
    what_is_wrong = why or why_not
    found: dict[str, None] = {}
    problems = []
    for given in dict.fromkeys(names):
        stories = _named(journal, settings, given)
        if not stories:
            problems.append(f"{given}: {NOT_KNOWN}")
        elif len(stories) > 1 and all(story.image.id.startswith(given) for story in stories):
            problems.append(f"{given}: {len(stories)} images have an id that begins so; give more of it")
        elif problem := what_is_wrong(journal, settings, stories[0]):
            problems.append(f"{stories[0].image.id} ({plain(stories[0].image.file.path)}): {problem}")
        else:
            found[stories[0].image.id] = None
    return list(found), problems


def _named(journal: JournalViews, settings: Settings, given: str) -> list[Story]:
    """The images that are meant, newest first. A key that other files have too means the file that failed for want of it."""
    if by_id := [story for story in journal.stories(given) if story.image.id.startswith(given)]:
        return by_id
    failed = journal.owners_of_failures(given)
    return journal.stories_at(failed) if failed else stories_of(journal, settings, given)


def why_not(journal: JournalViews, settings: Settings, story: Story) -> str | None:
    """Why an image cannot be retried, or None."""
    if problem := not_failed(story.image):
        return problem
    if story.image.file.folder not in {folder.name for folder in settings.folders}:
        return f"its folder {plain(story.image.file.folder)} is not in the configuration any more"
    return why_settled(journal, settings, story)


def why_settled(journal: JournalViews, _settings: Settings, story: Story) -> str | None:
    """Why a failure needs nothing more, or is none; None where it counts as failed, or was dismissed."""
    image = story.image
    if problem := not_failed(image):
        return problem
    if retried := next((step.detail.get("as") for step in story.steps if step.event == "retried"), None):
        return f"it was retried before, as {retried}"
    versions = journal.stories(os.fspath(image.file.path))
    if versions and versions[0].image.id != image.id:
        return f"its file has a newer image, {versions[0].image.id}"
    return None


def not_failed(image: Image) -> str | None:
    """Why there is nothing to retry, or None."""
    if not any(output.state is OutputState.FAILED for output in image.outputs):
        return f"it has not failed, it is {', '.join(sorted({str(output.state) for output in image.outputs}))}"
    if image.open_outputs:
        return "other outputs of it are still under way; retry when they have ended"
    return None


async def _queue(settings: Settings, ids: Sequence[str] | None) -> int:
    """Make the new images; gives how many."""
    rules = folder_rules(settings)

    def rule_for(folder: str) -> Rule | None:
        return rules[folder].rule if folder in rules else None

    async with steered(settings) as journal:
        return len(await journal.retry(ids, rule_for, time.time()))


def summary(count: int, *, woken: bool) -> str:
    """What the command says at its end."""
    if not count:
        return "nothing was put back in the queue"
    images = "1 image is" if count == 1 else f"{count} images are"
    return f"{images} in the queue again" + ("" if woken else "; the daemon takes them when it looks, or when it is started")
