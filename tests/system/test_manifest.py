"""`[[folders]] manifest` through the installed command: right after every ending, a restart, a deletion, a reload."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


class Site:
    """A folder with a manifest."""

    def __init__(self, place: Path, standin: StandinProcess) -> None:
        self.place, self.standin = place, standin
        self.manifest = place / "site" / "products.json"
        for name in ("drop", "site"):
            (place / name).mkdir()
        self.config = place / "config.toml"
        self.configure()

    def configure(self, **folder: Any) -> None:
        data = {
            "state_dir": self.place / "state",
            "compressor": {"url": self.standin.url},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "verify": {"url": self.standin.verify_url},
            "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
            "folders": [{"name": "products", "path": self.place / "drop", "manifest": self.manifest, **folder}],
        }
        write_config(self.config, data)

    def drop(self, name: str, width: int = 100) -> None:
        path = self.place / "drop" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(jpeg(width, 80))

    def files(self) -> dict[str, Any]:
        """What the manifest says now."""
        found: dict[str, Any] = json.loads(self.manifest.read_text())
        return found

    def names(self) -> set[str]:
        return set(self.files()) if self.manifest.exists() else set()


@pytest.fixture
def site(tmp_path: Path, standin: StandinProcess) -> Site:
    return Site(tmp_path, standin)


def test_it_follows_what_is_stored_and_what_goes(site: Site) -> None:
    """There from the start; a new file, a new version and a deleted file are in it, or not, within moments."""
    with Daemon(site.config, KEY) as daemon:
        wait_until(site.manifest.exists, 10)
        assert site.files() == {}
        assert site.manifest.stat().st_mode & 0o777 == 0o644
        site.drop("a.jpg")
        site.drop("sub/b.jpg", 101)
        lines = daemon.wait_for("image.stored", 2)
        wait_until(lambda: site.names() == {"a.jpg", "sub/b.jpg"}, 10)
        (line,) = [each for each in lines if each["file"].endswith("a.jpg")]
        (output,) = site.files()["a.jpg"]
        assert {name: output[name] for name in ("url", "key", "bucket", "at", "rendition", "link")} == {
            "url": line["url"],
            "key": "products/a.jpg",
            "bucket": "shop-bucket",
            "at": line["timestamp"],
            "rendition": None,
            "link": None,
        }
        assert (output["size"], output["sha1"]) == (line["output"]["size"], line["output"]["sha1"])
        assert (output["input"]["width"], output["input"]["height"]) == (100, 80)
        site.drop("a.jpg", 140)
        wait_until(lambda: site.files()["a.jpg"][0]["input"]["width"] == 140)
        (site.place / "drop/sub/b.jpg").unlink()
        site.drop("c.jpg", 103)
        daemon.wait_for("image.stored", 4)
    assert "c.jpg" in site.names(), "a stop writes what ended last"


def test_it_is_right_after_restarts_and_where_somebody_deleted_it(site: Site) -> None:
    """Written anew at each start: by another hand, not at all, after a kill, with another link."""
    with Daemon(site.config, KEY) as daemon:
        site.drop("a.jpg")
        daemon.wait_for("image.stored")
        daemon.kill()
    with Daemon(site.config, KEY):
        wait_until(lambda: site.names() == {"a.jpg"}, 10)
    site.manifest.write_text("something else")
    with Daemon(site.config, KEY):
        wait_until(lambda: site.manifest.read_text() != "something else", 10)
        assert site.names() == {"a.jpg"}
    site.manifest.unlink()
    site.configure(link="https://cdn.example.com/{key}")
    with Daemon(site.config, KEY) as daemon:
        wait_until(lambda: site.names() == {"a.jpg"}, 10)
        assert site.files()["a.jpg"][0]["link"] == "https://cdn.example.com/products/a.jpg"
        site.manifest = site.place / "site/products.csv"
        site.configure()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        wait_until(site.manifest.exists, 10)
        (row,) = csv.DictReader(io.StringIO(site.manifest.read_text()))
        assert (row["file"], row["key"], row["link"], row["input_width"]) == ("a.jpg", "products/a.jpg", "", "100")


READER = """
import json, pathlib, sys
path, reads, broken, most = pathlib.Path(sys.argv[1]), 0, 0, 0
while not pathlib.Path(sys.argv[2]).exists():
    try:
        most = max(most, len(json.loads(path.read_text())))
    except ValueError:
        broken += 1
    reads += 1
print(reads, broken, most)
"""


def test_a_reader_in_a_tight_loop_never_sees_half_of_it(site: Site) -> None:
    """While it grows, over a kill and a restart."""
    site.manifest.write_text("{}")
    over = site.place / "over"
    reader = subprocess.Popen([sys.executable, "-c", READER, site.manifest, over], stdout=subprocess.PIPE, text=True)
    for start in (0, 40):
        with Daemon(site.config, KEY) as daemon:
            for number in range(start, start + 40):
                site.drop(f"{number:03}.jpg", 100 + number)
                time.sleep(0.02)
            daemon.wait_for("image.stored", 40)
            if not start:
                daemon.kill()
    wait_until(lambda: len(site.names()) == 80, 10)
    over.touch()
    said, _ = reader.communicate(timeout=60)
    reads, broken, most = map(int, said.split())
    assert (broken, most) == (0, 80)
    assert reads > 100


def test_originals_that_are_put_away_stay_in_it(site: Site) -> None:
    """They belong to the folder as before: what they came out as is what a site shows."""
    site.configure(on_success="delete")
    with Daemon(site.config, KEY) as daemon:
        site.drop("a.jpg")
        daemon.wait_for("image.deleted")
    with Daemon(site.config, KEY):
        wait_until(lambda: site.names() == {"a.jpg"}, 10)
    assert command("once", "--config", site.config, environment=KEY).returncode == 0
    assert site.names() == {"a.jpg"}


def test_places_where_it_cannot_be(site: Site) -> None:
    """In a watched folder it is refused; a missing directory is said by `check` and by the daemon, which goes on all the same."""
    for path, words in (
        (site.place / "drop/m.json", "lies in folders[0].path"),
        (site.place / "drop/sub/m.csv", "lies in folders[0].path"),
        (site.place / "site/m.txt", "ends in .json or .csv"),
        (Path("m.json"), "must be an absolute path"),
    ):
        site.configure(manifest=path)
        done = command("check", "--config", site.config, environment=KEY)
        assert done.returncode == 78
        assert "folders[0].manifest: " in done.stderr
        assert words in done.stderr
    site.manifest = site.place / "later" / "m.json"
    site.configure()
    done = command("check", "--config", site.config, environment=KEY)
    assert "manifest of products: the folder" in done.stdout
    assert "make it, for the daemon's user to write" in done.stdout
    with Daemon(site.config, KEY) as daemon:
        (said,) = daemon.wait_for("journal.unavailable")
        assert (said["what"], said["folder"]) == ("manifest", "products")
        site.drop("a.jpg")
        daemon.wait_for("image.stored")
        site.manifest.parent.mkdir()
        daemon.wait_for("journal.recovered")
        wait_until(lambda: site.names() == {"a.jpg"}, 10)
