"""`demo` on people's own pictures: it never fails on one of them, and removes nothing that it did not make."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import command
from tests.support.pictures import jpeg
from tests.support.terminal import Terminal


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a space in its name: a picture, one cut off, and what is none."""
    folder = tmp_path / "My Pictures"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(jpeg(600, 400))
    (folder / "cut.jpg").write_bytes(jpeg(600, 400)[:-300])
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_every_file_is_told_and_a_sheet_is_made(tmp_path: Path, pictures: Path, size: tuple[int, int]) -> None:
    """One cut file neither holds it up nor fails it; nothing that is shown breaks a word of the table."""
    into = tmp_path / "demo"
    with Terminal("demo", pictures, "--into", into, size=size) as terminal:
        assert terminal.end() == 0
        text = terminal.text

    assert "left out: cut.jpg: it is not whole yet" in text
    assert "left out: notes.txt: not an image" in text
    assert any(line.startswith("good.jpg") and "600×400" in line and "-" in line for line in terminal.lines)
    assert "1 stored, 1 not whole, 1 ignored; " in text
    sheet = (into / "before-and-after.html").read_text()
    assert sheet.count("data:image/webp") == 3
    assert "cut.jpg" in sheet


def test_what_it_did_not_make_is_left_alone(tmp_path: Path, pictures: Path) -> None:
    """A folder of somebody's own in the place of the demo's is neither emptied nor used; the demo's own is used again."""
    own = tmp_path / "place" / "drop"
    own.mkdir(parents=True)
    (own / "mine.jpg").write_bytes(b"precious")

    refused = command("demo", pictures, "--into", tmp_path / "place")
    assert refused.returncode == 1
    assert "left alone" in refused.stderr
    assert (own / "mine.jpg").read_bytes() == b"precious"

    for _ in range(2):
        assert command("demo", pictures, "--into", tmp_path / "other").returncode == 0
