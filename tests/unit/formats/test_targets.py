"""Which format is stored for a source, by `image.output`."""

import pytest

from watcher.formats.targets import WORDS, converted_extension, stored_format, target, wanted
from watcher.model import Format

KEPT_FOR_BROWSERS = {Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.GIF, Format.ICO}


@pytest.mark.parametrize("source", Format)
def test_auto_keeps_what_came(source: Format) -> None:
    """But for SVG, which the embedded engine renders."""
    assert stored_format(source, "auto", renders_svg=False) is source
    assert stored_format(source, "auto") is (Format.PNG if source is Format.SVG else source)


@pytest.mark.parametrize("source", Format)
def test_web_changes_only_what_browsers_do_not_show(source: Format) -> None:
    """HEIC and TIFF become JPEG, BMP and SVG PNG."""
    changed = {Format.HEIC: Format.JPEG, Format.TIFF: Format.JPEG, Format.BMP: Format.PNG, Format.SVG: Format.PNG}

    assert stored_format(source, "web") is changed.get(source, source)
    assert {source} <= KEPT_FOR_BROWSERS | set(changed)


@pytest.mark.parametrize("word", ["jpeg", "png", "webp", "avif"])
@pytest.mark.parametrize("source", Format)
def test_a_format_that_is_named_is_stored(source: Format, word: str) -> None:
    """Whatever came."""
    assert stored_format(source, word) == Format(word)


@pytest.mark.parametrize("word", WORDS)
def test_alpha_is_flattened_only_where_the_target_has_none(word: str) -> None:
    """JPEG is the only one of the targets."""
    made = target(Format.HEIC, word, alpha=True)

    assert made.flattens is (made.format is Format.JPEG)
    assert not target(Format.HEIC, word).flattens


@pytest.mark.parametrize(
    ("source", "word", "possible"),
    [
        (Format.GIF, "auto", True),
        (Format.GIF, "web", True),
        (Format.GIF, "webp", True),
        (Format.GIF, "avif", False),
        (Format.GIF, "jpeg", False),
        (Format.GIF, "png", False),
        (Format.WEBP, "web", True),
        (Format.WEBP, "webp", True),
        (Format.WEBP, "png", False),
        (Format.PNG, "png", True),
        (Format.PNG, "web", True),
        (Format.PNG, "webp", False),
        (Format.AVIF, "avif", True),
        (Format.AVIF, "webp", False),
    ],
)
def test_an_animation_goes_whole_or_not_at_all(source: Format, word: str, possible: bool) -> None:
    """Into WebP, where its frames can be read, or as it came; else the reason says what to do."""
    made = target(source, word, pictures=3, animated=True)

    assert (made.problem == "") is possible
    if not possible:
        assert source.name in made.problem
        assert '"web"' in made.problem


@pytest.mark.parametrize("word", ["jpeg", "png", "webp", "avif", "web"])
def test_pages_are_never_silently_one_of_them(word: str) -> None:
    """No other format holds the pages of a TIFF."""
    assert "3 pages" in target(Format.TIFF, word, pictures=3).problem
    assert target(Format.TIFF, word, pictures=1).problem == ""
    assert target(Format.TIFF, "auto", pictures=3).problem == ""


@pytest.mark.parametrize(
    ("source", "image", "extension"),
    [
        (Format.HEIC, {"output": {"format": "web"}}, "jpg"),
        (Format.TIFF, {"output": {"format": "jpeg"}}, "jpg"),
        (Format.JPEG, {"output": {"format": "jpeg"}}, None),
        (Format.JPEG, {"output": {"format": "web"}}, None),
        (Format.JPEG, {"output": {"format": "webp"}}, "webp"),
        (Format.GIF, {"output": {"format": "avif"}}, "avif"),
        (Format.BMP, {"output": {"format": "web", "background": "#fff"}}, "png"),
        (Format.SVG, {}, "png"),
        (Format.HEIC, {}, None),
        (Format.HEIC, {"output": None}, None),
        (Format.HEIC, {"output": {"format": "vendor's own"}}, None),
    ],
)
def test_the_extension_follows_where_the_format_changes(source: Format, image: dict[str, object], extension: str | None) -> None:
    """None says that the name's own extension stays right."""
    assert converted_extension(source, image, renders_svg=True) == extension


def test_a_word_that_is_not_known_counts_as_auto() -> None:
    """It is the vendor's."""
    assert wanted({"output": {"format": "jxl"}}) == "auto"
    assert wanted({"output": {"format": 3}}) == "auto"
    assert wanted({}) == "auto"
