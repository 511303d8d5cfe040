"""A sheet of pictures before and after, as one HTML file: opens offline, loads nothing from elsewhere, runs no script.

`entry_markup` and what it calls are pure; `thumbnail` reads a picture and `write_sheet` writes the file.
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from watcher.config.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

THUMBNAIL_PIXELS: Final = 480
"""The longer side of a picture on the sheet."""
DETAIL_PIXELS: Final = (320, 240)
"""Width and height of a detail: no larger than pictures are shown, so that it is shown as it is."""
SAME_SHAPE: Final = 0.02
"""Pictures whose shape differs by more show different parts."""

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #666; --good: #0a7d38; --bad: #c4231c; --paper: #fff; --ink: #1a1a1a }
@media (prefers-color-scheme: dark) { :root { --soft: #aaa; --good: #5fd38d; --bad: #ff8a80; --paper: #16181b; --ink: #e8e8e8 } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem 1rem; background: var(--paper);
  color: var(--ink) }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere }
article { border-top: 1px solid var(--line); padding: 1rem 0 } p { margin: .25rem 0 1rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 1rem }
figure { margin: 0; min-width: 0 } figcaption { font-size: .86rem; overflow-wrap: anywhere }
img { display: block; max-width: 100%; height: 15rem; object-fit: contain; object-position: left; margin-bottom: .4rem;
  background: repeating-conic-gradient(#8882 0 25%, #0000 0 50%) 0 0 / 16px 16px }
img.exact { object-fit: none; max-width: 100% }
.none { height: 15rem; display: grid; place-items: center; border: 1px dashed var(--line); margin-bottom: .4rem;
  color: var(--soft) }
.soft { color: var(--soft) } .stored, .saved { color: var(--good) } .failed { color: var(--bad) }
"""
_HEAD: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
<h1>{title}</h1>
<p class="soft">{summary}</p>
"""


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """One picture of an entry. `preview` is what `thumbnail` gave: empty where there is nothing to show."""

    label: str
    size: int | None = None
    width: int | None = None
    height: int | None = None
    format: str = ""
    preview: bytes = b""
    exact: bool = False
    """It is shown with its own pixels, neither larger nor smaller."""
    link: str = ""
    """An http(s) or file address that the label leads to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, its picture before, those after, and what became of it (`state` is a word such as stored or failed)."""

    file: str
    before: SheetPicture | None
    after: tuple[SheetPicture, ...] = ()
    state: str = ""
    note: str = ""


def write_sheet(path: Path, title: str, summary: str, entries: Iterable[Entry]) -> None:
    """Write the sheet, entry by entry: no more than one entry's pictures are in memory. Replaces a sheet that is there."""
    making = path.with_name(f".{path.name}.tmp")
    try:
        with making.open("w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(_HEAD.format(title=escape(title), style=_STYLE, summary=escape(summary)))
            for entry in entries:
                out.write(entry_markup(entry))
            out.write("</html>\n")
        making.replace(path)
    except BaseException:  # called off or broken: no half sheet is left
        with suppress(OSError):
            making.unlink()
        raise


def entry_markup(entry: Entry) -> str:
    """One file of the sheet."""
    note = f' <span class="soft">{escape(entry.note)}</span>' if entry.note else ""
    state = f'<span class="{escape(entry.state)}">{escape(entry.state)}</span>' if entry.state else ""
    told = f"<p>{state}{note}</p>" if state or note else ""
    before = _figure(entry.before, None) if entry.before is not None else ""
    base = entry.before.size if entry.before is not None else None
    after = "".join(_figure(each, base) for each in entry.after)
    pictures = f'<div class="pictures">{before}{after}</div>' if before or after else ""
    return f"<article><h2>{escape(entry.file)}</h2>{told}{pictures}</article>\n"


def _figure(picture: SheetPicture, before: int | None) -> str:
    if picture.preview:
        data = base64.b64encode(picture.preview).decode()
        kind = ' class="exact"' if picture.exact else ""
        shown = f'<img{kind} src="data:image/webp;base64,{data}" alt="{escape(picture.label)}" loading="lazy">'
    else:
        shown = '<div class="none">no picture</div>'
    label = escape(picture.label)
    if picture.link.startswith(("http://", "https://", "file:///")):
        label = f'<a href="{escape(picture.link)}">{label}</a>'
    facts = ", ".join(_facts(picture))
    saved = saved_words(before, picture.size)
    saving = f' <span class="saved">{saved}</span>' if saved else ""
    return f'<figure>{shown}<figcaption><b>{label}</b> <span class="soft">{escape(facts)}</span>{saving}</figcaption></figure>'


def _facts(picture: SheetPicture) -> Iterable[str]:
    if picture.size is not None:
        yield human_size(picture.size)
    if picture.width and picture.height:
        yield f"{picture.width} × {picture.height}"
    if picture.format:
        yield picture.format


def saved_words(before: int | None, after: int | None) -> str:
    """What was saved, for people: never "100 %" of a file that still has bytes. Empty where the sizes are not known."""
    if not before or after is None:
        return ""
    percent = 100 * (before - after) / before
    if after and percent > 99:
        return f"-{min(percent, 99.99):.2f} %" if percent > 99.9 else f"-{percent:.1f} %"
    return f"{'-' if percent >= 0.5 else '+' if percent <= -0.5 else ''}{abs(percent):.0f} %"


def details(source: Path, output: Path) -> tuple[bytes, bytes]:
    """The middle of an original and of what came out of it, cut out at the scale of the output: one pixel of it is one here.

    Both empty where the output shows another part of the picture, or one of them cannot be read. Needs libvips.
    """
    import pyvips  # an extra: comes with the engine

    try:
        size = pyvips.Image.thumbnail(os.fspath(output), 1 << 24, size="down")
        width, height = size.width, size.height
        whole = pyvips.Image.thumbnail(os.fspath(source), 1 << 24, size="down")
        if abs(whole.width / whole.height - width / height) > SAME_SHAPE * width / height:
            return b"", b""
        return _middle(source, width, height), _middle(output, width, height)
    except pyvips.Error:
        return b"", b""


def _middle(path: Path, width: int, height: int) -> bytes:
    import pyvips  # as above

    image = pyvips.Image.thumbnail(os.fspath(path), width, height=height, size="force", export_profile="srgb")
    wide, high = min(DETAIL_PIXELS[0], width), min(DETAIL_PIXELS[1], height)
    cut = image.crop((width - wide) // 2, (height - high) // 2, wide, high)
    result: bytes = cut.webpsave_buffer(Q=96, keep="none")
    return result


def thumbnail(path: Path, pixels: int = THUMBNAIL_PIXELS) -> bytes:
    """A small WebP of a picture, upright and in sRGB, that every browser shows; empty where it cannot be read. Needs libvips."""
    import pyvips  # an extra: comes with the engine

    try:
        image = pyvips.Image.thumbnail(os.fspath(path), pixels, height=pixels, size="down", export_profile="srgb")
        result: bytes = image.webpsave_buffer(Q=78, keep="none")
    except pyvips.Error:
        return b""
    return result
