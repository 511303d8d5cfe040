"""The rule that nothing is skipped where nothing may be."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]
SKIPPING = {
    "test": "import pytest\n@pytest.mark.skip(reason='no such tool')\ndef test_it(): pass\n",
    "fixture": "import pytest\n@pytest.fixture\ndef box(): pytest.skip('no such tool')\ndef test_it(box): pass\n",
    "module": "import pytest\npytest.skip('no such tool', allow_module_level=True)\n",
}
EXPECTED = "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert False\n"


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.RunResult:
    """A run of the rule alone over every kind of skip, and a failure that is expected."""
    pytester.makepyfile(**{f"test_{kind}": text for kind, text in {**SKIPPING, "expected": EXPECTED}.items()})
    quiet = [part for plugin in ("cacheprovider", "asyncio", "xdist", "timeout") for part in ("-p", f"no:{plugin}")]
    return pytester.runpytest("-p", "tests.support.skipping", "--continue-on-collection-errors", *quiet)


@pytest.fixture
def nothing_may_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What continuous integration sets."""
    monkeypatch.setenv("WATCHER_TESTS_SKIP_NOTHING", "1")


@pytest.fixture
def anything_may_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's machine has."""
    monkeypatch.delenv("WATCHER_TESTS_SKIP_NOTHING", raising=False)


@pytest.mark.usefixtures("nothing_may_be_skipped")
def test_a_skip_is_a_failure_where_nothing_may_be_skipped(run: pytest.RunResult) -> None:
    """With the variable set, a skipped test, fixture or module fails the run and its reason is shown."""
    assert run.ret != 0
    outcome = run.parseoutcomes()
    assert outcome.get("failed", 0) + outcome.get("errors", 0) == len(SKIPPING)
    assert run.stdout.str().count("WATCHER_TESTS_SKIP_NOTHING is set, and this was skipped:") >= len(SKIPPING)
    assert "skipped" not in outcome


@pytest.mark.usefixtures("anything_may_be_skipped")
def test_a_skip_is_a_skip_elsewhere(run: pytest.RunResult) -> None:
    """Without the variable, a skipped test, fixture or module is no failure."""
    assert run.parseoutcomes() == {"skipped": len(SKIPPING), "xfailed": 1}


@pytest.mark.usefixtures("nothing_may_be_skipped")
def test_an_expected_failure_is_no_skip(run: pytest.RunResult) -> None:
    """A test that is marked to fail, and does, passes the rule."""
    assert run.parseoutcomes()["xfailed"] == 1
