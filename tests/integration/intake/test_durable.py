"""Moving and deleting, taken up again after a crash at any step, and on shares that answer twice."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.intake import renaming
from watcher.intake.durable import _aside, delete_version, move_version
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


def asked_twice(call: Callable[..., None]) -> Callable[..., None]:
    """As NFS does where the first answer got lost: it is done, and the second asking finds nothing there."""

    def twice(*arguments: object, **more: object) -> None:
        call(*arguments, **more)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    return twice


class TestAnswersThatGotLost:
    """Of whatever call it was: what was to go is gone, what was to be moved is moved, and nothing is left under a hidden name."""

    @pytest.fixture(params=["renameat2", "unlink", "rename"])
    def lost(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of a local disk, of a share without RENAME_NOREPLACE, of one without links either."""

        def cannot(*_: object, **__: object) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        way = "_rename_exclusively"
        if request.param == "renameat2":
            monkeypatch.setattr(renaming, way, asked_twice(getattr(renaming, way)))
            return
        monkeypatch.setattr(renaming, way, cannot)
        monkeypatch.setattr(os, request.param, asked_twice(getattr(os, request.param)))
        if request.param == "rename":
            monkeypatch.setattr(os, "link", cannot)

    def test_a_deletion(self, tmp_path: Path, lost: None) -> None:
        path, observation = original(tmp_path / "drop")

        assert delete_version(os.fsencode(path), observation)
        assert os.listdir(path.parent) == []

    def test_a_move(self, tmp_path: Path, lost: None) -> None:
        path, observation = original(tmp_path / "drop")
        target = tmp_path / "done" / "a.jpg"

        assert move_version(os.fsencode(path), observation, os.fsencode(target), SHA1) == os.fsencode(target)
        assert target.read_bytes() == CONTENT
        assert os.listdir(path.parent) == []


@pytest.mark.parametrize("what", ["deleted", "moved"])
def test_a_file_that_somebody_else_removed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """In the instant before we do: there is nothing to do, and nothing of it is at the target."""
    path, observation = original(tmp_path / "drop")
    rename = renaming.rename_noreplace

    def too_late(source: bytes, target: bytes) -> None:
        path.unlink(missing_ok=True)
        rename(source, target)

    monkeypatch.setattr(renaming, "rename_noreplace", too_late)
    monkeypatch.setattr("watcher.intake.durable.rename_noreplace", too_late)
    target = tmp_path / "done" / "a.jpg"
    if what == "deleted":
        assert not delete_version(os.fsencode(path), observation)
    else:
        assert move_version(os.fsencode(path), observation, os.fsencode(target), SHA1) is None
    assert not target.exists()
