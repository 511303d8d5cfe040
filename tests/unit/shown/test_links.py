"""Links in every form: values in, text out, read back with the parsers of those who use them."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import rule
from watcher.model import PublishedObject
from watcher.shown.links import (
    CSV_COLUMNS,
    FORMS,
    PublishedFile,
    csv_lines,
    html,
    json_lines,
    lines,
    markdown,
    output_record,
    picture,
    stored_address,
    urls,
)

ROOT = Path("/srv/drop")
AT = "2026-11-22T10:42:00.000000Z"


def published(
    name: str = "chair.jpg", rendition: str | None = None, width: int | None = 1600, height: int | None = 1067, **facts: Any
) -> PublishedObject:
    """An object under the key of its name; a rendition's has that before it."""
    key = f"products/{rendition + '-' if rendition else ''}{name}"
    made = {"format": "jpeg", "mime": "image/jpeg", "size": 900, "sha1": "b" * 40, "width": width, "height": height}
    told = {"at": AT, "id": "image-1", "url": f"https://b.example/{key}", "saved_percent": 55.0, **facts}
    source = {"size": 2_000, "sha1": "a" * 40, "width": 3200, "height": 2133, "format": "jpeg"}
    return PublishedObject(
        "products",
        name.encode("utf-8", "surrogateescape"),
        rendition,
        "b",
        key,
        {"output": made, "input": source, **told},
    )


def file_of(*outputs: PublishedObject) -> PublishedFile:
    file = PublishedFile.of(ROOT, outputs)
    assert file is not None
    return file


class Elements(HTMLParser):
    """The elements of a piece of HTML, in order, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def candidates(srcset: str | None) -> dict[str, str]:
    """A srcset by its widths, read as browsers do: split at commas that follow a descriptor."""
    assert srcset is not None
    found = {}
    for each in srcset.split(", "):
        url, _, width = each.partition(" ")
        assert width not in found
        found[width] = url
    return found


def test_the_own_output_comes_first_then_the_renditions_as_configured() -> None:
    """Renditions that the folder does not have any more are left out; a file of which nothing is left is none."""
    outputs = [published(rendition=each) for each in ("b", "a", "old")] + [published()]
    today = rule("a", "b")

    file = PublishedFile.of(ROOT, outputs, today)
    assert file is not None
    assert [each.rendition for each in file.outputs] == [None, "a", "b"]
    assert [each.rendition for each in file_of(*outputs).outputs] == [None, "a", "b", "old"]
    assert PublishedFile.of(ROOT, outputs[2:3], today) is None


def test_urls_prefer_the_link() -> None:
    """A CDN in front of the bucket is what people want to hand out."""
    own, thumb = published(link="https://cdn.example/products/chair.jpg"), published(rendition="thumb")

    assert urls(file_of(own, thumb)) == ["https://cdn.example/products/chair.jpg", "https://b.example/products/thumb-chair.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        'a "quoted" & <b>bold</b>.jpg',
        "brackets [1] (2).jpg",
        "comma, space.jpg",
        "back\\slash `tick` *star* _under_.jpg",
        "ümlaut 図.jpg",
        "line\nfeed\ttab.jpg",
        "broken \udce9.jpg",
        "it's.jpg",
        "-->.jpg",
        ".jpg",
    ],
    ids=ascii,
)
def test_names_cannot_break_out_of_any_form(name: str) -> None:
    """Every form is one line (picture: one element) with the same address and the name as alt text, whatever the name is."""
    address = "https://b.example/" + name.replace("\udce9", "x")
    own, thumb = published(name, url=address), published(name, "thumb", 320, 213, url=address + "?thumb")
    file = file_of(own, thumb)

    for form in FORMS:
        found = list(lines([file], form))
        assert all("\n" not in line or form == "csv" for line in found)
        assert "\n".join(found).encode()
    (image, image_attributes), *_ = Elements(html(file)[0]).found
    assert (image, image_attributes["alt"]) == ("img", file.alt)
    assert set(image_attributes) == {"src", "alt", "width", "height"}
    ((tag, attributes),) = Elements("\n".join(picture(file))).found
    assert tag == "img"
    assert set(attributes) == {"src", "srcset", "sizes", "width", "height", "alt"}
    assert set(candidates(attributes["srcset"])) == {"320w", "1600w"}
    text = markdown(file)[0]
    assert text.startswith("![")
    inside = text[text.index("](") + 2 : -1]
    assert text.endswith(")")
    assert not set(inside) & set(' ()<>"\n\t')


def test_markdown_alt_text_reads_as_the_name() -> None:
    """What Markdown would take for markup is escaped."""
    assert markdown(file_of(published("a [b] *c*.jpg", url="https://x/y"))) == [r"![a \[b\] \*c\*](https://x/y)"]


def test_a_picture_of_one_type_is_an_img_with_all_widths() -> None:
    """Smallest first, each width once, and as wide as the window but no wider than the picture."""
    own = published()
    renditions = [published(rendition="thumb", width=320, height=213), published(rendition="again", width=320, height=100)]

    ((tag, attributes),) = Elements("\n".join(picture(file_of(own, *renditions)))).found

    assert (tag, attributes["width"], attributes["height"]) == ("img", "1600", "1067")
    assert candidates(attributes["srcset"]) == {
        "320w": "https://b.example/products/again-chair.jpg",
        "1600w": "https://b.example/products/chair.jpg",
    }
    assert attributes["sizes"] == "(max-width: 1600px) 100vw, 1600px"


def test_other_types_are_offered_best_first() -> None:
    """AVIF before WebP before what the <img> has; a source without known widths is one address."""
    webp = published(rendition="webp", output={"mime": "image/webp", "width": 1600, "height": 1067})
    avif = published(rendition="avif", output={"mime": "image/avif"})

    found = Elements("\n".join(picture(file_of(published(), webp, avif)))).found

    assert [tag for tag, _ in found] == ["picture", "source", "source", "img"]
    assert [attributes.get("type") for _, attributes in found[1:3]] == ["image/avif", "image/webp"]
    assert found[1][1]["srcset"] == "https://b.example/products/avif-chair.jpg"
    assert "sizes" not in found[1][1]
    assert candidates(found[2][1]["srcset"]) == {"1600w": "https://b.example/products/webp-chair.jpg"}
    assert candidates(found[3][1]["srcset"]) == {"1600w": "https://b.example/products/chair.jpg"}


def test_unknown_sizes_are_left_out() -> None:
    """Half a size is none; there is no srcset without widths."""
    file = file_of(published(width=1600, height=None))

    assert picture(file) == html(file) == ['<img src="https://b.example/products/chair.jpg" alt="chair">']


def test_data_forms_tell_the_same() -> None:
    """A JSON object and a CSV row for each output; what is not known is null, or empty."""
    file = file_of(published("a,b.jpg"), published("a,b.jpg", "thumb", 320, None))
    objects = [json.loads(line) for line in json_lines(file)]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines([file], "csv")))))

    assert [each["rendition"] for each in objects] == [None, "thumb"]
    assert (objects[0]["file"], objects[0]["folder"], objects[0]["link"]) == ("/srv/drop/a,b.jpg", "products", None)
    assert objects[0]["input"] == {"size": 2_000, "width": 3200, "height": 2133, "format": "jpeg", "sha1": "a" * 40}
    assert tuple(rows[0]) == CSV_COLUMNS
    assert (rows[0]["file"], rows[0]["width"], rows[0]["input_size"], rows[0]["rendition"]) == (
        "/srv/drop/a,b.jpg",
        "1600",
        "2000",
        "",
    )
    assert (rows[1]["rendition"], rows[1]["height"]) == ("thumb", "")
    assert len(csv_lines(file)) == 2


def test_an_object_of_which_little_is_known_has_every_field() -> None:
    """Readers need not ask whether a field is there."""
    bare = PublishedObject("products", b"a.jpg", None, "b", "a.jpg", {"url": "https://b.example/a.jpg"})

    assert output_record(bare)["width"] is None
    assert urls(file_of(bare)) == ["https://b.example/a.jpg"]


def test_addresses_of_audit_lines() -> None:
    """Of stored lines only: the link, else the URL."""
    assert stored_address({"event": "image.stored", "url": "https://b/a b.jpg"}) == "https://b/a%20b.jpg"
    assert stored_address({"event": "image.stored", "url": "https://b/a", "link": "https://cdn/a"}) == "https://cdn/a"
    assert stored_address({"event": "image.failed", "url": "https://b/a"}) is None
    assert stored_address({"event": "image.stored"}) is None
