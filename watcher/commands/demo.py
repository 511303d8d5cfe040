"""`demo`: the whole thing on this machine with no account. A folder plays the bucket, the embedded engine plays the API."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table

from watcher.app import started
from watcher.commands.explain import explanation
from watcher.commands.printing import say_rows
from watcher.commands.sheet import Entry, SheetPicture, saved_words, thumbnail, write_sheet
from watcher.commands.terminal import terminal_look
from watcher.config.loading import load_settings
from watcher.config.units import human_size
from watcher.errors import WatcherError
from watcher.log import CountingLog, JsonLog, quiet_libraries
from watcher.log.console import CLEAR_LINE, Tally, outcome, plain
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.app import App
    from watcher.config.schema import Settings
    from watcher.log import Level

BUCKET: Final = "demo-bucket"
CALM_SECONDS: Final = 3.0
"""When nothing is under way any more for so long, what is left is not whole and never will be: the demo copied it itself."""
MARKER: Final = ".made-by-compressor-watcher-demo"
MADE: Final = ("drop", "bucket", "state")
"""What a demo makes, and removes when it is run again; the marker says that it did."""


class DemoLog:
    """The log of the demo: prints the lines that matter and keeps the endings for the table."""

    def __init__(self, settings: Settings) -> None:
        self.endings: list[dict[str, Any]] = []
        self.ignored: dict[str, str] = {}
        look = terminal_look(settings, sys.stdout, prefix=lambda: CLEAR_LINE) if sys.stdout.isatty() else None
        self.tally = Tally()
        self.log = CountingLog(JsonLog("info", look, clock=time.time), self.tally)
        self.level: Level = "info"

    def event(self, event: Event, **fields: Any) -> None:
        """One line on standard output for each image that ended; the daemon's own life is left out."""
        self.write(event, fields)

    def write(self, event: Event, fields: Mapping[str, Any]) -> None:
        """As above."""
        if event in (Event.IMAGE_STORED, Event.IMAGE_FAILED):
            self.endings.append({**fields, "event": str(event)})
        if event is Event.IMAGE_IGNORED:
            self.ignored[fields["file"]] = outcome(fields)
        if not event.startswith(("service.", "folder.")):
            self.log.write(event, fields)

    def written(self) -> None:
        """Each line is written when `event` returns."""


async def run_demo(pictures: Path | None, into: Path) -> int:
    """Drop pictures (the user's, or rendered samples) and follow them to the folder that plays the bucket."""
    quiet_libraries()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    place = into
    originals = await asyncio.to_thread(_originals, pictures, place, console)
    settings = _settings(place)
    listener, since = DemoLog(settings), time.monotonic()
    console.print(
        f"\nWatching {place / 'drop'}; the bucket is {place / 'bucket' / BUCKET}. Dropping {len(originals)} pictures …\n"
    )
    async with started(settings, listener) as app:
        app.ready()
        for original in originals:
            await asyncio.to_thread(_drop, original, _source_root(pictures, place), place / "drop")
        await _until_ended(app, listener, len(originals), console)
    took, root = time.monotonic() - since, _source_root(pictures, place)
    left_out = _left_out(settings, listener, [place / "drop" / each.relative_to(root) for each in originals])
    _show_results(console, listener.endings, left_out)
    sheet = place / "before-and-after.html"
    await asyncio.to_thread(_write_sheet, sheet, listener.endings, left_out)
    not_whole = len(originals) - len({each["file"] for each in listener.endings}) - listener.tally.ignored
    console.print("\n" + listener.tally.summary(took, max(0, not_whole)), markup=False)
    _show_next_steps(console, place, sheet)
    return 0 if listener.endings and all(ending["event"] == Event.IMAGE_STORED for ending in listener.endings) else 1


def _originals(pictures: Path | None, place: Path, console: Console) -> list[Path]:
    """The files to drop. Begins with an empty drop folder and bucket, so that the demo can be run again."""
    from watcher.commands.samples import write_samples  # needs libvips, as the engine does

    _make_room(place)
    (place / "drop").mkdir(parents=True)
    if pictures is not None:
        if not pictures.is_dir():
            raise WatcherError(f"{pictures} is no folder", "name a folder with pictures, or none for the samples")
        found = sorted(path for path in pictures.rglob("*") if path.is_file() and not path.name.startswith("."))
        if not found:
            raise WatcherError(f"there is no file in {pictures}", "name a folder with pictures, or none for the samples")
        return found
    console.print("Rendering sample photographs …")
    return write_samples(place / "samples")


def _make_room(place: Path) -> None:
    """Remove what an earlier demo made. Raises WatcherError where something lies there that none did."""
    there = [place / name for name in MADE if os.path.lexists(place / name)]
    if there and not (place / MARKER).exists():
        raise WatcherError(f"{there[0]} was not made by a demo and is left alone", "choose another folder with --into DIR")
    for each in there:
        shutil.rmtree(each)
    place.mkdir(parents=True, exist_ok=True)
    (place / MARKER).touch()


def _source_root(pictures: Path | None, place: Path) -> Path:
    return pictures if pictures is not None else place / "samples"


def _settings(place: Path) -> Settings:
    """What a real config.toml would say; the same names."""
    data = {
        "state_dir": str(place / "state"),
        "compressor": {"url": "embedded"},
        "store": {
            "id": "local",
            "bucket": BUCKET,
            "region": "eu-central-003",
            "headers": {"Cache-Control": "public, max-age=3600"},
        },
        "folders": [
            {
                "name": "products",
                "path": str(place / "drop"),
                "image": {
                    "compression": "high",
                    "resize": {"width": 1200, "height": 1200, "mode": "auto"},
                    "output": {"format": "web"},
                },
                "store": {"path": "products/{dir}/{stem}.{ext}"},
                "renditions": [
                    {
                        "name": "thumb",
                        "image": {"resize": {"width": 320, "height": 320, "mode": "fit"}, "output": {"format": "webp"}},
                        "store": {"path": "products/{dir}/{stem}-thumb.{ext}"},
                    }
                ],
            }
        ],
        "engine": {"connectors": {"local": {"kind": "directory", "path": str(place / "bucket")}}},
    }
    return load_settings(data, {})


def _drop(original: Path, root: Path, drop: Path) -> None:
    """Copy a picture into the watched folder, as a person would."""
    target = drop / original.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(original, target)


async def _until_ended(app: App, listener: DemoLog, count: int, console: Console) -> None:
    """Wait until nothing is under way any more; files that are not whole are not waited for. Shows how far it is."""
    await app.intake.rescan()
    calm_since = time.monotonic()
    with console.status("") as status:
        while not await app.is_done():
            ended = len({ending["file"] for ending in listener.endings})
            status.update(f"{ended} of {count} pictures")
            if app.dispatcher.in_flight or await app.records.journal.open_images():
                calm_since = time.monotonic()
            elif time.monotonic() - calm_since > CALM_SECONDS:
                return
            await asyncio.sleep(0.05)


def _left_out(settings: Settings, listener: DemoLog, dropped: list[Path]) -> dict[str, str]:
    """The files that no image was made of, each with why."""
    ended = {ending["file"] for ending in listener.endings}
    told: dict[str, str] = {}
    for file in dropped:
        if str(file) not in ended:
            why = listener.ignored.get(str(file)) or explanation(settings, file).get("message", "not taken")
            told[str(file)] = plain(why).replace("not_an_image", "not an image")
    return told


def _show_results(console: Console, endings: list[dict[str, Any]], left_out: dict[str, str]) -> None:
    table = Table(title="What came out", title_justify="left", show_edge=False, box=None, pad_edge=False)
    table.add_column("file", overflow="ellipsis", no_wrap=True, ratio=2)
    for column in ("rendition", "pixels", "before", "after", "saved"):
        table.add_column(column, no_wrap=True)
    for ending in sorted(endings, key=lambda each: (each["file"], each["rendition"] or "")):
        if ending["event"] == Event.IMAGE_STORED:
            table.add_row(*_row(ending))
    console.print()
    console.print(table, soft_wrap=False)
    failed = {f"{ending['file']} {ending['rendition'] or ''}": outcome(ending) for ending in endings if "url" not in ending}
    for words, files in (("failed", failed), ("left out", left_out)):
        for file, why in files.items():
            console.print(f"{words}: {plain(Path(file).name)}: {why}", markup=False)


def _row(ending: dict[str, Any]) -> tuple[str, ...]:
    before, after = ending["input"]["size"], ending["output"]["size"]
    pixels = _pixels(_object(ending))
    saved = saved_words(before, after)
    return (plain(Path(ending["file"]).name), ending["rendition"] or "", pixels, human_size(before), human_size(after), saved)


def _object(ending: dict[str, Any]) -> Path:
    """Where the output lies in the folder that plays the bucket."""
    return Path(unquote(urlsplit(ending["url"]).path))


def _write_sheet(path: Path, endings: list[dict[str, Any]], left_out: dict[str, str]) -> None:
    """Before and after, as one file that a browser opens."""
    files: dict[str, list[dict[str, Any]]] = {}
    for ending in sorted(endings, key=lambda each: (each["file"], each["rendition"] or "")):
        files.setdefault(ending["file"], []).append(ending)
    entries = chain(
        (_entry(Path(file), outputs) for file, outputs in files.items()),
        (Entry(Path(file).name, None, (), "left out", why) for file, why in left_out.items()),
    )
    write_sheet(path, "Before and after", f"{len(files)} pictures, {len(left_out)} left out", entries)


def _entry(file: Path, endings: list[dict[str, Any]]) -> Entry:
    stored = [each for each in endings if each["event"] == Event.IMAGE_STORED]
    failed = "; ".join(outcome(each) for each in endings if each not in stored)
    before = SheetPicture("before", file.stat().st_size, preview=thumbnail(file)) if file.exists() else None
    after = tuple(
        SheetPicture(
            each["rendition"] or "own output", each["output"]["size"], preview=thumbnail(_object(each)), link=each["url"]
        )
        for each in stored
    )
    return Entry(file.name, before, after, "failed" if failed else "stored", failed)


def _pixels(path: Path) -> str:
    """The real dimensions of the object on the disk."""
    import pyvips  # comes with the engine; nothing else here needs it

    try:
        image = pyvips.Image.new_from_file(os.fspath(path))
    except pyvips.Error:
        return "?"
    return f"{image.width}×{image.height}"


def _show_next_steps(console: Console, place: Path, sheet: Path) -> None:
    command = _command()
    account = (
        f"make a Storage Connector for your B2 bucket in the Compressor dashboard; `{command} init` asks for the rest and writes "
        f"config.toml; then `{command} check` and `{command} run`."
    )
    console.print()
    steps = {
        "Look at them:": str(sheet),
        "The objects lie in": str(place / "bucket" / BUCKET),
        "One line for each:": str(place / "state" / "audit.jsonl"),
        "Your own pictures:": f"{command} demo /path/to/pictures",
        "With a real account:": account,
    }
    say_rows(console, steps.items(), max(map(len, steps)))


def _command() -> str:
    """How this program is called so that it is found: by its name where that is on the PATH, else by its path."""
    given = Path(sys.argv[0] or "compressor-watcher")
    found = shutil.which(given.name)
    return given.name if found and Path(found).resolve() == given.resolve() else shlex.quote(str(given))
