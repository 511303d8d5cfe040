"""What the commands make of options, records and names: values in, values out."""

import pytest

from tests.support.records import rule, sighting
from watcher.commands.listing import COLUMNS, check_state, listed, parse_since
from watcher.commands.printing import moment
from watcher.commands.retry import not_failed, summary
from watcher.log.console import outcome, plain
from watcher.model import Image, Output, OutputState
from watcher.records.listed import ListedOutput

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - 7_200),
        ("1d", NOW - 86_400),
        ("90s", NOW - 90),
        ("2026-01-31", 1_769_817_600.0),
        ("2026-01-31T10:42:00Z", 1_769_856_120.0),
        ("2026-01-31T10:42:00+02:00", 1_769_848_920.0),
        ("2026-01-31 10:42", 1_769_856_120.0),
    ],
)
def test_since_is_a_duration_or_a_date(text: str, expected: float) -> None:
    """A duration counts back from now; a date without a zone is UTC, as the log is."""
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "3", "2h ago", "2026-13-01", "2026-01-31T99:00"])
def test_since_refuses_what_is_neither(text: str) -> None:
    """The message shows both forms."""
    with pytest.raises(ValueError, match='neither a duration like "2h" nor a date like 2026-01-31'):
        parse_since(text, NOW)


def test_states_are_those_of_the_journal() -> None:
    """An unknown state is refused with the list of those there are."""
    assert "failed" == check_state("failed")
    assert "finished" == check_state("finished")
    with pytest.raises(ValueError, match="there are waiting, requested, enqueued, stored, failed"):
        check_state("done")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chair.jpg", "chair.jpg"),
        ("Stuhl größer 椅子.jpg", "Stuhl größer 椅子.jpg"),
        ("a\x1b[31mred\nnext\t.jpg", "a\\x1b[31mred\\nnext\\t.jpg"),
        ("bad\udcff.jpg", "bad\\udcff.jpg"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
    ],
)
def test_names_cannot_steer_the_terminal(text: str, expected: str) -> None:
    """Letters of all scripts stay; escapes, line ends, broken bytes and turned directions are shown, not obeyed."""
    assert plain(text) == expected


def test_moments_are_utc() -> None:
    """As the log's timestamps, to the second."""
    assert moment(1_769_856_120.9) == "2026-01-31 10:42:00"
    assert moment(None) == ""


def test_an_ending_comes_down_to_a_place_or_a_reason() -> None:
    """A link goes before the URL; a failure has reason, message and hint."""
    assert outcome({"url": "https://b/k"}) == "https://b/k"
    assert outcome({"url": "https://b/k", "link": "https://cdn/k"}) == "https://cdn/k"
    assert outcome({"reason": "rejected", "message": "no", "hint": "try"}) == "rejected: no (try)"
    assert outcome({"event": "image.vanished"}) == ""


def image(*outputs: Output) -> Image:
    """An image as the journal gives it."""
    seen = sighting(under=rule("thumb"))
    return Image("0123-4567", seen.file, seen.observation, seen.rule, seen.detected_at, outputs=outputs)


def test_a_listed_output_has_every_column() -> None:
    """Before the ending the figures are empty and the next try is told; afterwards the other way round."""
    waiting = ListedOutput("0123-4567", "products", b"/srv/a.jpg", 1.0, 1_000, None, "waiting", None, 2, NOW, {})
    before = listed(waiting)
    record = {"timestamp": "T", "url": "u", "attempts": 3, "output": {"size": 7}, "saved_bytes": 1, "seconds": 0.5}
    after = listed(waiting._replace(state="stored", key="k", told=record))

    assert set(COLUMNS) == set(before) == set(after)
    assert (before["state"], before["attempts"], before["url"], before["due"]) == (
        "waiting",
        2,
        None,
        "2027-01-15T08:00:00.000000Z",
    )
    assert (after["state"], after["attempts"], after["url"], after["ended"], after["due"]) == ("stored", 3, "u", "T", None)
    assert (before["input_size"], after["output_size"]) == (1_000, 7)


def test_only_ended_failures_can_be_retried() -> None:
    """An image that did not fail, or has outputs under way, is refused in words."""
    failed, stored = Output(None, OutputState.FAILED), Output("thumb", OutputState.STORED)
    under_way = Output("thumb", OutputState.REQUESTED)

    assert not_failed(image(failed, stored)) is None
    assert not_failed(image(stored)) == "it has not failed, it is stored"
    assert "still under way" in (not_failed(image(failed, under_way)) or "")


def test_the_summary_counts() -> None:
    """How many, and who takes them when."""
    assert summary(0, woken=False) == "nothing was put back in the queue"
    assert summary(1, woken=True) == "1 image is in the queue again"
    assert summary(2, woken=False).startswith("2 images are in the queue again; the daemon takes them when")
