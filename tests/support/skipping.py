"""A plugin of the suite: where nothing may be skipped, a skip is a failure.

A test that lacks a tool or a right skips itself with a reason, so that a developer's machine can run the rest. Where
WATCHER_TESTS_SKIP_NOTHING is set (continuous integration), a skip is a failure: nothing goes quiet there.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

SKIP_NOTHING = "WATCHER_TESTS_SKIP_NOTHING"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a test, with a skip made a failure where nothing may be skipped."""
    return _without_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that skip themselves as a whole."""
    return _without_skips((yield))


def _without_skips(report: Report) -> Report:
    if os.environ.get(SKIP_NOTHING) and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{SKIP_NOTHING} is set, and this was skipped: {reason}"
    return report
