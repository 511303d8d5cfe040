"""What is remembered of deliveries that failed and have not ended."""

from watcher.delivery.last_failures import LastFailures
from watcher.model import Failure, FailureKind


def test_images_that_end_unseen_cost_no_memory() -> None:
    """One that was superseded while it waited is never heard of again; the oldest go, and the gate is told."""
    forgotten: list[str] = []
    failures = LastFailures(forgotten.append, limit=3)
    for number in range(10):
        failures.keep(f"image {number}", Failure(FailureKind.TRANSIENT, "no"))
        failures.keep("goes on failing", Failure(FailureKind.TRANSIENT, f"{number}"))
    assert len(failures) == 3
    assert forgotten == [f"image {number}" for number in range(8)]
    last = failures.get("goes on failing")
    assert last is not None
    assert last.message == "9"


def test_what_has_ended_is_forgotten() -> None:
    """Without a word: whoever ended it has told the gate."""
    forgotten: list[str] = []
    failures = LastFailures(forgotten.append)
    failures.keep("a", Failure(FailureKind.TRANSIENT, "no"))
    failures.drop("a")
    failures.drop("never there")
    assert (failures.get("a"), len(failures), forgotten) == (None, 0, [])
