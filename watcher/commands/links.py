"""`links`: what is published, in the forms that people paste and programs read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from watcher.commands.journal_access import reading
from watcher.commands.naming import place_in_folders, places_of, root_of
from watcher.commands.printing import flush, note, write_text
from watcher.commands.steering import check_folder
from watcher.config.rules import folder_rules
from watcher.log.console import plain
from watcher.model import timestamp
from watcher.shown.links import FORMS, Form, PublishedFile, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from watcher.config.schema import Settings
    from watcher.model import PublishedObject
    from watcher.records.published import Place
    from watcher.records.views import JournalViews

PAGE: Final = 1_000


def check_form(text: str) -> Form:
    """The form, if there is one of this name. ValueError."""
    for form in FORMS:
        if text == form:
            return form
    raise ValueError(f"no such form {text!r}; there are {', '.join(FORMS)}")


def print_links(
    settings: Settings, names: Sequence[str], form: Form, *, folder: str | None, since: float | None, host: str | None = None
) -> int:
    """Print the links of these files, or of all files of a folder (of all folders), as far as stored since (Unix seconds).

    Exit status 1 where nothing was found, or one of the names means nothing.
    """
    check_folder(settings, folder)
    with reading(settings, host) as journal:
        if journal is None:
            return 1
        gathered = Gathering(journal, settings, since)
        files = gathered.named(names) if names else gathered.folders(folder)
        for line in lines(files, form):
            write_text(line + "\n")
        flush()
    if not gathered.found and not gathered.missing:
        note("nothing is published that fits")
    for name in gathered.missing:
        note(f"nothing is published of {plain(name)} (`show` says what is known of a file, `explain` what it would get)")
    return 0 if gathered.found and not gathered.missing else 1


class Gathering:
    """Finds the files; keeps count of what was found, and what was asked for in vain."""

    def __init__(self, journal: JournalViews, settings: Settings, since: float | None) -> None:
        self._journal = journal
        self._settings = settings
        self._since = None if since is None else timestamp(since)
        self._rules = {name: rules.rule for name, rules in folder_rules(settings).items()}
        self.found = 0
        self.missing: list[str] = []

    def named(self, names: Iterable[str]) -> Iterator[PublishedFile]:
        """The files that are named, each once; a directory stands for all below it."""
        seen: set[Place] = set()
        for name in dict.fromkeys(names):
            is_known = False
            for place, outputs in self._of_name(name):
                is_known = is_known or place in seen
                if place not in seen and (file := self._file(outputs)) is not None:
                    is_known = True
                    seen.add(place)
                    yield file
            if not is_known:
                self.missing.append(name)

    def _of_name(self, name: str) -> Iterator[tuple[Place, Sequence[PublishedObject]]]:
        inside = place_in_folders(self._settings, name) if os.path.isdir(name) else None  # noqa: PTH112 - the name may hold any bytes
        if inside is not None:
            folder, relative = inside
            for outputs in self._of_folder(folder):
                if not relative or outputs[0].relative.startswith(relative + b"/"):
                    yield (folder, outputs[0].relative), outputs
            return
        for place in places_of(self._journal, self._settings, name):
            yield place, self._journal.published(place)

    def folders(self, only: str | None) -> Iterator[PublishedFile]:
        """The files of the watched folders, or of one of them, by their paths."""
        for folder in self._settings.folders:
            if only is None or folder.name == only:
                for outputs in self._of_folder(folder.name):
                    if (file := self._file(outputs)) is not None:
                        yield file

    def _of_folder(self, folder: str) -> Iterator[list[PublishedObject]]:
        after: bytes | None = None
        while True:
            objects, after = self._journal.published_page(folder, after, PAGE)
            by_file: dict[bytes, list[PublishedObject]] = {}
            for each in objects:
                by_file.setdefault(each.relative, []).append(each)
            yield from by_file.values()
            if after is None:
                return

    def _file(self, outputs: Sequence[PublishedObject]) -> PublishedFile | None:
        """The file of these outputs, unless nothing of it fits."""
        if not outputs or (self._since is not None and all(str(each.facts.get("at")) < self._since for each in outputs)):
            return None
        folder = outputs[0].folder
        file = PublishedFile.of(root_of(self._settings, folder), outputs, self._rules.get(folder))
        if file is not None:
            self.found += 1
        return file
