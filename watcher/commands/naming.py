"""What people call a file: its path, the id of an image (or the id's beginning), the key of an output, or an address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from watcher.config.rules import folder_rules
from watcher.errors import WatcherError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.config.schema import Settings
    from watcher.records.published import Place
    from watcher.records.views import JournalViews, Story


class Ambiguous(WatcherError):
    """The beginning of an id fits several images."""


def buckets_of(settings: Settings) -> list[str]:
    """The buckets that the folders publish into."""
    outputs = (output for rules in folder_rules(settings).values() for output in rules.rule.outputs)
    return list(dict.fromkeys(str(output.store["bucket"]) for output in outputs))


def stories_of(journal: JournalViews, settings: Settings, what: str) -> list[Story]:
    """The images that `what` names, newest first: one by its id, or all of a file. Raises Ambiguous."""
    found = journal.stories(what) or journal.stories(os.path.realpath(what))
    if found:
        refuse_several(found, what)
        return found
    return journal.stories_at(journal.owners(what, buckets_of(settings)))


def refuse_several(stories: Sequence[Story], what: str) -> None:
    """Raises Ambiguous where `what` is the beginning of more than one id."""
    if len(stories) > 1 and all(story.image.id.startswith(what) for story in stories):
        ids = ", ".join(story.image.id for story in stories)
        raise Ambiguous(f"several images have an id that begins with {what}: {ids}", "give more of it")


def places_of(journal: JournalViews, settings: Settings, what: str) -> list[Place]:
    """The files that `what` names. Raises Ambiguous."""
    stories = stories_of(journal, settings, what)
    if stories:
        return list(dict.fromkeys((story.image.file.folder, story.image.file.relative) for story in stories))
    inside = place_in_folders(settings, what)
    if inside is not None and journal.published(inside):
        return [inside]
    return journal.owners(what, buckets_of(settings))


def place_in_folders(settings: Settings, what: str) -> Place | None:
    """The watched folder that a path lies in, and the path inside it (empty: the folder itself)."""
    for path in (os.path.abspath(os.fsencode(what)), os.path.realpath(os.fsencode(what))):  # noqa: PTH100 - names are bytes
        for folder in settings.folders:
            root = os.fsencode(folder.path).rstrip(b"/")
            if path == root or path.startswith(root + b"/"):
                return folder.name, path[len(root) + 1 :]
    return None


def root_of(settings: Settings, folder: str) -> Path:
    """Where a folder lies; one that is not configured any more has lost its place."""
    return next((each.path for each in settings.folders if each.name == folder), Path("/"))
