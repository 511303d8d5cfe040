"""The configuration's reference page, JSON Schema and example: three views of one schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from watcher.config.reference import PAGE_FILE, SCHEMA_FILE, json_schema, page, schema_text
from watcher.config.schema import Settings
from watcher.config.units import parse_duration

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8")
UNDESCRIBED = {"compressor", "publish", "serve", "presign", "verify", "log", "admin", "engine", "cluster", "kind"}
"""Tables whose class says what they are for, and the word that tells connectors apart."""


def keys(node: Any) -> dict[str, Any]:
    """Every key of the schema with what it says of it; of several with one name the last."""
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    return {key: value for table in tables for key, value in table.get("properties", {}).items()}


@pytest.mark.parametrize("file", [PAGE_FILE, SCHEMA_FILE])
def test_what_is_published_is_what_the_schema_says(file: str) -> None:
    """`make reference` was run after the last change of the schema."""
    made = page() if file == PAGE_FILE else schema_text()

    assert (REPOSITORY / "docs" / file).read_text(encoding="utf-8") == made, "run `make reference`"


def test_every_key_is_described() -> None:
    """An attribute docstring below each field of the schema."""
    silent = {key for key, value in keys(json_schema()).items() if not value.get("description")}

    assert silent <= UNDESCRIBED


def test_the_example_shows_every_key() -> None:
    """Each key stands in config.example.toml, set or commented out."""
    missing = [key for key in keys(json_schema()) if not re.search(rf"(?m)(^|[\s{{\[.#]){key}\b\s*(=|\]|\.)", EXAMPLE)]

    assert missing == []


@pytest.mark.parametrize(
    ("before", "after", "sound"),
    [("", "", True), ("concurrency = 16", "concurency = 16", False), ('rescan = "5m"', "rescan = 5", False)],
    ids=["as it is", "misspelt key", "number for a duration"],
)
def test_an_editor_can_check_the_example(tmp_path: Path, before: str, after: str, sound: bool) -> None:
    """A checker of TOML that reads the JSON Schema accepts the example, and refuses it with a mistake in it."""
    text = re.sub(r"(?m)^# (rescan|concurrency) ", r"\1 ", EXAMPLE).replace(before, after)
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    schema = (REPOSITORY / "docs" / SCHEMA_FILE).as_uri()
    taplo = Path(sys.executable).with_name("taplo")
    done = subprocess.run([taplo, "check", "--schema", schema, tmp_path / "config.toml"], capture_output=True, text=True)

    assert (done.returncode == 0) is sound, done.stderr


def test_every_key_of_the_example_is_known() -> None:
    """With all comments that are keys taken in, the example still loads: no key is misspelt or gone."""
    data = tomllib.loads(EXAMPLE)

    assert Settings.model_validate(data).folders


def test_defaults_are_written_as_in_toml() -> None:
    """A duration's default is text with a unit, and means what the schema holds."""
    assert keys(json_schema())["timeout"]["default"] == "2m"
    assert parse_duration(json_schema()["properties"]["rescan"]["default"]) == 300.0


def test_nothing_in_the_schema_is_null() -> None:
    """TOML has no null, so an editor must not offer it."""
    assert "null" not in re.findall(r'"type": "(\w+)"', json.dumps(json_schema()))
