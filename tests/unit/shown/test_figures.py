"""How figures are put together, and what is worked out from them."""

from dataclasses import replace

import pytest

from watcher.shown.figures import Counts, DaemonFigures, JournalFigures, Status, paused_since, total
from watcher.shown.hours import duration_step, percentile
from watcher.shown.report import ApiFigures, DaemonReport, FolderState

REPORT = DaemonReport(ApiFigures("reachable"), (FolderState("a", "/a", "watching"), FolderState("b", "/b", "lost", "away")))
JOURNAL = JournalFigures({"a": Counts(3, 2, 1, {"stored": 9, "failed": 1}), "gone": Counts(1, 0, 0, {"stored": 5})})


def test_a_report_comes_back_from_json() -> None:
    """What a daemon says is read by commands of another process."""
    assert DaemonReport.from_json(REPORT.to_json()) == REPORT


def test_counts_are_the_sum_of_the_folders() -> None:
    """Folders that are no longer configured count, and are not shown."""
    status = Status.of(DaemonFigures("/state", 7, 0.0), REPORT, JOURNAL).fields()

    assert (status["queue"], status["in_flight"], status["failed"], status["ended"]["stored"]) == (4, 2, 1, 14)
    assert [(each["name"], each["state"], each["queue"]) for each in status["folders"]] == [
        ("a", "watching", 3),
        ("b", "lost", 0),
    ]
    assert status["api"]["words"] == "reachable"


def test_nothing_is_in_flight_where_no_daemon_runs() -> None:
    """What was sent when the daemon was killed waits for the next one, and nobody knows how the API does."""
    status = Status.of(DaemonFigures("/state"), REPORT, JOURNAL).fields()

    assert (status["running"], status["queue"], status["in_flight"]) == (False, 6, 0)
    assert status["api"]["state"] == "unknown"


def test_a_folder_is_paused_by_its_name_or_with_all_others() -> None:
    """Since the earlier of both."""
    journal = replace(JOURNAL, paused={"a": 5.0, None: 7.0})
    status = Status.of(DaemonFigures("/state", 7, 0.0), REPORT, journal).fields()
    assert [status["paused"], *(each["paused"] for each in status["folders"])] == [
        "1970-01-01T00:00:07.000000Z",
        "1970-01-01T00:00:05.000000Z",
        "1970-01-01T00:00:07.000000Z",
    ]
    assert (paused_since({"b": 1.0}, "a"), paused_since({}, "a")) == (None, None)


def test_total_of_nothing() -> None:
    """A journal without images."""
    assert total([]).fields()["queue"] == 0


@pytest.mark.parametrize("seconds", [0.012, 0.5, 1.0, 7.5, 300.0, 40_000.0])
def test_percentiles_are_within_a_tenth(seconds: float) -> None:
    """A duration that is counted by its step comes out as about itself."""
    assert percentile({duration_step(seconds): 3}, 0.5) == pytest.approx(seconds, rel=0.1)


def test_percentiles_of_many() -> None:
    """A share of the durations lies below."""
    steps: dict[int, int] = {}
    for tenths in range(1, 1_001):
        steps[duration_step(tenths / 10)] = steps.get(duration_step(tenths / 10), 0) + 1

    assert percentile(steps, 0.5) == pytest.approx(50, rel=0.1)
    assert percentile(steps, 0.95) == pytest.approx(95, rel=0.1)
    assert percentile({}, 0.5) is None
    assert (duration_step(0.0), duration_step(1e9)) == (0, 90)
