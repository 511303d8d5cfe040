"""`preview` through the installed command: what it says is what the engine then stores; nothing is sent, stored or changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, write_config
from tests.support.pictures import encoded, jpeg, photograph
from tests.support.terminal import Terminal

THUMB = {
    "name": "thumb",
    "image": {"resize": {"width": 100, "height": 100, "mode": "fit"}, "output": {"format": "webp"}},
    "store": {"path": "thumbs/{dir}/{stem}.{ext}"},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder with twenty pictures in two directories, one that is cut, and one file that is no picture."""
    for name in ("a", "b"):
        (tmp_path / "drop" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "drop" / name / f"{number:02}.jpg").write_bytes(jpeg(300 + number, 200))
    (tmp_path / "drop" / "cut.jpg").write_bytes(jpeg()[:-100])
    (tmp_path / "drop" / "notes.txt").write_text("no picture")
    return configure(tmp_path)


def configure(place: Path, **changes: Any) -> Path:
    data = {
        "state_dir": place / "state",
        "compressor": {"url": "embedded"},
        "store": {"id": "local", "bucket": "shop-bucket", "region": "eu-central-003"},
        "engine": {"connectors": {"local": {"kind": "directory", "path": place / "bucket"}}},
        "folders": [
            {
                "name": "products",
                "path": place / "drop",
                "image": {"resize": {"width": 200, "height": 200}},
                "renditions": [THUMB],
            }
        ],
        **changes,
    }
    return write_config(place / "config.toml", data)


def run(config: Path, *words: str | Path, status: int = 0, **options: Any) -> Any:
    done = command("preview", *words, "--config", config, cwd=config.parent, **options)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done


def test_a_preview_says_what_comes_out(config: Path, tmp_path: Path) -> None:
    """Sizes in bytes and pixels, keys and formats are those of the objects that the engine stores when the daemon runs."""
    done = run(config, tmp_path / "drop/a/03.jpg", tmp_path / "drop/b/05.jpg", "--json")
    told = json.loads(done.stdout)
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "bucket").exists()
    assert len(told["outputs"]) == 4
    assert told["all"] == {
        "files": 2,
        "requests": 4,
        "bytes_before": told["sample"]["bytes_before"],
        "bytes_after": told["sample"]["bytes_after"],
        "extrapolated": False,
    }
    assert Path(told["sheet"]) == tmp_path / "preview.html"

    with Daemon(config) as daemon:
        stored = {(line["file"], line["rendition"]): line for line in daemon.wait_for("image.stored", 40)}
    for output in told["outputs"]:
        line = stored[str(tmp_path / "drop" / output["file"]), output["rendition"]]
        assert output["key"] == line["key"]
        for side in ("input", "output"):
            assert {name: output[side][name] for name in ("size", "width", "height")} == {
                name: line[side][name] for name in ("size", "width", "height")
            }
        assert output["output"]["format"] == line["output"]["format"]


def test_a_sample_is_spread_and_extrapolated(config: Path, tmp_path: Path) -> None:
    """From both directories; the totals are for all that is there. What is left out is said with the reason."""
    told = json.loads(run(config, tmp_path / "drop", "--limit", "6", "--json").stdout)
    directories = {output["file"].split("/")[0] for output in told["outputs"]}
    assert {"a", "b"} <= directories
    assert told["all"]["files"] == 22
    assert told["all"]["extrapolated"]
    assert 30 <= told["all"]["requests"] <= 44

    done = run(config, "--folder", "products", "--limit", "0")
    assert "20 pictures, 40 requests" in done.stdout
    assert "left out: cut.jpg: it is not whole yet" in done.stderr
    assert "left out: notes.txt: its bytes are no image" in done.stderr


def test_the_sheet_is_one_file_with_before_and_after(config: Path, tmp_path: Path) -> None:
    """It loads nothing from elsewhere; before, after, the thumbnail, and a detail of both with their own pixels."""
    run(config, tmp_path / "drop/a/03.jpg", "--output", tmp_path / "sheet.html")

    text = (tmp_path / "sheet.html").read_text()
    assert "default-src 'none'" in text
    assert text.count("data:image/webp;base64,") == 5
    assert text.count('class="exact"') == 2
    assert not re.search(r'(src|href)="(?!data:|file:|#)', text)
    assert "before, detail" in text
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.toml", "drop", "sheet.html"]


def test_pictures_from_elsewhere_need_a_rule(config: Path, tmp_path: Path) -> None:
    """The only folder's rules are used; of several, one is named."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/new.png").write_bytes(encoded(photograph(300, 200), "PNG"))
    told = json.loads(run(config, tmp_path / "elsewhere", "--json").stdout)
    assert [output["key"] for output in told["outputs"]] == ["products/new.png", "thumbs/new.webp"]

    (tmp_path / "other").mkdir()
    configure(tmp_path, folders=[{"path": tmp_path / "drop", "name": "products"}, {"path": tmp_path / "other", "name": "other"}])
    assert (
        "say with --folder whose rules to use; there are products, other" in run(config, tmp_path / "elsewhere", status=1).stderr
    )
    told = json.loads(run(config, tmp_path / "elsewhere", "--folder", "other", "--json").stdout)
    assert [output["key"] for output in told["outputs"]] == ["other/new.png"]


def test_what_would_fail_and_what_cannot_be_shown(config: Path, tmp_path: Path) -> None:
    """Exit status 1, with the engine's reason; nothing there, nothing to show, no place for the sheet: a clear word."""
    (tmp_path / "drop/bad.jpg").write_bytes(jpeg(64, 48)[:200] + b"\x00" * 400 + b"\xff\xd9")
    done = run(config, tmp_path / "drop/bad.jpg", status=1)
    assert "would fail" in done.stdout or "left out" in done.stderr
    assert "is not there" in run(config, tmp_path / "nothing.jpg", status=1).stderr
    assert "left out: ../drop/notes.txt" not in run(config, tmp_path / "drop/notes.txt", status=1).stderr
    (tmp_path / "empty").mkdir()
    assert "there is no file to preview" in run(config, tmp_path / "empty", status=1).stderr
    done = run(config, tmp_path / "drop/a/03.jpg", "--output", tmp_path / "no/sheet.html", status=1)
    assert "name another place with --output FILE" in done.stderr
    assert "did you mean `products`" in run(config, "--folder", "product", status=1).stderr
    assert run(config, status=2).stderr
    configure(tmp_path, folders=[{"path": tmp_path / "drop", "name": "products", "image": {"sharpen": True}}])
    assert "would fail" in run(config, tmp_path / "drop/a/03.jpg", status=1).stdout


def test_without_the_engine_there_is_a_clear_word(config: Path, tmp_path: Path) -> None:
    """The extra is named, with the command that installs it."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\nu.find_spec = lambda n, p=None: None if n == 'pyvips' else real(n, p)\n"
    )
    done = run(config, "drop", status=1, environment={"PYTHONPATH": str(tmp_path / "blocked")})
    assert "the embedded engine needs pyvips: pip install 'compressor-watcher[engine]'" in done.stderr


def test_the_table_fits_a_terminal(config: Path, tmp_path: Path) -> None:
    """Eighty columns: no line is broken, and what was saved is there."""
    arguments = ("preview", tmp_path / "drop", "--limit", "4", "--config", config, "--output", tmp_path / "s.html")
    with Terminal(*arguments, size=(80, 40)) as terminal:
        assert terminal.end() == 0
        lines = terminal.lines
    head = next(line for line in lines if line.startswith("file"))
    assert "saved" in head
    assert "output" in head
    assert len([line for line in lines if " %" in line]) == 8
