"""The plots: sums, scales and markup."""

import xml.etree.ElementTree as ET
from datetime import UTC, timedelta, timezone

import pytest

from watcher.service.page.plots import Plot, activity, gathered, last_day, last_month, nice_ceiling
from watcher.shown.hours import Hour, duration_step

NOW = 1_796_000_400.0 + 1_800.0  # 2026-11-30 01:30 UTC
HOUR = 3_600.0


def bars(plot: Plot, name: str) -> list[float]:
    """The heights of a plot's bars of a kind."""
    return [float(each.attrib["height"]) for each in ET.fromstring(plot.svg).iter("rect") if each.attrib["class"] == name]


def test_a_day_is_24_hours_up_to_now() -> None:
    """The hour that goes on is the last; what is older is not in it."""
    hours = [Hour(NOW // HOUR * HOUR - back * HOUR, stored=back + 1) for back in (0, 23, 24)]
    assert [each.stored for each in gathered(hours, last_day(NOW))] == [24, *[0] * 22, 1]


def test_a_month_is_30_days_of_the_clock_on_the_wall() -> None:
    """Days begin at midnight here, and hours are summed up."""
    zone = timezone(timedelta(hours=-5))
    span = last_month(NOW, zone)
    assert (NOW - span.end) / HOUR == pytest.approx(-3.5)
    hours = [Hour(NOW // HOUR * HOUR - back * HOUR, 1, 2, 10, 4, {3: 1}) for back in range(30)]
    *_, before, today = gathered(hours, span)
    assert (today.stored, today.failed, today.bytes_in, today.durations) == (21, 42, 210, {3: 21})
    assert before.stored == 9


def test_plots_tell_their_sums_in_words_and_bars() -> None:
    """Who cannot see the bars hears the sums."""
    steps = {duration_step(0.5): 19, duration_step(4.0): 1}
    day = activity([Hour(NOW // HOUR * HOUR, 20, 2, 1_000_000, 250_000, steps)], last_day(NOW), UTC)
    images, saved, seconds = day.plots

    assert (images.title, images.words) == ("Images an hour", "20 stored, 2 failed in the last day")
    assert saved.words == "750.0 kB saved in the last day, 75 % of 1.0 MB"
    assert seconds.words.startswith("p50 ")
    assert [round(each / bars(images, "bar-bad")[0]) for each in bars(images, "bar-good")] == [10]
    for plot in day.plots:
        svg = ET.fromstring(plot.svg)
        assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", plot.words)
        assert "style" not in plot.svg
    assert any("01:00: 20 stored, 2 failed" in (each.text or "") for each in ET.fromstring(images.svg).iter("title"))


def test_nothing_done_is_an_empty_plot() -> None:
    """Every plot is there from the first day on."""
    for plot in activity([], last_month(NOW, UTC), UTC).plots:
        assert ET.fromstring(plot.svg).tag == "svg"
        assert bars(plot, "bar-good") == []


def test_what_grew_saved_nothing() -> None:
    """A bar below zero would be none."""
    _, saved, _ = activity([Hour(NOW // HOUR * HOUR, 1, 0, 100, 300, {})], last_day(NOW), UTC).plots
    assert saved.words.startswith("0 B saved")
    assert bars(saved, "bar-good") == []


@pytest.mark.parametrize(
    ("value", "whole", "ceiling"),
    [
        (0, True, 2),
        (1, True, 2),
        (3, True, 4),
        (5, True, 6),
        (10, True, 10),
        (11, True, 20),
        (999, True, 1_000),
        (0.03, False, 0.04),
        (7.5, False, 8),
    ],
)
def test_scales_end_at_round_numbers(value: float, whole: bool, ceiling: float) -> None:
    """So that the half of it is round too."""
    assert nice_ceiling(value, whole=whole) == pytest.approx(ceiling)
