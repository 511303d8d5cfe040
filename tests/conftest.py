"""Rules of the whole suite.

A test that lacks a tool or a right skips itself with a reason, so that a developer's machine can run the rest. Where
WATCHER_TESTS_SKIP_NOTHING is set (continuous integration), a skip is a failure: nothing goes quiet there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

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


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in its own hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side (pytest-xdist), those that share something costly stay together: a store, a booted box."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if "s3" in getattr(item, "fixturenames", ()):
        return "s3"
    path = item.path.relative_to(item.config.rootpath)
    return str(path.parent) if "service" in path.parts and "system" in path.parts else str(path)


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _without_skips(report: Report) -> Report:
    if os.environ.get(SKIP_NOTHING) and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{SKIP_NOTHING} is set, and this was skipped: {reason}"
    return report
