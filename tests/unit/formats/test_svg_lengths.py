"""Lengths that renderers do not know, put into pixels. The sizes are those that Chromium shows."""

from __future__ import annotations

import pytest

from watcher.formats.sizes import pixel_size
from watcher.formats.svg_lengths import has_calculated, in_pixels
from watcher.model import Format

BOX = 'viewBox="0 0 20 10"'


def document(attributes: str, body: str = "") -> str:
    return f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'


def size(content: bytes) -> tuple[int, int] | None:
    return pixel_size(lambda offset, count: content[offset : offset + count], len(content), Format.SVG)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (f'width="10em" {BOX}', (160, 80)),
        (f'height="5em" {BOX}', (160, 80)),
        (f'width="10rem" {BOX}', (160, 80)),
        ('width="10rem" height="5rem"', (160, 80)),
        ('width="25rem" height="200" font-size="9"', (225, 200)),
        ('width="100Q" height="80q"', (94, 76)),
        (f'width="10em" {BOX} font-size="10pt"', (133, 67)),
        (f'width="10em" {BOX} style="fill:red; font-size:150%"', (240, 120)),
        (f'width="10em" {BOX} style="font:20px serif"', (200, 100)),
        (f'width="10em" {BOX} style="font: bold 15pt/2 serif"', (200, 100)),
        (f'width="10em" {BOX} font-size="large"', (180, 90)),
        (f'width="10rem" {BOX} font-size="2rem"', (320, 160)),
        (f'width="undefined" height="30" {BOX}', (60, 30)),
        (f'width="1.5.5" height="30" {BOX}', (60, 30)),
        (f'width="" height="" {BOX}', (20, 10)),
        (f'width="100 px" height="50px" {BOX}', (100, 50)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_the_size_is_said_in_pixels(attributes: str, expected: tuple[int, int], encoding: str) -> None:
    """As browsers have it, and the same before and after."""
    text = document(attributes).encode(encoding)

    made = in_pixels(text)

    assert size(text) == size(made) == expected
    assert b"em" not in made.replace(b"\0", b"").replace(b'"2rem"', b"")


def test_what_every_renderer_knows_stays_as_it_was() -> None:
    """Nothing but the font size of browsers is added."""
    text = document('width="10mm" height="50%" viewBox="0 0 20 10"', '<rect width="2em" height="10%"/>').encode()

    assert in_pixels(text) == text.replace(b"<svg", b'<svg font-size="16px"')


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<rect width="5rem" height="20"/>', '<rect width="80px" height="20"/>'),
        ("<rect width='101.6Q'/>", "<rect width='96px'/>"),
        ('<rect width="50vw" height="10vh"/>', '<rect width="100px" height="10px"/>'),
        ('<rect width="10vmin" height="10vmax"/>', '<rect width="10px" height="20px"/>'),
        ('<g style="font-size:1.5rem;x:2"/>', '<g style="font-size:24px;x:2"/>'),
        ("<style>text { font-size: 2rem }</style>", "<style>text { font-size: 32px }</style>"),
        ("<style>text { font-size: 2rem; }</style>", "<style>text { font-size: 32px; }</style>"),
        ("<style>text{font-size:2rem}</style>", "<style>text{font-size:32px}</style>"),
        ("<text>Dose: 5rem; 3Q</text>", "<text>Dose: 5rem; 3Q</text>"),
        ('<text id="5 rem">width="5 rem"</text>', '<text id="5 rem">width="5 rem"</text>'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_lengths_within_are_said_in_pixels(body: str, expected: str, encoding: str) -> None:
    """Those of attributes and styles; no text that is shown."""
    mark = "\ufeff" if encoding != "utf-8" else ""
    text = (mark + document('width="200" height="100"', body + "<text>Ä</text>")).encode(encoding)

    assert expected in in_pixels(text).decode(encoding)


@pytest.mark.parametrize(
    "text", [b"no drawing", b"", b"<svg", b'<svg width="1em"', "<svg/>".encode("utf-32"), b"<svg width=1em/>"]
)
def test_what_is_no_drawing_stays_as_it_was(text: bytes) -> None:
    """Others say what is wrong with it."""
    assert in_pixels(text) == text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<rect width="calc(10px + 2em)"/>', True),
        ('<rect style="width: calc(10px + 2em)"/>', True),
        ("<style>rect{stroke-width:max(1px,2px)}</style>", True),
        ('<rect transform="translate(2)" fill="url(#a)" style="fill:light-dark(#000,#fff)"/>', False),
        ("<text>x = calc(2)</text>", False),
    ],
)
def test_calculated_lengths_are_found(body: str, *, expected: bool) -> None:
    """No renderer of files works them out."""
    assert has_calculated(document("", body).encode()) == has_calculated(document("", body).encode("utf-16")) == expected
