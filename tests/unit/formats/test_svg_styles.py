"""What browsers make of an SVG's CSS, as text in and text out."""

from __future__ import annotations

import pytest

from watcher.formats.svg import Root
from watcher.formats.svg_styles import background, has_unknown, resolved


def svg(body: str, attributes: str = "") -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"{attributes}>{body}</svg>'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<style>:root{--a: red} rect{fill:var(--a)}</style>", "<style>:root{--a: red} rect{fill:red}</style>"),
        ('<rect fill="var( --a , #123 )"/>', '<rect fill="#123"/>'),
        ('<rect style="--a:var(--b);--b:blue;fill:var(--a)"/>', '<rect style="--a:blue;--b:blue;fill:blue"/>'),
        ('<rect fill="var(--a, rgb(1, 2, 3))"/>', '<rect fill="rgb(1, 2, 3)"/>'),
        ("<rect style='fill:light-dark(#fff, var(--d, #000))'/>", "<rect style='fill:#fff'/>"),
        ("<rect style='fill:light-dark(rgb(1, 2, 3), #000)'/>", "<rect style='fill:rgb(1, 2, 3)'/>"),
        (
            "<style>a{--a:red} @media print{a{--a:blue}} a{fill:var(--a)}</style>",
            "<style>a{--a:red} @media print{a{--a:blue}} a{fill:red}</style>",
        ),
        ('<rect fill="var(--nothing)"/>',) * 2,
        ('<rect style="--a:var(--a)x;fill:var(--a)"/>', None),
        ("<text>var is a word</text>",) * 2,
    ],
)
def test_variables_are_put_in_their_place(before: str, after: str | None) -> None:
    """The first value of each; what is said nowhere stays, and one that is made of itself ends somewhere."""
    for codec in ("utf-8", "utf-16"):
        found = resolved(svg(before).encode(codec)).decode(codec)
        assert after is None or found == svg(after)


@pytest.mark.parametrize(
    ("style", "colour"),
    [
        ("background:#fff", "#fff"),
        ("fill:red; background-color : rgb(1, 2, 3) ; x:y", "rgb(1, 2, 3)"),
        ("background: #fff; background-color: black", "black"),
        ("enable-background:new 0 0 8 8", ""),
        ("", ""),
    ],
)
def test_the_background_of_the_root(style: str, colour: str) -> None:
    assert background(Root("svg", {"style": style})) == colour


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ('<rect style="clip-path:circle(3px)"/>', True),
        ('<rect clip-path="url(#c)"/>', False),
        ("<path style=\"d:path('M0 0')\"/>", True),
        ('<rect style="transform:rotate(9deg);transform-origin:4px 4px"/>', True),
        ('<rect style="transform:rotate(9deg);transform-origin:0 0"/>', False),
        ("<style>a{transform-origin:center;animation:x 1s} @keyframes x{to{transform:rotate(9deg)}}</style>", False),
        ('<rect transform="rotate(9)"/>', False),
    ],
)
def test_css_that_is_not_drawn_is_known(body: str, *, unknown: bool) -> None:
    """An animation that has not begun moves nothing."""
    assert has_unknown(svg(body).encode()) is unknown
