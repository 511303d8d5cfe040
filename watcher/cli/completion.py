"""Values for the shell's completion: folders, states, receivers, failed images. What cannot be read completes to nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import typer  # noqa: TC002 - typer reads the annotations of completions while it runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.config.schema import Settings

MOST_IDS: Final = 50
"""Failed images that are offered, the newest first."""

Found = list[tuple[str, str]]
"""Values, each with a word of help."""


def folders(context: typer.Context, incomplete: str) -> Found:
    """The names of the configured folders."""
    return _of_settings(context, incomplete, lambda settings: [(each.name, str(each.path)) for each in settings.folders])


def receivers(context: typer.Context, incomplete: str) -> Found:
    """The names of the receivers of notifications."""
    return _of_settings(context, incomplete, lambda settings: [(name, "") for name in settings.notify])


def states(incomplete: str) -> list[str]:
    """The states that `list` knows."""
    from watcher.commands.listing import STATES

    return [str(state) for state in STATES if state.startswith(incomplete)]


def renditions(context: typer.Context, incomplete: str) -> Found:
    """The names of the configured renditions, with the folders that have them."""
    return _of_settings(
        context,
        incomplete,
        lambda settings: [(each.name, folder.name) for folder in settings.folders for each in folder.renditions],
    )


def forms(incomplete: str) -> list[str]:
    """The forms of `links`."""
    from watcher.shown.links import FORMS

    return [form for form in FORMS if form.startswith(incomplete)]


def failed_images(context: typer.Context, incomplete: str) -> Found:
    """The ids of failed images, with their files."""
    return _of_settings(context, incomplete, _failed)


def _failed(settings: Settings) -> Found:
    from watcher.records.place import JournalPlace
    from watcher.records.views import JournalViews

    with JournalViews.at(JournalPlace.of(settings)) as journal:
        return [(image.id, str(image.file.path.name)) for image in journal.images(state="failed", limit=MOST_IDS)]


def _of_settings(context: typer.Context, incomplete: str, values: Callable[[Settings], Found]) -> Found:
    from watcher.cli.options import load

    with suppress(Exception):  # the prompt is no place to say what is wrong, whatever it is; the command will
        settings, _ = load(context.params.get("config"), "read")
        return [(value, words) for value, words in values(settings) if value.startswith(incomplete)]
    return []
