"""Rules of the integration tests: nothing of the project may block the event loop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.loopwatch import LoopWatch


@pytest.fixture(autouse=True)
def loop_watch() -> Iterator[LoopWatch]:
    """Fails a test in which a call of the project kept the loop waiting for more than 50 ms."""
    with LoopWatch() as watch:
        yield watch
    if watch.blocked:
        pytest.fail("the event loop was blocked: " + "; ".join(map(str, watch.blocked)))
