"""Rules of the whole suite: what all tests may use, what a skip is, and in which order and where tests run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.postgres", "tests.support.s3", "tests.support.skipping"]

SLOW = [HealthCheck.too_slow]  # of a machine that others use as well, not of a strategy
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("search", deadline=None, suppress_health_check=SLOW)
settings.load_profile("suite")  # the same examples in each run; `make soak` searches among others

LONG_FIRST = ("tests/system/service", "tests/fault", "tests/system", "tests/property")
"""Where the tests lie that take longest: side by side with others they have to begin first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items.sort(key=lambda item: _length(item.nodeid))


def _length(nodeid: str) -> int:
    return next((place for place, folder in enumerate(LONG_FIRST) if nodeid.startswith(folder)), len(LONG_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file stay on one worker, and all that need the booted box on one: booting and installing takes the time."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::", 1)[0]
            return LONG_FIRST[0] if path.startswith(LONG_FIRST[0]) else path

    return Scheduling(config, log)
