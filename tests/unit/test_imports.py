"""No circle of imports: whoever follows a module's imports comes to an end, those that only types need included.

Which layer may import which is import-linter's business (pyproject.toml); it says nothing about modules of one layer.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """One circle among modules (each with those it imports), from a module back to itself; empty where there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for types and imports inside of functions count like any other."""
    graph = grimp.build_graph("watcher", cache_dir=None, exclude_type_checking_imports=False)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    assert "watcher.model" in imports["watcher.ports"]  # one that only types need
    assert circle_in(imports) == []


@pytest.mark.parametrize(
    ("imports", "length"),
    [({"a": {"b"}, "b": {"c"}, "c": set()}, 0), ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, 3), ({"a": {"a"}}, 2)],
)
def test_a_circle_would_be_found(imports: dict[str, set[str]], length: int) -> None:
    """And told with the modules on its way."""
    assert len(circle_in(imports)) == length
