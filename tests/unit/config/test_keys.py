"""Object keys: what templates give, and what B2 takes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from watcher.config.keys import MAX_KEY_BYTES, InvalidKey, KeyFields, clean_segment, render_key, template_problem

SHA1 = "0123456789abcdef0123456789abcdef01234567"
MOMENT = datetime(2026, 11, 22, 23, 59, 1, tzinfo=UTC)


def fields(relative_path: str, folder: str = "products", rendition: str | None = None) -> KeyFields:
    """The fields of a file."""
    return KeyFields(relative_path, folder, rendition, SHA1, MOMENT)


@pytest.mark.parametrize(
    ("template", "path", "key"),
    [
        ("{folder}/{dir}/{name}", "a/b/x.JPG", "products/a/b/x.JPG"),
        ("{folder}/{dir}/{name}", "x.jpg", "products/x.jpg"),  # an empty segment vanishes
        ("{stem}.{ext}", "a/Photo.One.JPEG", "Photo.One.jpeg"),  # only the extension is lowered
        ("{stem}.{ext}", "noext", "noext."),
        ("{sha1}", "x.jpg", SHA1),
        ("{sha1:.8}-{name}", "x.jpg", "01234567-x.jpg"),
        ("{date:%Y/%m/%d}/{name}", "x.jpg", "2026/11/22/x.jpg"),
        ("{dir}/{stem}-{rendition}.{ext}", "a/x.png", "a/x-.png"),
        ("{name}", "a/Grüße 你好.png", "Grüße 你好.png"),  # letters of all scripts stay
        ("{name}", "Gru\u0308n.png", "Gr\u00fcn.png"),  # composed (NFC)
        ("{name}", "a\nb\x7fc\\d.png", "a-b-c-d.png"),
        ("{name}", "caf\udce9.jpg", "caf-.jpg"),  # a byte that is no UTF-8
        ("x/{dir}/{name}", "../../etc/passwd", "x/etc/passwd"),  # never . or ..
        ("x//{name}", "a.png", "x/a.png"),
    ],
)
def test_a_template_gives_the_key(template: str, path: str, key: str) -> None:
    """Each field means what the documentation says, and what B2 does not take is replaced."""
    assert key == render_key(template, fields(path))


@pytest.mark.parametrize(
    ("template", "path", "key"),
    [
        ("{folder}/{dir}/{stem}.{ext}", "a/IMG_1.HEIC", "products/a/IMG_1.jpg"),
        ("{folder}/{dir}/{name}", "a/IMG_1.HEIC", "products/a/IMG_1.jpg"),  # the default, which then is another
        ("x/{name}", "a/IMG_1.HEIC", "x/IMG_1.HEIC"),
        ("{stem}-{sha1:.8}.{ext}", "noext", "noext-01234567.jpg"),
    ],
)
def test_the_extension_is_that_of_the_format_that_is_stored(template: str, path: str, key: str) -> None:
    """Where another format is stored than came; a template that asks for the whole name gets it all the same."""
    assert key == render_key(template, replace(fields(path), converted="jpg"))


def test_a_segment_is_cut_at_250_bytes_and_keeps_its_extension() -> None:
    """Long names are cut in whole characters, in front of the extension."""
    segment = clean_segment("ü" * 200 + ".jpeg")

    assert len(segment.encode()) <= 250
    assert segment.endswith("ü.jpeg")


def test_a_key_of_more_than_900_bytes_is_refused() -> None:
    """A path that is too deep is told, with what to do; it is not cut in silence."""
    with pytest.raises(InvalidKey) as error:
        render_key("{dir}/{name}", fields("/".join(["d" * 200] * 6) + "/x.jpg"))

    assert str(MAX_KEY_BYTES) in error.value.message
    assert error.value.hint


def test_an_empty_key_is_refused() -> None:
    """A template of which nothing is left for a file gives no key."""
    with pytest.raises(InvalidKey):
        render_key("{rendition}", fields("x.jpg"))


@pytest.mark.parametrize("template", ["{nope}", "{name!r}", "{name:>9}", "{sha1:.41}", "{", "/abs", "", "{name.upper}", "{0}"])
def test_a_bad_template_is_told(template: str) -> None:
    """Unknown fields, conversions and formats are refused when the configuration is read, not when the first file comes."""
    assert template_problem(template)


@pytest.mark.parametrize("template", ["{name}", "{sha1:.8}/{date}", "{date:%Y}", "assets/image.jpg", "{folder}/{dir}/{name}"])
def test_a_good_template_has_no_problem(template: str) -> None:
    """What the documentation shows is accepted."""
    assert template_problem(template) is None
