"""`preview`: what a folder's rules would give, by the embedded engine, over files or a sample. Sends nothing, stores nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from watcher.commands.checks.apart import ChildLook
from watcher.commands.explain import explain_below
from watcher.commands.preview_table import Figures, Made, as_rows, figures, show_rows
from watcher.commands.printing import console, note, say, write_json
from watcher.commands.sheet import Entry, SheetPicture, details, thumbnail, write_sheet
from watcher.commands.steering import check_folder
from watcher.config.rules import folder_rules
from watcher.errors import ConfigurationError, WatcherError
from watcher.log import quiet_libraries
from watcher.log.console import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from watcher.commands.checks.apart import Moved
    from watcher.config.rules import FolderRules
    from watcher.config.schema import Settings
    from watcher.engine.work import ImageOrder, Task
    from watcher.engine.workers import WorkerPool

TIME_LIMIT: Final = 300.0
"""Seconds that one picture may take."""
FRAMES: Final = 1_000
WALK_PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a picture, and the rules it is looked at with."""

    rules: FolderRules
    relative: str
    size: int

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.rules.folder.path / self.relative


@dataclass(slots=True)
class Preview:
    """One picture: what would happen to it, and what came out."""

    candidate: Candidate
    answer: dict[str, Any]
    made: list[Made] = field(default_factory=list)

    @property
    def is_taken(self) -> bool:
        """Whether it would be sent."""
        return bool(self.answer["verdict"] == "taken")


async def preview(
    settings: Settings, paths: Sequence[str], *, folder: str | None, limit: int, output: Path, as_json: bool
) -> int:
    """Print what came out and write the sheet. Exit status 1 where there was nothing to show, or an output would be refused."""
    _require_engine()
    quiet_libraries()
    check_folder(settings, folder)
    candidates = find(settings, paths, folder)
    if not candidates:
        hint = "name pictures, or folders that have some; `explain FILE` says why one is left"
        raise WatcherError("there is no file to preview", hint)
    chosen = spread(candidates, limit)
    with tempfile.TemporaryDirectory(prefix="compressor-watcher-preview-") as place:
        previews = await run(settings, chosen, Path(place))
        shown = figures(candidates_of(candidates), [each.made for each in previews if each.is_taken], len(previews))
        if any(each.is_taken for each in previews):
            await asyncio.to_thread(write, output, previews, shown)
    report(settings, previews, shown, output, as_json=as_json)
    refused = any(made.problem for each in previews for made in each.made)
    return 1 if refused or not any(each.is_taken for each in previews) else 0


def _require_engine() -> None:
    from watcher.engine.server import require_extras  # an extra

    try:
        require_extras()
    except ConfigurationError as error:
        raise WatcherError(*error.problems) from None


def candidates_of(candidates: Sequence[Candidate]) -> tuple[int, int]:
    """How many there are, and their bytes."""
    return len(candidates), sum(each.size for each in candidates)


# --- which files ------------------------------------------------------------------------------------------------------------


def find(settings: Settings, paths: Sequence[str], folder: str | None) -> list[Candidate]:
    """The files that are meant, by their paths: each that is named, and all of a directory that the folder's rules let in."""
    rules = folder_rules(settings)
    tops = [Path(os.path.normpath(Path(path).absolute())) for path in paths] or [rules[folder].folder.path if folder else Path()]
    found: dict[Path, Candidate] = {}
    for top in tops:
        placed = rules_for(rules, top, folder)
        for relative, size in ChildLook(top, partial(files_below, placed, top)).result(WALK_PATIENCE):
            candidate = Candidate(placed, relative, size)
            found.setdefault(candidate.path, candidate)
    return [found[path] for path in sorted(found)]


def rules_for(rules: dict[str, FolderRules], top: Path, folder: str | None) -> FolderRules:
    """The rules of the watched folder that a path lies in; elsewhere those of the folder that is named, or of the only one."""
    for each in rules.values():
        if top.is_relative_to(each.folder.path) and folder in (None, each.folder.name):
            return each
    if folder is None and len(rules) != 1:
        names = ", ".join(rules) or "none"
        raise WatcherError(f"{top} lies in no watched folder", f"say with --folder whose rules to use; there are {names}")
    meant = next(iter(rules.values())) if folder is None else rules[folder]
    base = top if top.is_dir() else top.parent
    return replace(meant, folder=meant.folder.model_copy(update={"path": base}))


def files_below(rules: FolderRules, top: Path, moved: Moved) -> list[tuple[str, int]]:
    """Paths inside the rules' folder, and sizes. Raises WatcherError where nothing is there."""
    if not os.path.lexists(top):
        raise WatcherError(f"{top} is not there", "name pictures, or folders that have some")
    if not top.is_dir():
        return [(os.path.relpath(top, rules.folder.path), top.stat().st_size)]
    return list(_walk(rules, top, moved))


def _walk(rules: FolderRules, top: Path, moved: Moved) -> Iterator[tuple[str, int]]:
    for directory, names, files in os.walk(top):
        moved(directory)
        inside = os.path.relpath(directory, rules.folder.path)
        prefix = "" if inside == "." else f"{inside}/"
        names[:] = sorted(name for name in names if rules.ignores_directory(prefix + name) is None)
        for name in sorted(files):
            path = os.path.join(directory, name)  # noqa: PTH118 - os.walk speaks of texts
            if rules.ignores_name(prefix + name) is None and os.path.isfile(path):  # noqa: PTH113 - as above
                yield prefix + name, os.stat(path).st_size  # noqa: PTH116 - as above


def spread(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """So many of them, at even distances: a sample of the whole tree. All where there are no more, or `limit` is 0."""
    count = len(candidates)
    if not limit or count <= limit:
        return list(candidates)
    return [candidates[(2 * number + 1) * count // (2 * limit)] for number in range(limit)]


# --- the work ---------------------------------------------------------------------------------------------------------------


async def run(settings: Settings, candidates: Sequence[Candidate], place: Path) -> list[Preview]:
    """Have the engine make every output of every picture, into files of `place`."""
    from watcher.engine.workers import WorkerPool  # an extra

    count = settings.engine.concurrency or os.cpu_count() or 1
    pool = WorkerPool(count, TIME_LIMIT, settings.engine.max_pixels)
    await pool.start()
    turns = asyncio.Semaphore(2 * count)
    done = 0
    status = Console(stderr=True).status("")

    async def one(number: int, candidate: Candidate) -> Preview:
        nonlocal done
        async with turns:
            answer = await asyncio.to_thread(explain_below, settings, candidate.rules, candidate.relative)
            made = Preview(candidate, answer)
            if made.is_taken:
                made.made = await _outputs(settings, pool, made, place / str(number))
        done += 1
        status.update(f"{done} of {len(candidates)} pictures")
        return made

    try:
        with status:
            return await asyncio.gather(*(one(number, each) for number, each in enumerate(candidates)))
    finally:
        await pool.stop()


async def _outputs(settings: Settings, pool: WorkerPool, preview: Preview, place: Path) -> list[Made]:
    made = []
    for number, rule in enumerate(preview.candidate.rules.rule.outputs):
        told = preview.answer["outputs"][number]
        file = place.with_name(f"{place.name}-{number}")
        base = Made(preview.candidate.relative, rule.rendition, preview.candidate.size, told.get("key"), file)
        base = replace(base, warnings=tuple(told.get("warnings", ())), problem=str(told.get("problem", "")))
        made.append(base if base.problem else await _make(settings, pool, base, preview.candidate.path, rule.image))
    return made


async def _make(settings: Settings, pool: WorkerPool, base: Made, source: Path, image: Any) -> Made:
    from watcher.engine.refusal import Refusal  # an extra

    try:
        outcome = await pool.run(_task(settings, source, base.file, image))
    except Refusal as refusal:
        return replace(base, problem=refusal.message)
    return replace(
        base,
        before=(outcome.input_width, outcome.input_height),
        after=(outcome.width, outcome.height),
        size=outcome.size,
        format=outcome.output_format,
    )


def _task(settings: Settings, source: Path, target: Path, image: Any) -> Task:
    from watcher.engine.work import Limits, Task  # an extra

    return Task(source, target, image_order(image), Limits(settings.engine.max_pixels, FRAMES))


def image_order(image: Any) -> ImageOrder:
    """What the engine is asked to do by an `image` table. Raises Refusal where it does not know it."""
    from watcher.engine.orders import read_order  # an extra

    return read_order({"url": "https://example.com/picture", "image": image}).image


# --- what is said -----------------------------------------------------------------------------------------------------------


def write(path: Path, previews: Sequence[Preview], shown: Figures) -> None:
    """The sheet: each picture before, and beside it what came out. Raises WatcherError where it cannot be written."""
    taken = [each for each in previews if each.is_taken]
    summary = f"{shown.words()}. Made by the embedded engine; nothing was sent or stored."
    try:
        write_sheet(path, "Before and after", summary, (_entry(each) for each in taken))
    except OSError as error:
        raise WatcherError(f"{path} cannot be written: {error.strerror}", "name another place with --output FILE") from None


def _entry(preview: Preview) -> Entry:
    candidate, fine = preview.candidate, [each for each in preview.made if not each.problem]
    width, height = next((each.before for each in fine), (None, None))
    before = SheetPicture("before", candidate.size, width, height, preview.answer["format"], thumbnail(candidate.path))
    after = tuple(
        SheetPicture(each.rendition or "own output", each.size, *each.after, each.format, thumbnail(each.file)) for each in fine
    )
    if fine:
        pair = details(candidate.path, fine[0].file)
        labels = ("before, detail", f"{after[0].label}, detail")
        close = tuple(SheetPicture(label, preview=cut, exact=True) for label, cut in zip(labels, pair, strict=True) if cut)
        after = (after[0], *close, *after[1:])
    problems = "; ".join(f"{each.rendition or 'own output'}: {each.problem}" for each in preview.made if each.problem)
    warnings = ", ".join(dict.fromkeys(word for each in fine for word in each.warnings))
    return Entry(candidate.relative, before, after, "failed" if problems else "", problems or warnings)


def report(settings: Settings, previews: Sequence[Preview], shown: Figures, output: Path, *, as_json: bool) -> None:
    """The table, what it comes to, and where the sheet lies."""
    made = [each for preview in previews for each in preview.made]
    left = [preview for preview in previews if not preview.is_taken]
    sheet = str(output.absolute()) if any(each.is_taken for each in previews) else None
    if as_json:
        write_json({"outputs": [each.fields() for each in made], **shown.fields(), "sheet": sheet})
    else:
        out = console()
        show_rows(out, as_rows(made))
        say(out, shown.words())
        if sheet is not None:
            say(out, f"Before and after: {plain(sheet)}")
    for preview in left:
        note(f"left out: {preview.candidate.relative}: {preview.answer.get('message', preview.answer['verdict'])}")
    if not settings.compressor.embedded:
        note("made by the embedded engine: what the API makes of them may be a little larger or smaller")
