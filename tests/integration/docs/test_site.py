"""The documentation as a site."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGES = {str(page.relative_to("docs")) for page in Path("docs").rglob("*.md")}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every link and anchor leads somewhere, every page is in the navigation, and nothing is loaded from elsewhere."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(PAGES)
    loaded = {
        address
        for page in pages
        for address in re.findall(r"<(?:script|img|link)[^>]* (?:src|href)=\"(https?://[^\"]+)", page.read_text(encoding="utf-8"))
    }
    assert {address for address in loaded if "schema.org" not in address} == set()
