"""Links to what is published, in the forms that people paste and programs read. Pure.

`url`, `markdown` and `html` give a line for each output of a file, `picture` one element with all of them, `json` and `csv` what
is known of each. Where a folder has a `link`, that is the address; else it is the `url` that the API returned.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import quote

from watcher.model import Event, FileRef, PublishedObject, path_fields
from watcher.result_records import link_address, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from watcher.model import Record, Rule

Form = Literal["url", "markdown", "html", "picture", "json", "csv"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)

OUTPUT_COLUMNS: Final = (
    "rendition",
    "url",
    "link",
    "bucket",
    "key",
    "width",
    "height",
    "size",
    "format",
    "mime",
    "sha1",
    "saved_percent",
    "at",
    "id",
)
"""What is told of an output, in the order of the CSV columns."""
INPUT_COLUMNS: Final = ("size", "width", "height", "format", "sha1")
"""What is told of its original."""
CSV_COLUMNS: Final = ("folder", "file", *OUTPUT_COLUMNS, *(f"input_{name}" for name in INPUT_COLUMNS))
BEST_FIRST: Final = ("image/avif", "image/webp")
"""Types that a <picture> offers before others: a browser takes the first that it knows."""
_NOT_IN_URLS: Final = frozenset(' "<>\\^`{|}')
_NOT_IN_SNIPPETS: Final = _NOT_IN_URLS | frozenset("(),'")
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>&!])")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file and what lies in the store of it: the folder's own output first, then the renditions as the folder has them."""

    file: FileRef
    outputs: tuple[PublishedObject, ...]

    @classmethod
    def of(cls, root: Path, outputs: Iterable[PublishedObject], rule: Rule | None = None) -> PublishedFile | None:
        """Of objects of one file, below the folder's path. `rule`: the folder's of today, which says the `link` of each output;
        what it has no output for is left out. None where nothing is left.
        """
        found = list(outputs)
        places: dict[str | None, int] = {}
        if rule is not None:
            places = {each.rendition: place for place, each in enumerate(rule.outputs)}
            found = [_linked(each, rule.outputs[places[each.rendition]].link) for each in found if each.rendition in places]
        if not found:
            return None
        found.sort(key=lambda each: (places.get(each.rendition, 0), each.rendition is not None, each.rendition or ""))
        first = found[0]
        return cls(FileRef(first.folder, root, first.relative), tuple(found))

    @property
    def alt(self) -> str:
        """Words for the picture: the file's name without its ending, on one line."""
        stem = os.fsdecode(self.file.relative).rpartition("/")[2].rpartition(".")[0]
        words = " ".join(stem.split())
        return "".join(each for each in printable(words) if each.isprintable())


def _linked(output: PublishedObject, template: str | None) -> PublishedObject:
    """The output with the link that the configuration gives it today."""
    facts = {name: value for name, value in output.facts.items() if name != "link"}
    return replace(output, facts={**facts, "link": link_address(template, output.key)} if template else facts)


def address(output: PublishedObject) -> str:
    """Where people get it: the folder's `link`, or the URL. What no URL may hold is percent-encoded."""
    return _encoded(str(output.facts.get("link") or output.facts["url"]), _NOT_IN_URLS)


def stored_address(record: Record) -> str | None:
    """The same of the line of an ending; None where that is not `image.stored`."""
    where = record.get("link") or record.get("url")
    if record.get("event") != Event.IMAGE_STORED or not isinstance(where, str):
        return None
    return _encoded(where, _NOT_IN_URLS)


def _encoded(url: str, unsafe: frozenset[str]) -> str:
    """The address with these characters, and all that cannot be seen, percent-encoded."""
    letters = (quote(each, safe="") if each in unsafe or not each.isprintable() else each for each in printable(url))
    return "".join(letters)


def _snippet_address(output: PublishedObject) -> str:
    """The same, with what would end a Markdown link or a candidate of `srcset` encoded too."""
    return _encoded(address(output), _NOT_IN_SNIPPETS)


# --- for people to paste ----------------------------------------------------------------------------------------------------


def urls(file: PublishedFile) -> list[str]:
    """The addresses, one for each output."""
    return [address(output) for output in file.outputs]


def markdown(file: PublishedFile) -> list[str]:
    """An image in Markdown for each output."""
    alt = _MARKDOWN.sub(r"\\\1", file.alt)
    return [f"![{alt}]({_snippet_address(output)})" for output in file.outputs]


def html(file: PublishedFile) -> list[str]:
    """An <img> for each output, with its size in pixels where that is known."""
    return [_img(file, output) for output in file.outputs]


def picture(file: PublishedFile) -> list[str]:
    """One element with all outputs: the browser chooses by width, and by type where they differ in that."""
    first, *_ = file.outputs
    by_type: dict[str, list[PublishedObject]] = {}
    for output in file.outputs:
        by_type.setdefault(_mime(output), []).append(output)
    image = _img(file, first, _srcset(by_type.pop(_mime(first))), _sizes(first))
    others = sorted(by_type, key=lambda each: BEST_FIRST.index(each) if each in BEST_FIRST else len(BEST_FIRST))
    sources = [_source(each, by_type[each], _sizes(first)) for each in others]
    return [image] if not sources else ["<picture>", *(f"  {each}" for each in (*sources, image)), "</picture>"]


def _mime(output: PublishedObject) -> str:
    return str(output.facts.get("output", {}).get("mime") or "")


def _source(mime: str, outputs: Sequence[PublishedObject], sizes: str) -> str:
    candidates = _srcset(outputs) or _snippet_address(outputs[0])
    kind = f' type="{escape(mime)}"' if mime else ""
    return f'<source{kind} srcset="{escape(candidates)}"{sizes if " " in candidates else ""}>'


def _srcset(outputs: Sequence[PublishedObject]) -> str:
    """The candidates by width, each width once; empty where no width is known."""
    by_width: dict[int, str] = {}
    for output in outputs:
        width, _ = pixels(output)
        if width is not None:
            by_width.setdefault(width, _snippet_address(output))
    return ", ".join(f"{by_width[width]} {width}w" for width in sorted(by_width))


def _sizes(output: PublishedObject) -> str:
    """How wide it is shown: as wide as the window, and no wider than the picture is."""
    width, _ = pixels(output)
    return "" if width is None else f' sizes="(max-width: {width}px) 100vw, {width}px"'


def _img(file: PublishedFile, output: PublishedObject, srcset: str = "", sizes: str = "") -> str:
    width, height = pixels(output)
    size = f' width="{width}" height="{height}"' if width is not None else ""
    choice = f' srcset="{escape(srcset)}"{sizes}' if srcset else ""
    return f'<img src="{escape(_snippet_address(output))}"{choice}{size} alt="{escape(file.alt)}">'


def pixels(output: PublishedObject) -> tuple[int | None, int | None]:
    """Width and height; both None where one is not known."""
    facts = output.facts.get("output", {})
    width, height = facts.get("width"), facts.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (None, None)


# --- for programs -----------------------------------------------------------------------------------------------------------


def output_record(output: PublishedObject) -> Record:
    """What is told of an output: OUTPUT_COLUMNS, and `input` with INPUT_COLUMNS; None for what is not known."""
    facts, made, source = output.facts, output.facts.get("output", {}), output.facts.get("input", {})
    known = {**made, **facts, "rendition": output.rendition, "bucket": output.bucket, "key": output.key}
    record = {name: known.get(name) for name in OUTPUT_COLUMNS}
    return {**record, "input": {name: source.get(name) for name in INPUT_COLUMNS}}


def flat_record(record: Record) -> Record:
    """The same as one row of a table: `input_size` and so on instead of `input`."""
    return {**record, **{f"input_{name}": record["input"][name] for name in INPUT_COLUMNS}}


def records(file: PublishedFile) -> Iterator[Record]:
    """What is told of each output, with its `folder` and its `file` (the absolute path)."""
    for output in file.outputs:
        yield {**file.file.fields(), **output_record(output)}


def json_lines(file: PublishedFile) -> list[str]:
    """A JSON object for each output."""
    return [json.dumps(printable(record), ensure_ascii=False) for record in records(file)]


def csv_lines(file: PublishedFile) -> list[str]:
    """A row for each output; CSV_HEADER says what stands where."""
    return [csv_line([flat_record(record).get(name) for name in CSV_COLUMNS]) for record in records(file)]


def csv_line(values: Iterable[Any]) -> str:
    """One row, quoted where need be. Line feeds in names stay inside their quotes."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([printable(value) for value in values])  # so that both are quoted in names
    return out.getvalue().removesuffix("\r\n")


_LINES: Final[Mapping[Form, Callable[[PublishedFile], list[str]]]] = {
    "url": urls,
    "markdown": markdown,
    "html": html,
    "picture": picture,
    "json": json_lines,
    "csv": csv_lines,
}


def lines(files: Iterable[PublishedFile], form: Form) -> Iterator[str]:
    """The links of many files, line by line as they come; CSV begins with its header row."""
    if form == "csv":
        yield csv_line(CSV_COLUMNS)
    for file in files:
        yield from _LINES[form](file)


# --- manifests --------------------------------------------------------------------------------------------------------------

MANIFEST_COLUMNS: Final = tuple(name for name in CSV_COLUMNS if name != "folder")


def manifest_key(relative: bytes) -> str:
    """How a manifest names a file: its path inside the folder."""
    return str(path_fields("file", relative)["file"])


def manifest_entry(file: PublishedFile) -> str:
    """A file of a JSON manifest: `"path": [outputs]`."""
    exact = {name: value for name, value in path_fields("file", file.file.relative).items() if name != "file"}
    outputs = [{**output_record(output), **exact} for output in file.outputs]
    name, told = manifest_key(file.file.relative), printable(outputs)
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(told, ensure_ascii=False)}"


def manifest_rows(file: PublishedFile) -> list[str]:
    """The rows of a file in a CSV manifest, one for each output; MANIFEST_COLUMNS say what stands where."""
    name = manifest_key(file.file.relative)
    rows = ({**flat_record(output_record(output)), "file": name} for output in file.outputs)
    return [csv_line([row.get(column) for column in MANIFEST_COLUMNS]) for row in rows]
