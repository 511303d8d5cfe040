"""Plots as SVG: images, bytes saved and seconds, hour by hour. Pure; nothing but numbers of ours gets into the markup."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from watcher.config.units import human_duration, human_size
from watcher.shown.hours import Hour, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HOUR: Final = 3600.0
WIDTH: Final = 360.0
HEIGHT: Final = 150.0
LEFT: Final = 46.0
TOP: Final = 10.0
BOTTOM: Final = 20.0
RIGHT: Final = 6.0
P50: Final = 0.5
P95: Final = 0.95


@dataclass(frozen=True, slots=True)
class Span:
    """What is plotted: `steps` pieces of `step` seconds each, the last of them still going on."""

    name: str
    start: float
    step: float
    steps: int

    @property
    def end(self) -> float:
        """Where the plot ends (Unix seconds)."""
        return self.start + self.step * self.steps


def last_day(now: float) -> Span:
    """24 hours, hour by hour."""
    return Span("last day", now // HOUR * HOUR - 23 * HOUR, HOUR, 24)


def last_month(now: float, zone: tzinfo) -> Span:
    """30 days, day by day as the clock on the wall has them."""
    today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return Span("last 30 days", today - 29 * 24 * HOUR, 24 * HOUR, 30)


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot: what it shows, and in words."""

    title: str
    words: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Activity:
    """The three plots of a span."""

    name: str
    plots: tuple[Plot, ...]


def activity(hours: Sequence[Hour], span: Span, zone: tzinfo) -> Activity:
    """What was done in a span."""
    pieces = gathered(hours, span)
    labels = [_label(piece.start, span, zone) for piece in pieces]
    return Activity(span.name, (_images(pieces, span, labels), _saved(pieces, span, labels), _seconds(pieces, span, labels)))


def gathered(hours: Sequence[Hour], span: Span) -> list[Hour]:
    """One Hour for each step of the span, with the sums of its hours."""
    sums: list[list[Hour]] = [[] for _ in range(span.steps)]
    for hour in hours:
        place = math.floor((hour.start - span.start) / span.step)
        if 0 <= place < span.steps:
            sums[place].append(hour)
    return [_sum(span.start + place * span.step, each) for place, each in enumerate(sums)]


def _sum(start: float, hours: Sequence[Hour]) -> Hour:
    durations: dict[int, int] = {}
    for hour in hours:
        for step, count in hour.durations.items():
            durations[step] = durations.get(step, 0) + count
    return Hour(
        start,
        sum(hour.stored for hour in hours),
        sum(hour.failed for hour in hours),
        sum(hour.bytes_in for hour in hours),
        sum(hour.bytes_out for hour in hours),
        durations,
    )


# --- the three --------------------------------------------------------------------------------------------------------------


def _images(pieces: Sequence[Hour], span: Span, labels: Sequence[str]) -> Plot:
    stored, failed = sum(each.stored for each in pieces), sum(each.failed for each in pieces)
    per = "an hour" if span.step == HOUR else "a day"
    titles = [f"{label}: {each.stored} stored, {each.failed} failed" for label, each in zip(labels, pieces, strict=True)]
    stacks = [(("bar-good", float(each.stored)), ("bar-bad", float(each.failed))) for each in pieces]
    words = f"{stored} stored, {failed} failed in the {span.name}"
    return Plot(f"Images {per}", words, _bars(stacks, titles, labels, lambda value: f"{value:.0f}", words, whole=True))


def _saved(pieces: Sequence[Hour], span: Span, labels: Sequence[str]) -> Plot:
    saved = [max(0, each.bytes_in - each.bytes_out) for each in pieces]
    before = sum(each.bytes_in for each in pieces)
    share = f", {100 * sum(saved) / before:.0f} % of {human_size(before)}" if before else ""
    words = f"{human_size(sum(saved))} saved in the {span.name}{share}"
    titles = [f"{label}: {human_size(each)} saved" for label, each in zip(labels, saved, strict=True)]
    stacks = [(("bar-good", float(each)),) for each in saved]
    return Plot("Bytes saved", words, _bars(stacks, titles, labels, human_size, words))


def _seconds(pieces: Sequence[Hour], span: Span, labels: Sequence[str]) -> Plot:
    whole = _sum(span.start, pieces)
    overall = [percentile(whole.durations, share) for share in (P50, P95)]
    told = [f"{name} {human_duration(each)}" for name, each in zip(("p50", "p95"), overall, strict=True) if each is not None]
    words = f"{', '.join(told) or 'nothing stored'} in the {span.name}"
    lines = {
        "line-p95": [percentile(each.durations, P95) for each in pieces],
        "line-p50": [percentile(each.durations, P50) for each in pieces],
    }
    titles = [
        f"{label}: p50 {_or_dash(p50)}, p95 {_or_dash(p95)}"
        for label, p50, p95 in zip(labels, lines["line-p50"], lines["line-p95"], strict=True)
    ]
    return Plot("Seconds from drop to stored", words, _lines(lines, titles, labels, words))


def _or_dash(seconds: float | None) -> str:
    return "–" if seconds is None else human_duration(seconds)


def _label(start: float, span: Span, zone: tzinfo) -> str:
    then = datetime.fromtimestamp(start, zone)
    return f"{then:%H:%M}" if span.step == HOUR else f"{then.day} {then:%b}"


# --- drawing ----------------------------------------------------------------------------------------------------------------

Stack = tuple[tuple[str, float], ...]


def _bars(
    stacks: Sequence[Stack],
    titles: Sequence[str],
    labels: Sequence[str],
    words: Callable[[float], str],
    summary: str,
    *,
    whole: bool = False,
) -> Markup:
    top = nice_ceiling(max((sum(value for _, value in stack) for stack in stacks), default=0.0), whole=whole)
    step = (WIDTH - LEFT - RIGHT) / len(stacks)
    columns = [_column(LEFT + place * step, step, title) for place, title in enumerate(titles)]
    bars = [_bar(stack, LEFT + place * step, step, top) for place, stack in enumerate(stacks)]
    return _svg(summary, [*_axes(top, words, labels, step), *columns, *bars])


def _bar(stack: Stack, left: float, step: float, top: float) -> Markup:
    """Values on top of each other; whatever there is, is seen."""
    base, rects = HEIGHT - BOTTOM, []
    for name, value in stack:
        if value:
            tall = max(_tall(value, top), 1.0)
            base -= tall
            rects.append(_element("rect", class_=name, x=left + 0.75, y=base, width=step - 1.5, height=tall))
    return Markup("").join(rects)


def _lines(lines: Mapping[str, Sequence[float | None]], titles: Sequence[str], labels: Sequence[str], summary: str) -> Markup:
    top = nice_ceiling(max((value for each in lines.values() for value in each if value is not None), default=0.0))
    step = (WIDTH - LEFT - RIGHT) / len(titles)
    columns = [_column(LEFT + place * step, step, title) for place, title in enumerate(titles)]
    drawn = [_line(name, values, top, step) for name, values in lines.items()]
    return _svg(summary, [*_axes(top, human_duration, labels, step), *columns, *drawn])


def _line(name: str, values: Sequence[float | None], top: float, step: float) -> Markup:
    """A line through the middle of each step; it breaks where nothing was stored, and a lone value is a dot."""
    moves, dots, before = [], [], False
    for place, value in enumerate(values):
        if value is None:
            before = False
            continue
        x, y = LEFT + (place + 0.5) * step, HEIGHT - BOTTOM - _tall(value, top)
        moves.append(f"{'L' if before else 'M'}{x:.1f} {y:.1f}")
        dots.append(_element("circle", class_=name, cx=x, cy=y, r=1.6))
        before = True
    return Markup("").join([_element("path", class_=name, d="".join(moves)), *dots]) if moves else Markup("")


def _tall(value: float, top: float) -> float:
    return value / top * (HEIGHT - TOP - BOTTOM)


def _column(left: float, step: float, title: str) -> Markup:
    """The whole height of a step, so that its title is found by the pointer."""
    place = {"x": left, "y": TOP, "width": step, "height": HEIGHT - TOP - BOTTOM}
    return _element("rect", _element("title", title), class_="column", **place)


def _axes(top: float, words: Callable[[float], str], labels: Sequence[str], step: float) -> list[Markup]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        parts.append(_element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        parts.append(
            _element("text", words(share * top).replace(".0 ", " "), class_="tick", x=LEFT - 5, y=y + 3.5, text_anchor="end")
        )
    for place in range(0, len(labels), max(1, len(labels) // 4)):
        x = LEFT + (place + 0.5) * step
        parts.append(_element("text", labels[place], class_="tick", x=x, y=HEIGHT - 5, text_anchor="middle"))
    return parts


def _svg(summary: str, inside: Sequence[Markup]) -> Markup:
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return _element("svg", Markup("").join(inside), class_="plot", viewBox=box, role="img", aria_label=summary)


def _element(name: str, inside: Markup | str = "", /, **attributes: float | str) -> Markup:
    """An element; numbers are given to a tenth, and every text is escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value)
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inside)


def nice_ceiling(value: float, *, whole: bool = False) -> float:
    """The next round number above a value, so that the half of it is round as well; `whole`: a whole number."""
    least = 2.0 if whole else 0.01
    power = 10.0 ** math.floor(math.log10(max(value, least)))
    return next(factor * power for factor in (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0) if factor * power >= max(value, least))
