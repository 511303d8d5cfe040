"""`demo`: the whole thing on this machine with no account. A folder plays the bucket, the embedded engine plays the API."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table

from watcher.app import started
from watcher.config.loading import load_settings
from watcher.config.units import human_size
from watcher.errors import WatcherError
from watcher.log import JsonLog, quiet_libraries
from watcher.model import Event

if TYPE_CHECKING:
    from watcher.app import App
    from watcher.config.schema import Settings
    from watcher.log import Level

BUCKET: Final = "demo-bucket"
PATIENCE_SECONDS: Final = 120.0


class Listener:
    """The log of the demo: prints the lines that matter and keeps the endings for the table."""

    def __init__(self) -> None:
        self.endings: list[dict[str, Any]] = []
        self.log = JsonLog("info", clock=time.time)
        self.level: Level = "info"

    def event(self, event: Event, **fields: Any) -> None:
        """One line on standard output for each image that ended; the daemon's own life is left out."""
        if event in (Event.IMAGE_STORED, Event.IMAGE_FAILED):
            self.endings.append({**fields, "event": str(event)})
        if not event.startswith(("service.", "folder.")):
            self.log.event(event, **fields)


async def run_demo(pictures: Path | None, into: Path) -> int:
    """Drop pictures (the user's, or rendered samples) and follow them to the folder that plays the bucket."""
    quiet_libraries()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    place = into
    originals = await asyncio.to_thread(_originals, pictures, place, console)
    settings = _settings(place)
    listener = Listener()
    console.print(
        f"\nWatching {place / 'drop'}; the bucket is {place / 'bucket' / BUCKET}. Dropping {len(originals)} pictures …\n"
    )
    async with started(settings, listener) as app:
        app.ready()
        for original in originals:
            await asyncio.to_thread(_drop, original, _source_root(pictures, place), place / "drop")
        await _until_ended(app, listener)
    _show_results(console, listener.endings)
    _show_next_steps(console, place)
    return 0 if listener.endings and all(ending["event"] == Event.IMAGE_STORED for ending in listener.endings) else 1


def _originals(pictures: Path | None, place: Path, console: Console) -> list[Path]:
    """The files to drop. Begins with an empty drop folder and bucket, so that the demo can be run again."""
    from watcher.commands.samples import write_samples  # needs libvips, as the engine does

    for name in ("drop", "bucket", "state"):
        shutil.rmtree(place / name, ignore_errors=True)
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
            "headers": {"Cache-Control": "public, max-age=31536000, immutable"},
        },
        "folders": [
            {
                "name": "products",
                "path": str(place / "drop"),
                "image": {"compression": "high", "resize": {"width": 1200, "height": 1200, "mode": "auto"}},
                "store": {"path": "products/{dir}/{stem}.{ext}"},
                "renditions": [
                    {
                        "name": "thumb",
                        "image": {"resize": {"width": 320, "height": 320, "mode": "fit"}},
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


async def _until_ended(app: App, listener: Listener) -> None:
    """Wait until nothing is under way any more."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    await app.intake.rescan()
    while time.monotonic() < deadline:
        if await app.is_done():
            return
        await asyncio.sleep(0.05)
    raise WatcherError(
        f"the demo did not end within {PATIENCE_SECONDS:.0f} s", f"{len(listener.endings)} outputs ended until then"
    )


def _show_results(console: Console, endings: list[dict[str, Any]]) -> None:
    table = Table(title="What came out", title_justify="left", show_edge=False)
    for column in ("file", "rendition", "pixels", "before", "after", "saved", "object"):
        table.add_column(column, overflow="fold")
    for ending in sorted(endings, key=lambda each: (each["file"], each["rendition"] or "")):
        table.add_row(*_row(ending))
    console.print()
    console.print(table)


def _row(ending: dict[str, Any]) -> tuple[str, ...]:
    name, rendition = Path(ending["file"]).name, ending["rendition"] or ""
    if ending["event"] != Event.IMAGE_STORED:
        return (name, rendition, "", "", "", "", f"failed: {ending['message']}")
    before, after = ending["input"]["size"], ending["output"]["size"]
    return (
        name,
        rendition,
        _pixels(Path(unquote(urlsplit(ending["url"]).path))),
        human_size(before),
        human_size(after),
        f"{ending['saved_percent']:.0f} %",
        ending["key"],
    )


def _pixels(path: Path) -> str:
    """The real dimensions of the object on the disk."""
    import pyvips  # comes with the engine; nothing else here needs it

    try:
        image = pyvips.Image.new_from_file(os.fspath(path))
    except pyvips.Error:
        return "?"
    return f"{image.width}×{image.height}"


def _show_next_steps(console: Console, place: Path) -> None:
    last = _last_line(place / "state" / "audit.jsonl")
    console.print(f"\nEach ending is one line of {place / 'state' / 'audit.jsonl'}; the last one:")
    console.print_json(json.dumps(last))
    command = Path(sys.argv[0]).name if sys.argv[0] else "compressor-watcher"
    console.print(
        f"\nThe objects lie in {place / 'bucket' / BUCKET}.\n"
        f"Your own pictures:   {command} demo /path/to/pictures\n"
        "With a real account: make a Storage Connector for your B2 bucket in the Compressor dashboard; copy config.example.toml\n"
        "                     to config.toml and set the connector's id, bucket, region and how the API reaches this machine;\n"
        f"                     put the key into $WATCHER_COMPRESSOR__API_KEY; then `{command} check` and `{command} run`.\n"
    )


def _last_line(audit: Path) -> dict[str, Any]:
    lines = audit.read_text(encoding="utf-8").splitlines()
    result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return result
