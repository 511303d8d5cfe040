"""`reprocess`: stored images back into the queue, behind fresh drops: those whose rule changed since, or all."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.commands.checks.apart import ChildLook
from watcher.commands.checks.identity import service_user
from watcher.commands.journal_access import reading
from watcher.commands.printing import console, note, say, write_json
from watcher.commands.steering import check_folder, steered, wake
from watcher.config.rules import folder_rules
from watcher.config.spelling import did_you_mean
from watcher.errors import WatcherError
from watcher.log.console import plain
from watcher.model import FileRef, ImageState, Observation, OutputState, Sighting
from watcher.records.reprocessing import Again, StoredFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from watcher.commands.checks.apart import Moved
    from watcher.config.schema import Settings
    from watcher.model import OutputRule, Record, Rule
    from watcher.records.views import JournalViews

PAGE: Final = 1_000


class Left(StrEnum):
    """Why a stored image stays as it is."""

    CURRENT = "current"
    """It was made under today's rule."""
    UNKNOWN_RULE = "unknown_rule"
    """Nobody knows under which rule it was made."""
    GONE = "gone"
    """Its file is not in the folder any more."""
    ELSEWHERE = "elsewhere"
    """Its original was deleted or moved when it was stored."""
    CHANGED = "changed"
    """Its file is another version by now, which is taken by itself."""
    QUEUED = "queued"
    """It is in the queue already."""
    FAILED = "failed"
    """Its newest version has failed: that is for `retry`."""


WORDS: Final[Mapping[Left, str]] = {
    Left.UNKNOWN_RULE: "under a rule that is not known, since the journal was built anew (--all takes them)",
    Left.GONE: "gone: their files are not in the folder any more",
    Left.ELSEWHERE: "with the original elsewhere: it was deleted or moved when they were stored (drop it again)",
    Left.CHANGED: "of another version by now, which is taken by itself",
    Left.QUEUED: "in the queue already",
    Left.FAILED: "failed (`retry` puts them back)",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which stored images are meant. `since`: Unix seconds, of the storing."""

    everything: bool = False
    folder: str | None = None
    rendition: str | None = None
    since: float | None = None


@dataclass(slots=True)
class ReprocessPlan:
    """What goes into the queue, and how many were left for which reason."""

    wanted: list[Again] = field(default_factory=list)
    left: Counter[Left] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """How many requests that makes, at most."""
        return sum(len(each.sighting.rule.outputs) for each in self.wanted)

    def by_folder(self) -> dict[str, tuple[int, int]]:
        """Images and requests by the folder's name."""
        images = Counter(each.sighting.file.folder for each in self.wanted)
        requests: Counter[str] = Counter()
        for each in self.wanted:
            requests[each.sighting.file.folder] += len(each.sighting.rule.outputs)
        return {folder: (count, requests[folder]) for folder, count in images.items()}

    def fields(self) -> Record:
        """For programs."""
        folders = {name: {"images": images, "requests": requests} for name, (images, requests) in self.by_folder().items()}
        left = {str(reason): self.left[reason] for reason in Left}
        return {"images": len(self.wanted), "requests": self.requests, "folders": folders, "left": left}


class UnknownRendition(WatcherError):
    """No folder that is meant has a rendition of this name."""


async def reprocess(settings: Settings, choice: Choice, *, dry_run: bool, as_json: bool) -> int:
    """Put them back into the queue, or (`dry_run`) count only. Exit status 0."""
    check_folder(settings, choice.folder)
    check_rendition(settings, choice)
    plan = ReprocessPlan()
    with reading(settings) as journal:
        if journal is not None:
            make_plan(plan, journal, settings, choice, time.time())
    made = 0
    if plan.wanted and not dry_run:
        async with steered(settings) as written:
            made = await written.reprocess(plan.wanted, time.time())
        wake(settings.state_dir)
    if as_json:
        write_json({**plan.fields(), "dry_run": dry_run, "queued": made})
    else:
        show(plan, made, dry_run=dry_run)
    return 0


def check_rendition(settings: Settings, choice: Choice) -> None:
    """Raises UnknownRendition."""
    folders = [each for each in settings.folders if choice.folder in (None, each.name)]
    known = list(dict.fromkeys(rendition.name for folder in folders for rendition in folder.renditions))
    if choice.rendition is not None and choice.rendition not in known:
        there = f"there are {', '.join(map(plain, known))}" if known else "there is none"
        raise UnknownRendition(
            f"no rendition {choice.rendition!r}; {there}", did_you_mean(choice.rendition, known).removeprefix("; ")
        )


# --- what is to be done -----------------------------------------------------------------------------------------------------


def make_plan(plan: ReprocessPlan, journal: JournalViews, settings: Settings, choice: Choice, now: float) -> None:
    """Look through what lies in the store, and at the files it came from."""
    user = service_user(settings.state_dir)
    for name, rules in folder_rules(settings).items():
        if choice.folder not in (None, name):
            continue
        found: list[tuple[Again, Left]] = []
        for file in _files(journal, name):
            verdict = judge(file, rules.rule, choice, now)
            if isinstance(verdict, Again):
                found.append((verdict, missing(file)))
            elif verdict is not None:
                plan.left[verdict] += 1
        relatives = [each.sighting.file.relative for each, _ in found]
        look = ChildLook(rules.folder.path, partial(stamps, rules.folder.path, relatives), user)
        for (each, if_missing), there in zip(found, look.result(), strict=True):
            if there is None:
                plan.left[if_missing] += 1
            elif not is_same_content(there, each.sighting.observation):
                plan.left[Left.CHANGED] += 1
            else:
                plan.wanted.append(replace(each, sighting=replace(each.sighting, observation=there)))


def _files(journal: JournalViews, folder: str) -> Iterator[StoredFile]:
    after: bytes | None = b""
    while after is not None:
        files, after = journal.stored_files(folder, after, PAGE)
        yield from files


def stamps(root: Path, relatives: Sequence[bytes], moved: Moved) -> list[Observation | None]:
    """What lies at these paths now; None where nothing does."""
    found: list[Observation | None] = []
    for relative in relatives:
        path = os.path.join(os.fsencode(root), relative)  # noqa: PTH118 - names are bytes
        moved(os.fsdecode(path))
        try:
            found.append(Observation.of(os.stat(path)))  # noqa: PTH116 - as above
        except OSError:
            found.append(None)
    return found


def is_same_content(one: Observation, other: Observation) -> bool:
    """Whether a file is as it was, whatever its rights are by now and however its share was mounted again."""
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def judge(file: StoredFile, rule: Rule, choice: Choice, now: float) -> Again | Left | None:
    """What becomes of a stored file under today's rule; None where it is not meant at all. Pure."""
    meant = [each for each in rule.outputs if choice.rendition in (None, each.rendition)]
    if choice.since is not None and all(each.at < choice.since for each in file.outputs):
        return None
    outdated = meant if choice.everything else [each for each in meant if is_outdated(file, each)]
    if not outdated:
        unknown = any((there := file.output(each.rendition)) is not None and there.rule is None for each in meant)
        return Left.UNKNOWN_RULE if unknown else Left.CURRENT
    if reason := _in_the_way(file):
        return reason
    observation = file.known.observation if file.known is not None else None
    if observation is None:
        raise AssertionError("a file that is not there was told apart before")
    again = replace(rule, outputs=tuple(outdated))
    keys = tuple(same_key(file, each) for each in outdated)
    sighting = Sighting(FileRef(file.folder, rule.root, file.relative), observation, again, now, backlog=True, keys=keys)
    return Again(sighting, file.number, choice.everything)


def is_outdated(file: StoredFile, rule: OutputRule) -> bool:
    """Whether an output would come out otherwise, or at another key, or is not there at all."""
    there = file.output(rule.rendition)
    if there is None:
        return True
    if there.rule is None:
        return False
    before = _rule_before(file, rule.rendition)
    moved = before is not None and before.store.get("path") != rule.store.get("path")
    return there.rule != rule.fingerprint or moved


def same_key(file: StoredFile, rule: OutputRule) -> str | None:
    """The key that the output has to keep: one with the date of the first detection in it. None: it is made anew."""
    there, before = file.output(rule.rendition), _rule_before(file, rule.rendition)
    template = str(rule.store.get("path"))
    if there is None or before is None or "{date" not in template or before.store.get("path") != template:
        return None
    return there.key if before.image.get("output") == rule.image.get("output") else None


def _rule_before(file: StoredFile, rendition: str | None) -> OutputRule | None:
    outputs = file.image.rule.outputs if file.image is not None else ()
    return next((each for each in outputs if each.rendition == rendition), None)


def missing(file: StoredFile) -> Left:
    """What it means that the file is not in its folder."""
    return Left.GONE if all(each.kept for each in file.outputs) else Left.ELSEWHERE


def _in_the_way(file: StoredFile) -> Left | None:
    """Why the file cannot be taken again now, or None."""
    if file.image is not None and file.image.state is not ImageState.FINISHED:
        return Left.QUEUED
    if file.known is None:
        return missing(file)
    if file.known.ignored is not None:
        return Left.GONE
    if file.image is None:
        return None
    if not is_same_content(file.image.observation, file.known.observation):
        return Left.CHANGED
    failed = any(output.state is OutputState.FAILED for output in file.image.outputs)
    return Left.FAILED if failed else None


# --- what is said -----------------------------------------------------------------------------------------------------------


def show(plan: ReprocessPlan, made: int, *, dry_run: bool) -> None:
    """Say what was done, or would be."""
    out = console()
    count = len(plan.wanted) if dry_run else made
    if not count:
        say(out, "nothing to reprocess" if dry_run else "nothing was put into the queue")
    elif dry_run:
        say(out, f"{_images(count)} would go into the queue, behind fresh drops: {_requests(plan.requests)}")
    else:
        say(out, f"{_images(count)} {'is' if count == 1 else 'are'} in the queue, behind fresh drops: {_requests(plan.requests)}")
    folders = plan.by_folder()
    for name, (images, requests) in folders.items() if len(folders) > 1 else ():
        say(out, f"  {plain(name)}: {_images(images)}, {_requests(requests)}")
    if current := plan.left[Left.CURRENT]:
        say(out, f"{_images(current)} left as {'it is' if current == 1 else 'they are'}: made under today's rule")
    for reason, words in WORDS.items():
        if plan.left[reason]:
            note(f"{_images(plan.left[reason])} left, {words}")


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _requests(count: int) -> str:
    return f"{count} request{'s' * (count != 1)}"
