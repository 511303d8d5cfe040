"""Pictures of phones and scanners published for browsers: format, key, type and warnings, by the installed command."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pillow_heif
import pytest
from PIL import Image

from tests.support.daemon import command
from tests.support.pictures import encoded, photograph

pillow_heif.register_heif_opener()
PHOTO = photograph(200, 120)
FILES = {
    "IMG_0001.HEIC": lambda: encoded(PHOTO, "HEIF"),
    "scan.TIF": lambda: encoded(PHOTO, "TIFF"),
    "clip.bmp": lambda: encoded(PHOTO, "BMP"),
    "photo.JPG": lambda: encoded(PHOTO, "JPEG"),
    "logo.svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><rect width="9" height="9"/></svg>',
    "end.gif": lambda: encoded(PHOTO.quantize(64), "GIF")[:-1],
}


def write_config(place: Path, *, image: str, store: str = "", more: str = "") -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    path = place / "config.toml"
    path.write_text(f"""
state_dir = "{place}/state"
max_wait = "1s"
[compressor]
url = "embedded"
api_key = "x"
[publish.serve]
listen = "{address}"
public_url = "http://{address}"
[store]
id = "local"
bucket = "b"
region = "eu-central-003"
{store}
[engine.connectors.local]
kind = "directory"
path = "{place}/bucket"
[[folders]]
name = "shop"
path = "{place}/drop"
image = {image}
{more}
""")
    return path


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """The folder, with the files in it."""
    folder = tmp_path / "drop"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    return folder


def once(config: Path) -> dict[tuple[str, str | None], dict[str, Any]]:
    """The endings of a run, by file and rendition."""
    done = command("once", "--config", config)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    endings = [line for line in lines if line["event"].removeprefix("image.") in ("stored", "failed")]
    return {(Path(line["file"]).name, line["rendition"]): line for line in endings}


def stored(line: dict[str, Any]) -> bytes:
    return Path(unquote(urlsplit(line["url"]).path)).read_bytes()


RENDITION = (
    '[[folders.renditions]]\nname = "thumb"\nimage = { output = { format = "webp" } }\nstore = { path = "t/{stem}.{ext}" }'
)


def test_what_phones_and_scanners_write_is_stored_for_browsers(tmp_path: Path, drop: Path) -> None:
    """Format, key and name of each output agree, and nothing is warned of but the missing end."""
    endings = once(write_config(tmp_path, image='{ output = { format = "web" } }', more=RENDITION))

    own = {file: (line["key"], line["output"]["format"]) for (file, rendition), line in endings.items() if rendition is None}
    assert own == {
        "IMG_0001.HEIC": ("shop/IMG_0001.jpg", "jpeg"),
        "scan.TIF": ("shop/scan.jpg", "jpeg"),
        "clip.bmp": ("shop/clip.png", "png"),
        "photo.JPG": ("shop/photo.JPG", "jpeg"),
        "logo.svg": ("shop/logo.png", "png"),
        "end.gif": ("shop/end.gif", "gif"),
    }
    thumbs = {file: line for (file, rendition), line in endings.items() if rendition == "thumb"}
    assert {line["key"] for line in thumbs.values()} == {f"t/{Path(name).stem}.webp" for name in FILES}
    for line in endings.values():
        assert Image.open(io.BytesIO(stored(line))).format == line["output"]["format"].upper()
        assert line["url"].endswith(line["key"])
        assert line.get("warnings", []) == (["no_formal_end"] if line["file"].endswith("end.gif") else [])


def test_what_browsers_do_not_show_is_warned_of(tmp_path: Path, drop: Path) -> None:
    """Stored as it came, and said in its line; `explain` says it before."""
    config = write_config(tmp_path, image="{}")
    explained = json.loads(command("explain", drop / "scan.TIF", "--config", config, "--json").stdout)
    endings = {file: line.get("warnings", []) for (file, _), line in once(config).items()}

    assert explained["outputs"][0]["warnings"] == ["not_web_safe"]
    unsafe = ["not_web_safe"]
    assert endings == {
        "IMG_0001.HEIC": unsafe,
        "scan.TIF": unsafe,
        "clip.bmp": unsafe,
        "photo.JPG": [],
        "logo.svg": [],
        "end.gif": ["no_formal_end"],
    }


def test_a_replaced_picture_that_caches_keep_is_warned_of(tmp_path: Path, drop: Path) -> None:
    """The second time, since then something else lay at the key; `check` says it before."""
    store = 'headers = { "Cache-Control" = "public, max-age=31536000, immutable" }'
    config = write_config(tmp_path, image='{ output = { format = "web" } }', store=store)
    checked = json.loads(command("check", "--config", config, "--json").stdout)
    first = once(config)["photo.JPG", None]
    (drop / "photo.JPG").write_bytes(encoded(photograph(100, 80), "JPEG"))
    second = once(config)["photo.JPG", None]

    found = [line["found"] for line in checked["checks"] if line["what"] == "folder shop: outputs"]
    assert ["forever" in each for each in found] == [True]
    assert "warnings" not in first
    assert (second["replaced"], second["warnings"]) == (True, ["cached_forever"])


def test_explain_gives_the_key_that_is_stored(tmp_path: Path, drop: Path) -> None:
    """Before and after, and by the name alone where there is no file yet."""
    config = write_config(tmp_path, image='{ output = { format = "web" } }')
    explained = {
        name: json.loads(command("explain", drop / name, "--config", config, "--json").stdout)["outputs"][0]["key"]
        for name in ("IMG_0001.HEIC", "scan.TIF", "photo.JPG", "logo.svg", "tomorrow.heic")
    }

    assert explained.pop("tomorrow.heic") == "shop/tomorrow.jpg"
    assert explained == {file: line["key"] for (file, _), line in once(config).items() if file in explained}


def test_the_type_in_the_store_is_that_of_the_format(tmp_path: Path, drop: Path) -> None:
    """A browser goes by Content-Type."""
    endings = once(write_config(tmp_path, image='{ output = { format = "web" } }'))
    kept = "".join(path.read_text() for path in (tmp_path / "bucket/.metadata").rglob("*") if path.is_file())

    assert endings["IMG_0001.HEIC", None]["output"]["mime"] == "image/jpeg"
    assert "image/jpeg" in kept
    assert "image/png" in kept
    assert "image/svg+xml" not in kept
    assert "image/heic" not in kept
