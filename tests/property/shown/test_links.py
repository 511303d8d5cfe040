"""Links of any name: what was put in comes out of the parsers of those who read them."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from watcher.model import PublishedObject
from watcher.shown.links import PublishedFile, csv_lines, html, json_lines, manifest_entry, manifest_rows, markdown, picture, urls

NAMES = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)
ADDRESSES = st.text(min_size=1, max_size=40).map(lambda text: f"https://b.example/{text}")


def file_of(name: bytes, address: str) -> PublishedFile:
    facts = {"url": address, "output": {"width": 40, "height": 30, "mime": "image/jpeg"}}
    thumb = {"url": address + "?thumb", "output": {"width": 20, "height": 15, "mime": "image/jpeg"}}
    objects = [PublishedObject("f", name, None, "b", "k", facts), PublishedObject("f", name, "thumb", "b", "t", thumb)]
    made = PublishedFile.of(Path("/srv"), objects)
    assert made is not None
    return made


class Images(HTMLParser):
    """The attributes of each element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "img"
        self.found.append(dict(attrs))


@given(NAMES, ADDRESSES)
def test_markup_holds_the_name_and_the_address_and_nothing_else(name: bytes, address: str) -> None:
    """One element a line, its attributes those that we write, its candidates two."""
    file = file_of(name, address)

    for line in (*html(file), *picture(file)):
        assert len(line.splitlines()) == 1
        (attributes,) = Images(line).found
        assert attributes["alt"] == file.alt
        assert set(attributes) <= {"src", "alt", "width", "height", "srcset", "sizes"}
    srcset = Images(picture(file)[0]).found[0]["srcset"]
    assert srcset is not None
    assert [each.rpartition(" ")[2] for each in srcset.split(", ")] == ["20w", "40w"]
    assert all(" " not in each.rpartition(" ")[0] for each in srcset.split(", "))


@given(NAMES, ADDRESSES)
def test_lines_are_lines(name: bytes, address: str) -> None:
    """Whatever reads line by line gets one for each output."""
    file = file_of(name, address)

    for lines in (urls(file), markdown(file), json_lines(file)):
        assert len(lines) == 2
        assert all("\n" not in line and "\r" not in line for line in lines)
    assert [json.loads(line)["rendition"] for line in json_lines(file)] == [None, "thumb"]


@given(NAMES, ADDRESSES)
def test_tables_and_manifests_come_back_whole(name: bytes, address: str) -> None:
    """JSON and CSV, as links and as manifests."""
    file = file_of(name, address)

    rows = list(csv.reader(io.StringIO("".join(f"{line}\n" for line in csv_lines(file)), newline="")))
    assert [row[2] for row in rows] == ["", "thumb"]
    rows = list(csv.reader(io.StringIO("".join(f"{line}\n" for line in manifest_rows(file)), newline="")))
    ((key, outputs),) = json.loads("{" + manifest_entry(file) + "}").items()
    assert [row[0] for row in rows] == [key, key]
    assert [output["rendition"] for output in outputs] == [None, "thumb"]
