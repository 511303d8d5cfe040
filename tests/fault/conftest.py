"""The tests of faults run on either engine of the journal: `--journal postgresql`. Crashes at named points are SQLite's alone."""

from __future__ import annotations

import pytest

from tests.support.world import World


@pytest.fixture(autouse=True)
def journal_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each world under test keep its journal there."""
    if request.config.getoption("--journal") == "postgresql":
        monkeypatch.setattr(World, "make_database", staticmethod(request.getfixturevalue("postgres").database))
