"""The way through the documentation."""

from __future__ import annotations

from pathlib import Path

import yaml

PAGES = {str(page.relative_to("docs")) for page in Path("docs").rglob("*.md")}


def test_every_page_is_in_the_navigation() -> None:
    """A page that nobody can reach is not read."""
    text = Path("mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text)["nav"]

    def places(entry: object) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        parts = entry.values() if isinstance(entry, dict) else entry
        return {place for part in parts for place in places(part)}  # type: ignore[attr-defined]

    assert places(nav) == PAGES
