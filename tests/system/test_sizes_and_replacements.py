"""What the line of a stored output says of the pictures: sizes in pixels for every format, and whether it replaced another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pillow_heif
import pytest
from PIL import Image

from tests.support.daemon import Daemon, read_audit, wait_until, write_config
from tests.support.pictures import encoded, jpeg, photograph
from tests.support.standin import DEFAULT_KEY, StandinProcess

pillow_heif.register_heif_opener()

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="80"><rect width="120" height="80" fill="red"/></svg>'


def turned(name: str) -> bytes:
    """A picture of 80 x 120 that lies on its side in the file."""
    exif = Image.Exif()
    exif[274] = 6
    return encoded(photograph(120, 80), name, exif=exif.tobytes())


PICTURES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "plain.jpg": (encoded(photograph(120, 80), "JPEG"), (120, 80)),
    "turned.jpg": (turned("JPEG"), (80, 120)),
    "plain.png": (encoded(photograph(120, 80), "PNG"), (120, 80)),
    "plain.webp": (encoded(photograph(120, 80), "WEBP"), (120, 80)),
    "turned.webp": (turned("WEBP"), (80, 120)),
    "plain.gif": (encoded(photograph(120, 80), "GIF"), (120, 80)),
    "plain.tif": (encoded(photograph(120, 80), "TIFF"), (120, 80)),
    "plain.bmp": (encoded(photograph(120, 80), "BMP"), (120, 80)),
    "plain.avif": (encoded(photograph(120, 80), "AVIF"), (120, 80)),
    "plain.heic": (encoded(photograph(120, 80), "HEIF"), (120, 80)),
    "turned.heic": (turned("HEIF"), (80, 120)),
    "drawing.svg": (SVG, (120, 80)),
    "plain.ico": (encoded(photograph(64, 64), "ICO", sizes=[(64, 64)]), (64, 64)),
}


def config(place: Path, url: str, **changes: Any) -> Path:
    (place / "drop").mkdir(exist_ok=True)
    data = {
        "state_dir": place / "state",
        "compressor": {"url": url},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "store": {"id": "local", "bucket": "shop-bucket", "region": "eu-central-003"},
        "engine": {"connectors": {"local": {"kind": "directory", "path": place / "bucket"}}},
        "folders": [{"name": "products", "path": place / "drop"}],
        **changes,
    }
    return write_config(place / "config.toml", data)


def test_the_engine_says_the_size_of_both_sides(tmp_path: Path) -> None:
    """Of every format, as the picture is looked at; the output's is that of the object that lies there."""
    folder = {"name": "products", "path": tmp_path / "drop", "image": {"resize": {"width": 60, "height": 60}}}
    with Daemon(config(tmp_path, "embedded", folders=[folder])) as daemon:
        for name, (content, _) in PICTURES.items():
            (tmp_path / "drop" / name).write_bytes(content)
        wait_until(lambda: len(daemon.events("image.stored")) + len(daemon.events("image.failed")) == len(PICTURES))
        lines = {Path(line["file"]).name: line for line in daemon.events("image.stored")}
        assert [line["message"] for line in daemon.events("image.failed")] == []
    for name, (_, size) in PICTURES.items():
        line = lines[name]
        assert (line["input"]["width"], line["input"]["height"]) == size, name
        with Image.open(unquote(urlsplit(line["url"]).path)) as stored:
            assert (line["output"]["width"], line["output"]["height"]) == stored.size, name
        assert max(line["output"]["width"], line["output"]["height"]) <= (64 if name.endswith(".ico") else 60), name


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def test_the_input_has_its_size_also_where_the_api_says_none(tmp_path: Path, standin: StandinProcess) -> None:
    """Out of the file's own header, for every format; of the output nothing is made up."""
    with Daemon(config(tmp_path, standin.url, verify={"url": standin.verify_url}), KEY) as daemon:
        for name, (content, _) in PICTURES.items():
            (tmp_path / "drop" / name).write_bytes(content)
        lines = {Path(line["file"]).name: line for line in daemon.wait_for("image.stored", len(PICTURES))}
    assert {name: (line["input"]["width"], line["input"]["height"]) for name, line in lines.items()} == {
        name: size for name, (_, size) in PICTURES.items()
    }
    assert not any("width" in line["output"] for line in lines.values())


def test_replaced_says_whether_other_content_lay_at_the_key(tmp_path: Path, standin: StandinProcess) -> None:
    """A new key: no. A new version: yes, also after a restart and where the journal was lost. Another output's key: no."""
    made = config(tmp_path, standin.url, verify={"url": standin.verify_url})
    with Daemon(made, KEY) as daemon:
        (tmp_path / "drop/a.jpg").write_bytes(jpeg(100, 80))
        (tmp_path / "drop/b.jpg").write_bytes(jpeg(101, 80))
        daemon.wait_for("image.stored", 2)
        (tmp_path / "drop/a.jpg").write_bytes(jpeg(102, 80))
        daemon.wait_for("image.stored", 3)
    for journal in (tmp_path / "state").glob("journal.db*"):
        journal.unlink()
    with Daemon(made, KEY) as daemon:
        (tmp_path / "drop/b.jpg").write_bytes(jpeg(103, 80))
        daemon.wait_for("image.stored", 1)
    lines = [line for line in read_audit(tmp_path / "state/audit.jsonl") if line["event"] == "image.stored"]
    assert [(Path(line["file"]).name, line["replaced"]) for line in lines[2:]] == [("a.jpg", True), ("b.jpg", True)]
    assert [line["replaced"] for line in lines[:2]] == [False, False]


def test_content_that_comes_back_replaces_what_came_between(tmp_path: Path, standin: StandinProcess) -> None:
    """A, then B, then A again: each takes the place of the other. The same once more is not even sent."""
    contents = [jpeg(100, 80), jpeg(120, 80), jpeg(100, 80)]
    assert contents[0] == contents[2]
    with Daemon(config(tmp_path, standin.url, verify={"url": standin.verify_url}, log={"level": "debug"}), KEY) as daemon:
        for number, content in enumerate(contents):
            (tmp_path / "drop/a.jpg").write_bytes(content)
            daemon.wait_for("image.stored", number + 1)
        (tmp_path / "drop/a.jpg").write_bytes(contents[2])
        daemon.wait_for("image.unchanged")
        assert [line["replaced"] for line in daemon.events("image.stored")] == [False, True, True]


def test_pictures_are_what_they_are_taken_for() -> None:
    """Pillow reads each of them at the size that the tests expect, turned where it lies on its side."""
    for name, (content, size) in PICTURES.items():
        if name != "drawing.svg":
            with Image.open(io.BytesIO(content)) as picture:
                sides = picture.size if "turned" not in name or name.endswith(".heic") else picture.size[::-1]
            assert sides == size, name
