"""The rule that nothing is skipped where nothing may be."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
RULES = Path(__file__).parents[2] / "conftest.py"
QUIET = ("-p", "no:cacheprovider", "-p", "no:asyncio")
SKIPPING = {
    "test": "import pytest\n@pytest.mark.skip(reason='no such tool')\ndef test_it(): pass\n",
    "fixture": "import pytest\n@pytest.fixture\ndef box(): pytest.skip('no such tool')\ndef test_it(box): pass\n",
    "module": "import pytest\npytest.skip('no such tool', allow_module_level=True)\n",
}


@pytest.mark.parametrize("kind", SKIPPING)
def test_a_skip_is_a_failure_where_nothing_may_be_skipped(
    kind: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable set, a skipped test, fixture or module fails the run and its reason is shown."""
    monkeypatch.setenv("WATCHER_TESTS_SKIP_NOTHING", "1")
    pytester.makeconftest(RULES.read_text(encoding="utf-8"))
    pytester.makepyfile(SKIPPING[kind])
    result = pytester.runpytest(*QUIET)
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*WATCHER_TESTS_SKIP_NOTHING is set, and this was skipped:*no such tool*"])


@pytest.mark.parametrize("kind", SKIPPING)
def test_a_skip_is_a_skip_elsewhere(kind: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, a skipped test is no failure."""
    monkeypatch.delenv("WATCHER_TESTS_SKIP_NOTHING", raising=False)
    pytester.makeconftest(RULES.read_text(encoding="utf-8"))
    pytester.makepyfile(SKIPPING[kind])
    outcome = pytester.runpytest(*QUIET).parseoutcomes()
    assert (outcome.get("skipped"), outcome.get("failed"), outcome.get("errors")) == (1, None, None)


def test_an_expected_failure_is_no_skip(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is marked to fail, and does, passes the rule."""
    monkeypatch.setenv("WATCHER_TESTS_SKIP_NOTHING", "1")
    pytester.makeconftest(RULES.read_text(encoding="utf-8"))
    pytester.makepyfile("import pytest\n@pytest.mark.xfail(reason='known')\ndef test_it(): assert False\n")
    assert pytester.runpytest(*QUIET).parseoutcomes() == {"xfailed": 1}
