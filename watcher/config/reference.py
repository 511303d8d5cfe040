"""The configuration's JSON Schema and reference page, both made from `schema`, so that there is one source for them.

`python -m watcher.config.reference docs` writes both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watcher.config.keys import FIELDS
from watcher.config.schema import Settings
from watcher.config.units import DURATION_SCHEMA, MODE_SCHEMA, SIZE_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

SCHEMA_FILE: Final = "config.schema.json"
PAGE_FILE: Final = "CONFIGURATION.md"
_SECONDS: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
_BYTES: Final = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3), ("B", 1))


def json_schema() -> Schema:
    """JSON Schema (2020-12) of the configuration file, for editors. Defaults are as they are written in TOML."""
    schema = _plain(Settings.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "compressor-watcher configuration",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _plain(node: Any) -> Any:
    """The schema without titles and without `null`, which TOML cannot say."""
    if isinstance(node, list):
        return [_plain(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _plain(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    if "anyOf" in node:
        node = _without_null(node)
    if node.get("default", "") is None or isinstance(node.get("default"), dict):
        del node["default"]
    if isinstance(node.get("default"), int | float) and not isinstance(node["default"], bool):
        node["default"] = _written(node["default"], node.get("pattern"))
    return node


def _without_null(node: Schema) -> Schema:
    kinds = [each for each in node.pop("anyOf") if each != {"type": "null"}]
    return {**kinds[0], **node} if len(kinds) == 1 else {**node, "anyOf": kinds}


def _written(value: float, pattern: str | None) -> float | str:
    if pattern == MODE_SCHEMA["pattern"]:
        return f"0{value:o}"
    units = _SECONDS if pattern == DURATION_SCHEMA["pattern"] else _BYTES if pattern == SIZE_SCHEMA["pattern"] else ()
    return next((f"{value / size:g}{unit}" for unit, size in units if value % size == 0), value)


# --- the page ---------------------------------------------------------------------------------------------------------------


def page() -> str:
    """The reference as Markdown: one table for each TOML table, in the order of the schema."""
    schema = json_schema()
    parts, shown = [_HEAD], dict[str, str]()
    for name, table in _tables(schema, schema, ""):
        parts += [f"## {name}", "", *_section(table, shown, name), ""]
    parts += ["## Fields of `store.path`", "", "| field | stands for |", "|---|---|"]
    parts += [f"| `{{{field}}}` | {meaning} |" for field, meaning in FIELDS.items()]
    return "\n".join(parts) + "\n"


_HEAD: Final = """# Configuration

Every key of `config.toml`. This page is made from the schema by `make reference`.
`compressor-watcher schema` prints the JSON Schema for editors.

Durations are written `"500ms"`, `"2s"`, `"5m"`, `"1h"`, `"90d"`, sizes `"32MB"`.
Every key can be set in the environment: `WATCHER_` and the path, with `__` between levels.
Order: command line, environment, systemd credentials, file, default.
"""


def _section(table: Schema, shown: dict[str, str], name: str) -> list[str]:
    """What a table is for and its rows; one that was shown under another name is only referred to."""
    rows = _rows(table)
    text = "\n".join(rows)
    if text in shown:
        return [f"The keys of {shown[text]}."]
    shown[text] = name
    note = str(table.get("description", "")).rpartition("]`: ")[2]
    return [f"{note[:1].upper()}{note[1:]}", "", *rows] if note else rows


def _tables(schema: Schema, node: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Each table with its name as TOML writes it."""
    yield (f"`{path}`" if path else "Top level"), node
    inside = path.strip("[]").partition(" ")[0]
    for key, value in node.get("properties", {}).items():
        for target, form in _targets(schema, value):
            yield from _tables(schema, target, form.format(f"{inside}.{key}" if inside else key))


def _targets(schema: Schema, value: Schema) -> Iterator[tuple[Schema, str]]:
    """The tables that a key holds, and how TOML writes their names."""
    if "$ref" in value:
        yield _resolved(schema, value), "[{}]"
    elif "properties" in value:
        yield value, "[{}]"
    elif "$ref" in value.get("items", {}):
        yield _resolved(schema, value["items"]), "[[{}]]"
    elif isinstance(value.get("additionalProperties"), dict):
        inner = value["additionalProperties"]
        for each in inner.get("oneOf", [inner]):
            if "$ref" in each:
                yield _resolved(schema, each), "[{}.NAME]"


def _resolved(schema: Schema, value: Schema) -> Schema:
    found: Schema = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return found


def _rows(table: Schema) -> list[str]:
    needed = table.get("required", ())
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(value, needed=key in needed)} | {_words(value)} |"
        for key, value in table.get("properties", {}).items()
        if "$ref" not in value and "properties" not in value
    ]
    return ["| key | kind | default | |", "|---|---|---|---|", *rows] if rows else ["Its tables follow."]


def _words(value: Schema) -> str:
    return str(value.get("description", "")).replace("\n", " ").replace("|", "\\|")


def _default(value: Schema, *, needed: bool) -> str:
    if needed:
        return "needed"
    default = value.get("default")
    return "" if default in (None, "", [], {}) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _kind(value: Schema) -> str:
    if "enum" in value:
        return " or ".join(f"`{json.dumps(each)}`" for each in value["enum"])
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    for one in ("anyOf", "oneOf"):
        if one in value:
            return " or ".join(_kind(each) for each in value[one])
    if "$ref" in value:
        return "table"
    if value.get("pattern") in (DURATION_SCHEMA["pattern"], SIZE_SCHEMA["pattern"]):
        return "duration" if value["pattern"] == DURATION_SCHEMA["pattern"] else "size"
    names = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "array": "list",
        "object": "table",
    }
    return "secret" if value.get("format") == "password" else names[value["type"]]


def write(folder: Path) -> None:
    """Write both files into `folder`."""
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(), encoding="utf-8")


def schema_text() -> str:
    """The JSON Schema as `compressor-watcher schema` prints it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
