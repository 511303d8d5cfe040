"""Calls of the API, and what is told of each."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeApi, StillClock, new_result, transient
from watcher.compressor.wire import FetchRequest, Pending
from watcher.errors import CallFailed
from watcher.service.observed_api import ObservedApi

REQUEST = FetchRequest("https://drops.example.com/t/token/a.jpg", {}, {}, {})


async def test_each_call_is_told_with_its_status_and_its_time() -> None:
    """The answer is passed on as it is."""
    clock, told = StillClock(), list[tuple[str, int | None, float]]()
    api = FakeApi([new_result(), Pending("job-1", "enqueued")])

    def two_seconds() -> None:
        clock.moment += 2.0

    api.meanwhile = two_seconds
    observed = ObservedApi(api, lambda *call: told.append(call), clock)
    assert await observed.fetch(REQUEST) == new_result()
    assert await observed.job("job-1") == Pending("job-1", "enqueued")
    await observed.account()
    assert told == [("fetch", 200, 2.0), ("job", 200, 2.0), ("account", 200, 0.0)]
    assert (api.requests, api.polls) == ([REQUEST], ["job-1"])


@pytest.mark.parametrize("status", [503, None], ids=["answered", "no answer"])
async def test_a_call_that_fails_is_told_and_fails(status: int | None) -> None:
    """No status stands for no answer."""
    told = list[tuple[str, int | None, float]]()
    failure = transient(status=status)
    observed = ObservedApi(FakeApi([failure]), lambda *call: told.append(call), StillClock())
    with pytest.raises(CallFailed) as caught:
        await observed.fetch(REQUEST)
    assert caught.value.failure == failure
    assert told == [("fetch", status, 0.0)]
