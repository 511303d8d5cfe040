"""What a preview makes of files and results: values in, values out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.drops import rules_for
from watcher.commands.preview import Candidate, spread
from watcher.commands.preview import rules_for as rules_of
from watcher.commands.preview_table import COLUMNS, Made, as_rows, figures, fitting
from watcher.errors import WatcherError

RULES = rules_for([{"name": "drop", "path": "/srv/drop"}])["drop"]


def candidates(count: int) -> list[Candidate]:
    return [Candidate(RULES, f"{number:03}.jpg", 1_000) for number in range(count)]


def made(name: str = "a.jpg", rendition: str | None = None, size: int = 250, source: int = 1_000, **more: Any) -> Made:
    base: dict[str, Any] = {"before": (100, 80), "after": (50, 40), "format": "jpeg"}
    return Made(name, rendition, source, f"products/{name}", Path("/tmp/x"), size=size, **{**base, **more})


@pytest.mark.parametrize(
    ("count", "limit", "numbers"), [(10, 3, [1, 5, 8]), (3, 5, [0, 1, 2]), (4, 0, [0, 1, 2, 3]), (100, 1, [50])]
)
def test_a_sample_is_spread_over_everything(count: int, limit: int, numbers: list[int]) -> None:
    """At even distances, none twice; all where there are no more, or no limit."""
    assert [int(each.relative[:3]) for each in spread(candidates(count), limit)] == numbers


def test_a_large_sample_holds_each_file_once() -> None:
    """However the numbers fall."""
    for limit in range(1, 50):
        chosen = spread(candidates(53), limit)
        assert len({each.relative for each in chosen}) == limit


def test_totals_are_those_of_the_sample_and_in_its_measure_of_everything() -> None:
    """Ten files of 1,000 bytes each, two of them sampled, one of which is a picture with two outputs."""
    shown = figures((10, 10_000), [[made(), made(rendition="thumb", size=50)]], 2)

    assert shown.words() == "1 picture, 2 requests: 1.0 kB -> 300 B; all 10 files: about 10 requests, 10.0 kB -> 3.0 kB"
    assert shown.fields() == {
        "sample": {"pictures": 1, "requests": 2, "bytes_before": 1_000, "bytes_after": 300, "refused": 0},
        "all": {"files": 10, "requests": 10, "bytes_before": 10_000, "bytes_after": 3_000, "extrapolated": True},
    }


def test_nothing_is_extrapolated_where_all_was_done() -> None:
    """And what would fail is counted."""
    shown = figures((1, 1_000), [[made(), made(rendition="thumb", problem="no")]], 1)

    assert shown.words() == "1 picture, 2 requests: 1.0 kB -> 250 B, 1 would fail"
    assert shown.fields()["all"]["extrapolated"] is False
    assert figures((0, 0), [], 0).words() == "0 pictures, 0 requests: 0 B -> 0 B"


def test_columns_that_do_not_fit_are_dropped_least_needed_first() -> None:
    """The file, what was saved and what is wrong stay; an output's name stays where there are several."""
    one = as_rows([made(warnings=("not_web_safe",))])
    assert fitting(one, 200) == [name for name in COLUMNS if name != "output"]
    assert "key" not in fitting(one, 60)
    assert {"file", "saved", "notes"} <= set(fitting(one, 30))
    two = as_rows([made(), made(rendition="thumb")])
    assert "output" in fitting(two, 60)


def test_rules_are_those_of_the_folder_that_a_path_lies_in() -> None:
    """Elsewhere those that were named, or the only ones; with several the question is asked back."""
    rules = rules_for([{"name": "one", "path": "/srv/one"}, {"name": "two", "path": "/srv/two"}])
    assert rules_of(rules, Path("/srv/two/sub/a.jpg"), None).folder.name == "two"
    assert rules_of(rules, Path("/home/a.jpg"), "one").folder.path == Path("/home")
    with pytest.raises(WatcherError, match="lies in no watched folder"):
        rules_of(rules, Path("/home/a.jpg"), None)
    assert rules_of({"one": rules["one"]}, Path("/home/a.jpg"), None).folder.name == "one"
