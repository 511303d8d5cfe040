"""Folders that originals are moved to, by whatever name they are reached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from watcher.errors import Unavailable
from watcher.intake.move_targets import FileId, MoveTargets


def identity(path: Path) -> FileId:
    status = path.stat()
    return status.st_dev, status.st_ino


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A watched folder with a directory in it that files are moved to, and another one."""
    root = tmp_path / "drop"
    (root / "done" / "2026").mkdir(parents=True)
    (root / "new").mkdir()
    return root


def test_a_target_is_known_by_what_it_is(root: Path, tmp_path: Path) -> None:
    """Not by its name: a link leads to it as well."""
    targets = MoveTargets()
    assert not targets
    (tmp_path / "elsewhere").symlink_to(root / "done")
    targets.note(tmp_path / "elsewhere")
    assert targets
    assert targets.holds(identity(root / "done"))
    assert not targets.holds(identity(root / "new"))


def test_one_that_is_not_there_yet_is_noted_later(root: Path) -> None:
    """The first move makes it."""
    targets = MoveTargets()
    targets.note(root / "rejected")
    assert not targets
    (root / "rejected").mkdir()
    targets.note(root / "rejected")
    assert targets.holds(identity(root / "rejected"))


def test_what_lies_in_a_target_is_found_to(root: Path) -> None:
    """However deep; what lies beside it, or directly in the folder, does not."""
    targets = MoveTargets()
    real = os.fsencode(root.resolve())
    known: dict[bytes, bool] = {}
    assert not targets.lie_below(real, b"done/a.jpg", known)
    targets.note(root / "done")
    found = {
        relative: targets.lie_below(real, relative, known)
        for relative in (b"done/a.jpg", b"done/2026/b.jpg", b"new/c.jpg", b"d.jpg")
    }
    assert found == {b"done/a.jpg": True, b"done/2026/b.jpg": True, b"new/c.jpg": False, b"d.jpg": False}
    assert not targets.lie_below(real, b"gone/e.jpg", known)


def test_a_move_that_would_lead_into_a_watched_folder_is_refused(root: Path, tmp_path: Path) -> None:
    """The file would be taken again, and moved again. A target inside the folder is known, and nothing in it is taken."""
    targets, roots = MoveTargets(), {identity(root)}
    targets.refuse_loop(root / "done", os.fsencode(root / "done" / "2026"), roots)
    outside = tmp_path / "archive"
    outside.mkdir()
    targets.refuse_loop(outside, os.fsencode(outside), roots)
    loop = outside / "2026"
    loop.symlink_to(root / "new")
    with pytest.raises(Unavailable, match="leads into a watched folder"):
        targets.refuse_loop(outside, os.fsencode(loop), roots)
