"""What is wrong with a configuration, all of it in one list and in TOML's words. Pure.

A problem that one table shows must not hide those that only the whole shows. So what is wrong is told, fixed in a copy as far as
it can be guessed (a misspelt key gets its right name, what cannot be used is left out), and the copy is looked at again.
"""

from __future__ import annotations

import copy
import re
import typing
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ValidationError

from watcher.config.schema import Settings
from watcher.config.spelling import did_you_mean, nearest
from watcher.config.values import PATTERN_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Path = Sequence[str | int]

MOST_ROUNDS: Final = 6
"""A table that is wrong can hide what is wrong in it so many times."""
_WANTED: Final[Mapping[str, str]] = {
    "string_type": 'must be a string ("...")',
    "path_type": 'must be a string ("...")',
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false, without quotes",
    "bool_parsing": "must be true or false, without quotes",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "list_type": "must be an array",
    "tuple_type": "must be an array",
}
_TYPES: Final[Sequence[tuple[type | tuple[type, ...], str]]] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "an integer"),
    (float, "a float"),
    (dict, "a table"),
    ((list, tuple), "an array"),
    ((datetime, date, time), "a date or time"),
)


def read_settings(data: Mapping[str, Any], place: Callable[[Path], str]) -> tuple[Settings | None, list[str], set[str]]:
    """The settings in `data`, or what is left of them; every problem that a table shows; and what was left out,
    by key and by path.

    `place` names where a path was written. The settings are None only where nothing can be made of the data.
    """
    work: Any = copy.deepcopy(dict(data))
    problems: dict[str, None] = {}
    left_out: set[str] = set()
    for _ in range(MOST_ROUNDS):
        try:
            return Settings(**work), list(problems), left_out
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False, include_context=False)
        found = [(real_path(detail["loc"], work), detail) for detail in details]
        told = [(path, detail) for path, detail in found if detail["type"] != "missing" or path[-1] not in left_out]
        problems |= dict.fromkeys(f"{place(path)}: {_message(detail, path, work)}" for path, detail in told)
        for path, detail in found:
            left_out |= {".".join(map(str, path)), *_mend(work, path, detail)}
    return None, list(problems), left_out


def _message(detail: Any, path: Path, data: Any) -> str:
    kind, value = detail["type"], _value(data, path)
    if kind == "extra_forbidden":
        return "no such setting" + did_you_mean(str(path[-1]), _free_keys(data, path))
    if kind == "missing":
        return "is missing"
    if _is_array_of_tables(path, value):
        return f"must be an array of tables: write [[{_dotted(path)}]] with two brackets"
    if kind in _WANTED:
        if _is_many_tables(value):
            return f"must be one table: write [{_dotted(path)}] with one bracket"
        if path and path[-1] == "listen":
            return f'must be a string like "127.0.0.1:8080"; this is {_type_word(value)}'
        return f"{_WANTED[kind]}; this is {_type_word(value)}"
    if kind == "string_pattern_mismatch":
        return next((words for pattern, words in PATTERN_WORDS.items() if pattern in detail["msg"]), detail["msg"])
    return str(detail["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _is_array_of_tables(path: Path, value: object) -> bool:
    return bool(path) and path[-1] in ("folders", "renditions") and isinstance(value, dict)


def _is_many_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path if not isinstance(part, int))


def _type_word(value: object) -> str:
    return next((word for kind, word in _TYPES if isinstance(value, kind)), "something else")


# --- a copy that can be looked at again -------------------------------------------------------------------------------------


def _mend(work: Any, path: Path, detail: Any) -> set[str]:
    """Change the copy so that what is wrong here is not in the way. Gives the keys that are left out by that."""
    if not path or (table := _value(work, path[:-1])) is None:
        return set()
    key, kind = path[-1], detail["type"]
    if kind == "missing":
        return _fill(table, key, path)
    if not isinstance(table, dict):
        return _mend(work, path[:-1], {"type": "unusable", "msg": ""})
    if kind == "extra_forbidden" and (right := nearest(str(key), _free_keys(work, path))):
        table[right] = table.pop(key)
        return set()
    if _is_array_of_tables(path, table.get(key)):
        table[key] = [table[key]]
        return set()
    value = table.get(key)
    if kind in _WANTED and isinstance(value, list) and _is_many_tables(value):
        table[key] = value[0]
        return set()
    named = re.match(r"(?:Value error, )?`(\w+)`", str(detail["msg"]))
    if isinstance(value, dict) and named and named[1] in value:
        del value[named[1]]
        return {named[1]}
    table.pop(key, None)
    return {str(key), *(value if isinstance(value, dict) else ())}


def _fill(table: Any, key: str | int, path: Path) -> set[str]:
    """Something in place of what is missing, so that the rest can be looked at; a folder of its own for each."""
    if isinstance(table, dict):
        table[key] = "/" + "-".join(map(str, path)) if key == "path" else "-".join(map(str, path))
    return {str(key)}


def _value(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _free_keys(data: Any, path: Path) -> list[str]:
    """The keys that the table above a path may have, and does not have yet."""
    table = _value(data, path[:-1])
    taken = set(table) if isinstance(table, dict) else set()
    return sorted({name for model in _models(path[:-1]) for name in model.model_fields} - taken)


def _models(path: Path) -> list[type[BaseModel]]:
    """The tables that may stand at a path."""
    models: list[type[BaseModel]] = [Settings]
    for part in path:
        if isinstance(part, int):
            continue
        fields = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        models = [found for annotation in fields for found in _inside(annotation)] or models
    return models


def _inside(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type such as `tuple[Folder, ...]` or `Presign | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for each in typing.get_args(annotation) for found in _inside(each)]


def real_path(location: Path, data: Any) -> list[str | int]:
    """`location` without the names that the validator adds: for alternatives of a union, and for a key itself."""
    path: list[str | int] = []
    location = [part for part in location if part != "[key]"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(data, dict) and (part in data or last):
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return path
