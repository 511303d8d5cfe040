"""What the shell is offered."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.daemon import write_config
from watcher.cli import app
from watcher.cli.completion import failed_images, folders, forms, receivers, renditions, states


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the completion of a command with --config gets."""
    for name in [name for name in os.environ if name.startswith("WATCHER_")]:
        monkeypatch.delenv(name)
    config = write_config(
        tmp_path / "config.toml",
        {
            "state_dir": tmp_path / "state",
            "folders": [
                {"name": "products", "path": tmp_path / "a", "renditions": [{"name": "thumb", "store": {"path": "t/{name}"}}]},
                {"name": "press", "path": tmp_path / "b"},
            ],
            "notify": {"cms": {"url": "https://cms.example.com/hook"}},
            "publish": {"serve": {"public_url": "https://drops.example.com"}},
            "store": {"id": "c", "bucket": "my-bucket", "region": "eu-central-003"},
        },
    )
    return SimpleNamespace(params={"config": config})


def test_folders_and_receivers_are_those_of_the_configuration(context: Any) -> None:
    """By name, with a word of help."""
    assert [name for name, _ in folders(context, "pr")] == ["products", "press"]
    assert [name for name, _ in folders(context, "pro")] == ["products"]
    assert [name for name, _ in receivers(context, "")] == ["cms"]
    assert renditions(context, "") == [("thumb", "products")]


def test_states_are_those_of_list() -> None:
    """Including the files that no image was made of."""
    assert states("i") == ["ignored"]
    assert "waiting" in states("")
    assert forms("m") == ["markdown"]


def test_what_cannot_be_read_completes_to_nothing(context: Any, tmp_path: Path) -> None:
    """No journal yet, no configuration: the prompt says nothing."""
    assert failed_images(context, "") == []
    assert folders(SimpleNamespace(params={"config": tmp_path / "nowhere.toml"}), "") == []  # type: ignore[arg-type]


def test_help_shows_flags_without_a_type() -> None:
    """A flag takes nothing."""
    for words in (["--help"], ["list", "--help"], ["audit", "verify", "--help"]):
        shown = CliRunner().invoke(app, words).output
        assert "--help" in shown
        assert "bool" not in shown
