"""Directories that we emptied are removed once nobody else has touched them for a while; no others ever are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from watcher.intake.emptied import QUIET_SECONDS, EmptiedDirectories

BEGAN = 1_700_000_000.0


class Folder:
    """A watched folder whose files we take out, on a clock that the test sets; what was made is long ago."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.real = os.fsencode(root)
        self.now = BEGAN
        self.emptied = EmptiedDirectories(lambda: self.now)

    def drop(self, *relatives: str) -> None:
        """Somebody puts files there."""
        for relative in relatives:
            path = self.root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.touched(path.parent)

    def touched(self, directory: Path) -> None:
        """Somebody else changed the directory at this moment."""
        while directory != self.root.parent:
            os.utime(directory, (self.now, self.now))
            directory = directory.parent

    def take(self, relative: str) -> None:
        """We move or delete a file."""
        path = self.root / relative
        with self.emptied.taking_from(self.real, os.fsencode(os.path.dirname(relative))):
            path.unlink()

    def later(self, seconds: float) -> None:
        """So much time passes; then it is looked whether anything is to be removed."""
        self.now += seconds
        self.emptied.prune(self.real)

    @property
    def directories(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_dir()}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "drop"
    root.mkdir()
    return Folder(root)


def test_what_we_emptied_goes_when_nobody_has_touched_it_for_a_while(folder: Folder) -> None:
    """Whoever copies one file after another expects the directory to be there for the next."""
    folder.drop("shoot/a.jpg", "shoot/b.jpg")
    folder.take("shoot/a.jpg")
    assert not folder.emptied.pending(folder.real)
    folder.take("shoot/b.jpg")
    assert folder.emptied.pending(folder.real)
    folder.later(QUIET_SECONDS - 1)
    assert folder.directories == {"shoot"}
    folder.later(2)
    assert folder.directories == set()
    assert not folder.emptied.pending(folder.real)


def test_directories_above_go_with_it_but_never_the_folder(folder: Folder) -> None:
    """As far as they are empty then."""
    folder.drop("2026/01/a.jpg", "2026/notes.txt", "alone/deep/b.jpg")
    folder.now += 60
    folder.take("2026/01/a.jpg")
    folder.take("alone/deep/b.jpg")
    folder.later(QUIET_SECONDS + 1)
    folder.later(QUIET_SECONDS + 1)
    assert folder.directories == {"2026"}
    assert folder.root.is_dir()


def test_what_somebody_made_empty_stays(folder: Folder) -> None:
    """It is about to be filled."""
    (folder.root / "new").mkdir()
    folder.drop("shoot/a.jpg")
    folder.take("shoot/a.jpg")
    folder.later(3600)
    assert folder.directories == {"new"}


def test_a_change_by_somebody_else_begins_the_wait_anew(folder: Folder) -> None:
    """And a file that is put into it keeps it."""
    folder.drop("one/a.jpg", "two/b.jpg")
    folder.take("one/a.jpg")
    folder.take("two/b.jpg")
    folder.now += QUIET_SECONDS - 1
    folder.touched(folder.root / "one")
    folder.drop("two/c.jpg")
    folder.later(2)
    assert folder.directories == {"one", "two"}
    folder.later(QUIET_SECONDS)
    assert folder.directories == {"two"}


def test_a_link_that_took_its_place_is_not_followed(folder: Folder, tmp_path: Path) -> None:
    """What it leads to is somebody else's."""
    folder.drop("shoot/a.jpg")
    folder.take("shoot/a.jpg")
    (folder.root / "shoot").rmdir()
    (tmp_path / "theirs").mkdir()
    (folder.root / "shoot").symlink_to(tmp_path / "theirs")
    folder.later(3600)
    assert (tmp_path / "theirs").is_dir()
    assert (folder.root / "shoot").is_symlink()
    assert not folder.emptied.pending(folder.real)
