"""The sheet of pictures before and after: whole in one file, and nothing in a file's name can get out of its place."""

from pathlib import Path

import pytest

from tests.support.pictures import jpeg
from watcher.commands.sheet import Entry, SheetPicture, entry_markup, saved_words, thumbnail, write_sheet


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (1000, 250, "-75 %"),
        (1000, 1200, "+20 %"),
        (1000, 1001, "0 %"),
        (1_000_000, 2_000, "-99.8 %"),
        (100_000_000, 10, "-99.99 %"),
        (1000, 0, "-100 %"),
        (0, 10, ""),
        (None, 10, ""),
        (10, None, ""),
    ],
)
def test_what_was_saved_is_never_all_of_it(before: int | None, after: int | None, words: str) -> None:
    assert saved_words(before, after) == words


def test_the_sheet_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    """Pictures are inside it, and a browser is told to load nothing else."""
    (tmp_path / "chair.jpg").write_bytes(jpeg(640, 480))
    preview = thumbnail(tmp_path / "chair.jpg")
    assert preview[8:12] == b"WEBP"
    entry = Entry(
        "chair.jpg", SheetPicture("before", 2_000, 640, 480, "jpeg", preview), (SheetPicture("own output", 500, preview=preview),)
    )

    write_sheet(tmp_path / "sheet.html", "Before and after", "1 picture", [entry])

    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert text.count("data:image/webp;base64,") == 2
    assert "default-src 'none'" in text
    assert not any(word in text for word in ("<script", "<link", 'src="http', "url("))
    assert "640 × 480" in text
    assert "-75 %" in text
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_names_and_links_are_text_not_markup() -> None:
    """A file may be called anything, and a URL comes from outside."""
    hostile = '<img src=x onerror="alert(1)">.jpg'
    picture = SheetPicture("own output", link="javascript:alert(1)")

    markup = entry_markup(Entry(hostile, None, (picture,), "failed", "<b>no</b>"))

    assert "<img src=x" not in markup
    assert "&lt;b&gt;no&lt;/b&gt;" in markup
    assert "javascript:" not in markup


def test_a_broken_picture_has_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")

    assert thumbnail(tmp_path / "cut.jpg") == b""


def test_an_old_sheet_survives_one_that_breaks_off(tmp_path: Path) -> None:
    """Whoever has the old one open keeps it."""
    sheet = tmp_path / "sheet.html"
    sheet.write_text("old")

    def entries() -> object:
        yield Entry("one.jpg", None)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_sheet(sheet, "t", "s", entries())  # type: ignore[arg-type]

    assert sheet.read_text() == "old"
    assert list(tmp_path.iterdir()) == [sheet]
