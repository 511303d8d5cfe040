"""The log on a terminal: one line for each output, fitted to the width; nothing in a name or answer reaches the terminal raw."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from watcher.log.console import CLEAR_LINE, ConsoleRenderer, LineStyle, Tally, inside, render, shortened, wrapped

URL = "https://shop-bucket.s3.eu-central-003.backblazeb2.com/products/chair.jpg"
STORED: dict[str, Any] = {
    "timestamp": "2026-11-22T10:42:07.123456Z",
    "level": "info",
    "event": "image.stored",
    "id": "x",
    "folder": "products",
    "file": "/srv/drop/sub/chair.jpg",
    "rendition": None,
    "url": URL,
    "key": "products/chair.jpg",
    "input": {"size": 2_400_000},
    "output": {"size": 214_000},
    "seconds": 0.84,
}
FAILED = {**STORED, "event": "image.failed", "level": "error", "reason": "rejected", "message": "no", "hint": "mend it"}
del FAILED["url"]


def look(width: int | None = None, **more: Any) -> LineStyle:
    """Folders in /srv/drop, on a terminal of so many columns."""
    return LineStyle(lambda: width, roots={"products": "/srv/drop"}, **more)


def test_one_line_for_an_output_where_it_fits() -> None:
    """State, file inside its folder, sizes, seconds, then where it lies."""
    assert render(STORED, look(160)) == f"10:42:07  stored      sub/chair.jpg  2.4 MB -> 214.0 kB  840 ms  {URL}"


def test_the_url_gets_a_line_of_its_own_rather_than_being_cut() -> None:
    assert render(STORED, look(80)).splitlines() == ["stored      sub/chair.jpg  2.4 MB -> 214.0 kB  840 ms", f"  {URL}"]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", ["a" * 200 + ".jpg", "椅子" * 60 + ".jpg", "chair.jpg"])
def test_every_row_but_a_long_url_fits(width: int, name: str) -> None:
    """Names are cut in the middle: their beginning and end tell most."""
    rows = render({**STORED, "file": f"/srv/drop/{name}", "rendition": "thumb"}, look(width)).splitlines()

    assert len(rows) == 2
    assert cell_len(rows[0]) <= max(width, 65)
    assert rows[0].startswith("10:42:07  stored" if width >= 100 else "stored")
    assert "…" in rows[0] or name == "chair.jpg"
    assert "[thumb]" in rows[0] or width == 40


def test_what_a_failure_has_to_say_stands_on_one_more_line() -> None:
    assert render(FAILED, look(80)).splitlines() == ["failed      sub/chair.jpg", "  rejected: no (mend it)"]
    assert render(FAILED, look()) == "10:42:07  failed      sub/chair.jpg  rejected: no (mend it)"


def test_long_words_are_wrapped_and_bounded() -> None:
    """No word is broken, and an API that answers with a whole page does not fill the screen."""
    rows = render({**FAILED, "message": "word " * 2_000}, look(60)).splitlines()

    assert len(rows) == 5
    assert all(len(row) <= 60 for row in rows)
    assert all(set(row.split()) <= {"rejected:", "word", "…"} for row in rows[1:])


def test_nothing_reaches_the_terminal_raw() -> None:
    """Control characters in names, messages and URLs are escaped, and colours are ours alone."""
    hostile = "\x1b[31m\r\n\x07"
    for record in (FAILED, STORED):
        told = {**record, "file": f"/srv/drop/{hostile}", "message": hostile, "rendition": hostile, "url": hostile}
        text = render(told, look(100))
        assert "\x1b" not in text
        assert "\r" not in text
        assert "\x07" not in text
        assert "\\x1b[31m" in text


def test_colours_say_the_state() -> None:
    assert render(STORED, look(160, colours=True)).count("\x1b[32mstored") == 1
    assert render(FAILED, look(80, colours=True)).count("\x1b[1;31m") == 2


def test_other_lines_have_their_event_their_folder_and_what_they_tell() -> None:
    lost = {"timestamp": STORED["timestamp"], "level": "error", "event": "folder.lost", "folder": "products", "message": "away"}
    ready = {"timestamp": STORED["timestamp"], "level": "info", "event": "service.ready", "folders": 2, "public_url": None}
    retry = {**FAILED, "event": "image.retry", "reason": None, "message": "slow", "hint": "", "wait": 3.0}

    assert render(lost, look(120)) == "10:42:07  folder.lost  products: away"
    assert render(ready, look(80)) == "service.ready  folders 2"
    assert render(retry, look(80)) == "retry       sub/chair.jpg  slow; again in 3.0 s"


def test_warnings_of_an_ending_are_told() -> None:
    text = render({**STORED, "warnings": ["not_web_safe", "cached_forever"]}, look(200))

    assert "warning: not_web_safe, cached_forever" in text


def test_a_line_that_comes_over_a_progress_bar_takes_its_place() -> None:
    renderer = ConsoleRenderer(look(160, prefix=lambda: CLEAR_LINE))

    assert renderer(None, "", STORED).startswith("\r\x1b[2K10:42:07")


def test_names() -> None:
    assert inside("/srv/drop/a/b.jpg", "/srv/drop/") == "a/b.jpg"
    assert inside("/srv/dropped/b.jpg", "/srv/drop") == "/srv/dropped/b.jpg"
    assert inside("/b.jpg", "") == "/b.jpg"
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abc", 7) == "abc"
    assert cell_len(shortened("椅子" * 9, 8)) <= 8
    assert wrapped("a b", 80) == ["a b"]


# --- the sum ----------------------------------------------------------------------------------------------------------------


def ending(image: str, state: str, rendition: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"event": f"image.{state}", "level": "info", "id": image, "rendition": rendition, **fields}


def test_the_sum_counts_images_and_what_they_became() -> None:
    """A rendition is no image of its own, an image with an output that failed has failed, and what went in is counted once."""
    tally = Tally()
    sizes = {"input": {"size": 1_000_000}, "output": {"size": 100_000}}
    for line in (
        ending("a", "stored", **sizes),
        ending("a", "stored", "thumb", **sizes),
        ending("b", "stored", **sizes),
        ending("b", "failed", "thumb"),
        ending("c", "unchanged"),
        {"event": "image.ignored", "level": "info", "file": "/x.psd"},
        {"event": "image.ignored", "level": "debug", "file": "/.hidden"},
        {"event": "service.ready", "level": "info"},
    ):
        tally.note(line)

    assert (
        tally.summary(38.2, not_whole=2) == "1 stored, 1 failed, 1 unchanged, 2 not whole, 1 ignored; 2.0 MB -> 300.0 kB in 38 s"
    )


def test_the_sum_of_nothing_is_said_too() -> None:
    assert Tally().summary(0.25) == "0 stored in 250 ms"
    assert Tally().summary(3.0, ignored=4) == "0 stored, 4 ignored in 3.0 s"


def test_the_sum_of_a_long_run_takes_little_memory() -> None:
    """Images are counted right when there were more than are remembered."""
    tally = Tally()
    for number in range(20_000):
        tally.note(ending(str(number), "stored"))
        tally.note(ending(str(number), "failed", "thumb"))

    assert (tally.counts["stored"], tally.counts["failed"]) == (0, 20_000)
    assert len(tally.remembered) <= 10_001
