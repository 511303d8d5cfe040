"""Moving and deleting, taken up again after a crash at any step."""

import hashlib
import os
import shutil
from pathlib import Path

from watcher.intake.durable import _aside, move_version
from watcher.model import Observation

CONTENT = b"a picture"
SHA1 = hashlib.sha1(CONTENT).hexdigest()


def original(folder: Path) -> tuple[Path, Observation]:
    folder.mkdir()
    path = folder / "a.jpg"
    path.write_bytes(CONTENT)
    return path, Observation.of(path.stat())


def test_what_was_taken_aside_goes_when_its_copy_is_there(tmp_path: Path) -> None:
    """Killed between the rename and the removal of an original that was copied to another disk: no hidden file stays."""
    path, observation = original(tmp_path / "drop")
    target = tmp_path / "done" / "a.jpg"
    target.parent.mkdir()
    shutil.copy2(path, target)
    path.rename(os.fsdecode(_aside(os.fsencode(path), observation)))

    moved = move_version(os.fsencode(path), observation, os.fsencode(target), SHA1)

    assert moved == os.fsencode(target)
    assert os.listdir(path.parent) == []
    assert target.read_bytes() == CONTENT


def test_what_was_taken_aside_comes_back_when_there_is_no_copy(tmp_path: Path) -> None:
    """Somebody took the copy away meanwhile: the original is the last one, and shows itself again."""
    path, observation = original(tmp_path / "drop")
    path.rename(os.fsdecode(_aside(os.fsencode(path), observation)))

    assert move_version(os.fsencode(path), observation, os.fsencode(tmp_path / "done" / "a.jpg"), SHA1) is None
    assert os.listdir(path.parent) == ["a.jpg"]
    assert path.read_bytes() == CONTENT
