"""What hides a published picture: formats that browsers do not show, and caches."""

import pytest

from watcher.formats.visibility import hidden_for, notices, tells_contents_apart
from watcher.model import Format, Notice

UNSAFE = (Notice.NOT_WEB_SAFE,)


@pytest.mark.parametrize("source", Format)
def test_what_browsers_show_is_not_warned_of(source: Format) -> None:
    """HEIC, TIFF and BMP are; stored for the web, nothing is."""
    unsafe = source in (Format.HEIC, Format.TIFF, Format.BMP)

    assert notices(source, {}) == (UNSAFE if unsafe else ())
    assert notices(source, {"output": {"format": "auto"}}) == (UNSAFE if unsafe else ())
    for word in ("web", "jpeg", "png", "webp", "avif"):
        assert notices(source, {"output": {"format": word}}) == ()


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (("jpeg", None), ()),
        ((None, "image/jpeg"), ()),
        (("heic", "image/heic"), UNSAFE),
        ((None, "image/heif"), UNSAFE),
        (("TIFF", None), UNSAFE),
        ((None, "image/bmp; charset=binary"), UNSAFE),
        (("odd", "image/odd"), UNSAFE),
    ],
)
def test_what_the_answer_says_of_the_output_goes_before_what_was_asked(
    stated: tuple[str | None, str | None], expected: tuple[Notice, ...]
) -> None:
    """An API may convert by itself, or not do what it was asked; where it says nothing known, the request counts."""
    assert notices(Format.HEIC, {}, stated=stated) == expected


def test_an_original_without_its_end_is_said_behind_that() -> None:
    """The closed words have an order."""
    assert notices(Format.TIFF, {}, no_formal_end=True) == (Notice.NOT_WEB_SAFE, Notice.NO_FORMAL_END)
    assert notices(Format.GIF, {}, no_formal_end=True) == (Notice.NO_FORMAL_END,)


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("public, max-age=31536000, immutable", float("inf")),
        ("immutable", float("inf")),
        ("public, max-age=31536000", 31_536_000),
        ("max-age=60, s-maxage=604800", 604_800),
        ("Max-Age = 172800", 172_800),
        ('max-age="172800"', 172_800),
        ("public, max-age=86400", None),
        ("max-age=3600", None),
        ("no-cache, max-age=31536000", None),
        ("no-store", None),
        ("public", None),
        ("", None),
    ],
)
def test_how_long_caches_hide_a_new_picture(control: str, seconds: float | None) -> None:
    """A day is borne without a word; immutable is forever."""
    assert hidden_for({"headers": {"Cache-Control": control}}) == seconds
    assert hidden_for({"headers": {"cache-control": control}}) == seconds


@pytest.mark.parametrize("store", [{}, {"headers": None}, {"headers": {}}, {"headers": {"Content-Type": "immutable"}}])
def test_nothing_is_hidden_where_nothing_is_said(store: dict[str, object]) -> None:
    """Caches guess then, and never for long."""
    assert hidden_for(store) is None


@pytest.mark.parametrize(
    ("template", "apart"),
    [("{folder}/{name}", False), ("{stem}-{sha1:.8}.{ext}", True), ("{sha1}", True), ("{date:%Y}/{name}", False)],
)
def test_a_key_that_holds_the_hash_changes_with_the_content(template: str, apart: bool) -> None:
    """A date does not: it is that of the detection, and may be the same day."""
    assert tells_contents_apart(template) is apart
