"""The clock for what is due."""

from __future__ import annotations

import time

import pytest

from watcher.clock import SystemClock


def test_steady_time_follows_no_clock_that_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with the monotonic time, goes along when the clock is set forward, and is never behind it."""
    moments = {"wall": 1_000.0, "monotonic": 50.0}
    monkeypatch.setattr(time, "time", lambda: moments["wall"])
    monkeypatch.setattr(time, "monotonic", lambda: moments["monotonic"])
    clock, seen = SystemClock(), list[float]()
    for wall, monotonic in ((1_000.0, 50.0), (-6_195.0, 55.0), (-6_190.0, 60.0), (8_215.0, 65.0), (1_025.0, 75.0)):
        moments |= {"wall": wall, "monotonic": monotonic}
        seen.append(clock.steady())
        assert clock.steady() >= clock.now()
    assert seen == [1_000.0, 1_005.0, 1_010.0, 8_215.0, 8_225.0]
