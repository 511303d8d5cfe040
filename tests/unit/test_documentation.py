"""What the documentation says exists, and what exists is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from watcher.cli import app, audit_app, notify_app
from watcher.config.api_tables import StoreTable
from watcher.config.engine_settings import B2ConnectorSettings, DirectoryConnectorSettings
from watcher.config.folder_settings import Folder, Rendition
from watcher.config.schema import Settings
from watcher.model import Event, FailedReason, IgnoredReason

LOG = Path("docs/LOG.md").read_text(encoding="utf-8")
README = Path("README.md").read_text(encoding="utf-8")
EXAMPLE = Path("config.example.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("event", list(Event))
def test_every_event_is_in_the_log_page(event: Event) -> None:
    """A name that turns up in a log can be looked up."""
    assert f"`{event}`" in LOG


def test_the_log_page_names_no_event_that_does_not_exist() -> None:
    """The catalogue is closed, on paper too."""
    named = set(re.findall(r"`((?:service|config|folder|watch|scan|image|api|journal|serve|notify)\.[a-z]+)`", LOG))

    assert named <= {str(event) for event in Event}


@pytest.mark.parametrize("reason", [*FailedReason, *IgnoredReason])
def test_every_reason_is_in_the_log_page(reason: str) -> None:
    """So is the reason of an ending, or of none."""
    assert f"`{reason}`" in LOG


def setting_names(model: type[BaseModel]) -> set[str]:
    """The keys of a table and of all tables below it."""
    names = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= setting_names(field.annotation)
    return names


ALL_TABLES = (Settings, Folder, Rendition, StoreTable, B2ConnectorSettings, DirectoryConnectorSettings)


@pytest.mark.parametrize("name", sorted(set().union(*map(setting_names, ALL_TABLES))))
def test_every_setting_is_in_the_example(name: str) -> None:
    """config.example.toml shows and explains every key."""
    assert re.search(rf"\b{name}\b", EXAMPLE)


def test_every_command_is_in_the_readme_and_has_help() -> None:
    """Nobody has to guess what there is."""
    commands = [*app.registered_commands, *audit_app.registered_commands, *notify_app.registered_commands]
    for command in commands:
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert f"{name}" in README
        assert command.callback is not None
        assert command.callback.__doc__


def test_links_of_the_documentation_lead_somewhere() -> None:
    """A page that is named is there."""
    for page in (Path("README.md"), *Path("docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


PAPERS = (Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").glob("*.md")))
_ROOMS = ("watcher/", "tests/", "docs/", "systemd/", "benchmarks/", ".ci/")


@pytest.mark.parametrize("page", PAPERS, ids=str)
def test_paths_that_the_documentation_names_exist(page: Path) -> None:
    """What is moved moves on paper too; a module is named by its whole path, so that it can be opened."""
    named = set(re.findall(r"`([\w./-]+)`", page.read_text(encoding="utf-8")))
    whole = {name for name in named if name.startswith(_ROOMS)}
    bare = {name for name in named - whole if name.endswith((".py", ".sql"))}

    assert {name for name in whole if not Path(name).exists()} == set()
    assert bare == set()
