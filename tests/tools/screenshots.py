"""Makes the pictures of the page for docs/: a real daemon on this machine, with a month behind it, seen by a real browser.

    python -m tests.tools.screenshots DIRECTORY        (make screenshots)

Writes page.png, page-dark.png and page-phone.png, in 256 colours. Needs Debian's chromium and the embedded engine's packages.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.big_journal import BUCKET, FOLDERS, fill
from tests.support.browser import chromium, tab
from tests.support.daemon import Daemon, write_config
from watcher.commands.samples import SCENES, write_samples
from watcher.records.browsing import LATEST_SHOWN
from watcher.shown.hours import duration_step

SHOTS: dict[str, dict[str, Any]] = {
    "page.png": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "page-dark.png": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "page-phone.png": {"viewport": {"width": 375, "height": 1400}, "color_scheme": "light"},
}
COUNT = 9_000
HOUR = 3_600


def main(directory: Path) -> None:
    """The command."""
    with emptied(Path(tempfile.gettempdir()) / "pictures") as folder, serving(folder / "bucket" / BUCKET) as link:
        prepare(folder)
        with Daemon(configure(folder, link)) as daemon, chromium() as browser:
            drop(folder)
            daemon.wait_for("image.stored", 2 * (LATEST_SHOWN - 1))
            daemon.wait_for("image.failed", seconds=20)
            daemon.wait_for("image.waiting")
            daemon.wait_for("image.ignored")
            address = daemon.events("service.ready")[0]["admin_url"]
            for file, options in SHOTS.items():
                with tab(browser, address, reduced_motion="reduce", **options) as seen:
                    page = seen.open()
                    page.wait_for_timeout(1_500)
                    page.screenshot(path=directory / file, full_page=file != "page-phone.png")
                    reduce(directory / file)
                    sys.stdout.write(f"{directory / file}\n")


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """A folder for as long as the pictures are taken, whose name may be read in them."""
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def reduce(path: Path) -> None:
    """A quarter of its size, and hardly a difference."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def serving(bucket: Path) -> Iterator[str]:
    """The bucket behind a CDN of ours; gives its `link`."""
    bucket.mkdir(parents=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(bucket)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{{key}}"
    finally:
        server.shutdown()
        server.server_close()


def prepare(folder: Path) -> None:
    """A month of work, with the rhythm of days, and its failures long settled."""
    path, now, chance = folder / "state" / "journal.db", time.time(), random.Random(7)
    path.parent.mkdir()
    asyncio.run(fill(path, COUNT, now - 120))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE images SET dismissed_at = ended_at WHERE outcome = 'failed'")
    connection.execute("DELETE FROM hours")
    connection.execute("DELETE FROM durations")
    for hour in range(int(now // HOUR) - 30 * 24, int(now // HOUR)):
        daylight = max(0.0, 1 - abs((hour % 24) - 13) / 8) * (0.25 if (hour // 24) % 7 in (2, 3) else 1.0)
        count = int(60 * daylight * chance.uniform(0.5, 1.3))
        failed = int(count * 0.05 * chance.random())
        row = (hour, "products", count, failed, count * 2_400_000, int(count * 2_400_000 * chance.uniform(0.09, 0.2)))
        connection.execute("INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?)", row)
        seconds = [chance.lognormvariate(-0.2, 0.5) for _ in range(count)]
        steps = [duration_step(each) for each in seconds]
        connection.executemany("INSERT INTO durations VALUES (?, ?, ?)", [(hour, each, steps.count(each)) for each in set(steps)])
    connection.commit()
    connection.close()


def configure(folder: Path, link: str) -> Path:
    """Three folders, the first with a rendition."""
    for name in FOLDERS:
        (folder / name).mkdir()
    table: dict[str, Any] = {
        "state_dir": folder / "state",
        "compressor": {"url": "embedded"},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "engine": {"connectors": {"connector": {"kind": "directory", "path": folder / "bucket"}}},
        "store": {"id": "connector", "bucket": BUCKET, "region": "eu-central-003", "headers": {"Cache-Control": "max-age=300"}},
        "admin": {"listen": "127.0.0.1:0"},
        "folders": [
            {
                "name": name,
                "path": folder / name,
                "link": link,
                "image": {"compression": "high", "resize": {"width": 1600, "height": 1600}},
                "renditions": [
                    {"name": "thumb", "image": {"resize": {"width": 320, "height": 320}}, "store": {"path": "thumbs/{name}"}}
                ],
            }
            for name in FOLDERS
        ],
    }
    return write_config(folder / "config.toml", table)


def drop(folder: Path) -> None:
    """As many pictures as the page shows, a broken one, one that is cut, and one that nobody can do."""
    aside = folder / "aside"
    seeds = range(20, 20 + LATEST_SHOWN - 1 - len(SCENES))
    views = [replace(SCENES[0], file=f"view-{seed}.jpg", width=900, height=600, seed=seed) for seed in seeds]
    for place, path in enumerate(write_samples(aside, [*views, *SCENES])):
        path.rename(folder / FOLDERS[place % 3] / path.name)
    whole = next(folder.rglob("morning.jpg")).read_bytes()
    picture = next(folder.rglob("noon.png")).read_bytes()
    (folder / "products" / "chair-front.png").write_bytes(picture[:9_000] + bytes(500) + picture[9_500:])
    (folder / "people" / "team.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "products" / "label.psd").write_bytes(b"8BPS\x00\x01" + bytes(100))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
