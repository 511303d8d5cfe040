"""The tests of the suite's own helpers do what the suite forbids: they are not watched."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def loop_watch() -> None:
    """Nobody watches the watchman."""
