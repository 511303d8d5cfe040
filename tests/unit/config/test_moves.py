"""Where originals may be moved to: not where they would be found again, by whatever name."""

from __future__ import annotations

from pathlib import Path

import pytest

from watcher.config.loading import load_settings
from watcher.config.validation import LookedAt, check_whole
from watcher.errors import ConfigurationError

STORE = {"id": "connector", "bucket": "bucket", "region": "eu-central-003"}


def problems(path: Path, target: str, **folder: object) -> list[str]:
    """Of a configuration whose one folder moves to `target`."""
    folders = [{"name": "f", "path": str(path / "drop"), "on_success": {"move": target}, **folder}]
    data = {"state_dir": str(path / "state"), "compressor": {"url": "embedded"}, "store": STORE, "folders": folders}
    try:
        load_settings(data, {})
    except ConfigurationError as error:
        return list(error.problems)
    return []


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "drop" / "sub").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("drop")
    (tmp_path / "drop" / "out").symlink_to("../other")
    return tmp_path


@pytest.mark.parametrize("target", ["drop", "link", "other/../drop", "drop/."])
def test_the_folder_itself_is_refused(place: Path, target: str) -> None:
    """By its name or another one."""
    (problem,) = problems(place, f"{place}/{target}")
    assert problem.startswith("folders[0].on_success: ")
    assert "itself" in problem


@pytest.mark.parametrize("target", ["link/done", "other/../drop/done", "link/sub/a/b", "other/../link/done"])
def test_a_folder_in_it_by_another_name_is_refused(place: Path, target: str) -> None:
    """Whether it is there already or not."""
    (problem,) = problems(place, f"{place}/{target}")
    assert "by another name" in problem


@pytest.mark.parametrize(
    "target", ["drop/done", "drop/sub", "other", "other/new/deep", "drop/out", "drop/out/done", "missing/done"]
)
def test_other_folders_are_fine(place: Path, target: str) -> None:
    """Outside of it, or seen to lie in it, where nothing is taken from."""
    assert problems(place, f"{place}/{target}") == []


def test_below_a_folder_that_is_not_recursive_nothing_is_found_anyway(place: Path) -> None:
    """But in itself it is."""
    assert problems(place, f"{place}/link/done", recursive=False) == []
    assert problems(place, f"{place}/link", recursive=False) != []


def test_a_bind_mount_is_another_name(place: Path) -> None:
    """Told by device and inode: no link leads there."""
    (place / "bound").mkdir()
    folders = [{"name": "f", "path": str(place / "drop"), "on_success": {"move": str(place / "bound" / "done")}}]
    data = {"state_dir": str(place / "state"), "compressor": {"url": "embedded"}, "store": STORE, "folders": folders}
    settings = load_settings(data, {})
    top, root = (1, 2), (1, 7)
    chains = {place / "drop": (root, top), place / "bound" / "done": (None, root, top)}
    (problem,) = check_whole(settings, "daemon", {}, LookedAt(chains=chains))
    assert "by another name" in problem


def test_another_watched_folder_counts_as_well(place: Path) -> None:
    """Moving into it would have it taken there."""
    folders = [
        {"name": "a", "path": str(place / "other"), "on_failure": {"move": str(place / "link" / "bad")}},
        {"name": "b", "path": str(place / "drop")},
    ]
    data = {"state_dir": str(place / "state"), "compressor": {"url": "embedded"}, "store": STORE, "folders": folders}
    with pytest.raises(ConfigurationError, match=r"folders\[0\].on_failure: .* folders\[1\].path"):
        load_settings(data, {})
