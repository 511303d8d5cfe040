"""The condition on queries of images that leaves out what is out of reach now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from watcher.model import Subtree

WITHIN_REACH: Final = "/* within reach */"
"""Stands in a query of `images` where the condition is to be."""


def within_reach(query: str, away: Collection[Subtree]) -> tuple[str, tuple[str | bytes, ...]]:
    """The query with its conditions, and the values of one of them, by which each begins."""
    condition, values = "", list[str | bytes]()
    for subtree in away:
        if subtree.top:
            inside = "images.relative = ? OR (images.relative >= ? AND images.relative < ?)"
            condition += f" AND NOT (images.folder = ? AND ({inside}))"
            values += [subtree.folder, subtree.top, subtree.top + b"/", subtree.top + b"0"]  # "0" comes after "/"
        else:
            condition += " AND images.folder <> ?"
            values.append(subtree.folder)
    return query.replace(WITHIN_REACH, condition), tuple(values)
