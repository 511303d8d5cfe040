"""What `check` says of outputs that will not be seen as meant."""

from typing import Any

import pytest

from watcher.commands.checks.finding import Finding, State
from watcher.commands.checks.outputs import check_outputs
from watcher.config.loading import load_settings

FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
WEB = {"output": {"format": "web"}}


def findings(*, url: str = "embedded", headers: Any = None, **folder: Any) -> list[Finding]:
    """The lines about one folder."""
    store = {"id": "local", "bucket": "my-bucket", "region": "eu-central-003", "headers": headers or {}}
    data = {
        "compressor": {"url": url, "api_key": "k"},
        "publish": {"serve": {"public_url": "http://127.0.0.1:1", "listen": "127.0.0.1:1"}},
        "store": store,
        "folders": [{"name": "shop", "path": "/srv/shop", **folder}],
        "engine": {"connectors": {"local": {"kind": "directory", "path": "/srv/bucket"}}},
    }
    return check_outputs(load_settings(data, {}))


def test_a_folder_whose_outputs_are_all_seen_is_one_good_line() -> None:
    """Stored for the web, under a key that changes with the content."""
    (line,) = findings(image=WEB, headers=FOR_EVER, store={"path": "{stem}-{sha1:.8}.{ext}"})

    assert (line.state, line.what) == (State.OK, "folder shop: outputs")


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ({}, "BMP and HEIC and TIFF"),
        ({"include": ["**/*.jpg", "*.TIF"]}, "TIFF"),
        ({"exclude": ["**/*.tif", "**/*.tiff", "**/*.bmp", "**/*.dib"]}, "HEIC"),
        ({"include": ["2026/**"]}, "BMP and HEIC and TIFF"),
    ],
)
def test_formats_that_browsers_do_not_show_are_warned_of_where_they_may_come(folder: dict[str, Any], named: str) -> None:
    """By the globs; what nobody takes needs no word."""
    (line,) = findings(**folder)

    assert line.state is State.WARN
    assert line.found.startswith(f"{named} files are stored as they come (the folder's own output)")
    assert 'image.output = { format = "web" }' in line.todo


@pytest.mark.parametrize(
    "folder", [{"include": ["**/*.jpg", "**/*.png"]}, {"image": WEB}, {"image": {"output": {"format": "webp"}}}]
)
def test_where_none_can_come_out_nothing_is_warned_of(folder: dict[str, Any]) -> None:
    """Not taken, or converted."""
    assert [line.state for line in findings(**folder)] == [State.OK]


def test_a_rendition_that_converts_leaves_the_others_warned_of() -> None:
    """Each output is asked by itself."""
    thumb = {"name": "thumb", "image": WEB, "store": {"path": "{stem}-thumb.{ext}"}}
    (line,) = findings(renditions=[thumb])

    assert "(the folder's own output)" in line.found


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ("max-age=31536000, immutable", "forever"),
        ("max-age=31536000", "for 365 days"),
        ("max-age=100000", "for 27 h 46 min"),
    ],
)
def test_a_key_that_stays_behind_a_long_cache_is_warned_of(control: str, words: str) -> None:
    """With for how long, and what to do."""
    (line,) = findings(image=WEB, headers={"Cache-Control": control})

    assert line.state is State.WARN
    assert line.found.endswith(f"show the old picture {words}")
    assert "{sha1:.8}" in line.todo


@pytest.mark.parametrize("control", ["max-age=3600", "no-cache", "public"])
def test_a_short_cache_is_no_matter(control: str) -> None:
    """A day is the limit."""
    assert [line.state for line in findings(image=WEB, headers={"Cache-Control": control})] == [State.OK]


def test_an_output_that_goes_to_the_vendor_is_said_to_be_unknown_there() -> None:
    """It is passed on as it is; whether anything is converted nobody knows."""
    (line,) = findings(url="https://api.compressor.app/1.0", image=WEB)

    assert line.state is State.WARN
    assert "the vendor's own name for a conversion is not known" in line.found


def test_a_template_with_the_whole_name_keeps_the_old_extension() -> None:
    """IMG_1.HEIC would be a JPEG; the default template is exempt, since it changes by itself."""
    (line,) = findings(image=WEB, store={"path": "shop/{name}"})

    assert line.state is State.WARN
    assert line.todo == "use {stem}.{ext} instead"
