"""Rules of the whole suite.

A test that lacks a tool or a right skips itself with a reason, so that a developer's machine can run the rest. Where
WATCHER_TESTS_SKIP_NOTHING is set (continuous integration), a skip is a failure: nothing goes quiet there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["tests.support.s3"]

SKIP_NOTHING = "WATCHER_TESTS_SKIP_NOTHING"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a test, with a skip made a failure where nothing may be skipped."""
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that skip themselves as a whole."""
    return _without_skips((yield))


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


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _without_skips(report: Report) -> Report:
    if os.environ.get(SKIP_NOTHING) and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{SKIP_NOTHING} is set, and this was skipped: {reason}"
    return report
