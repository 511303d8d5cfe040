"""The lines of the audit file and the chain of hashes between them. Pure: bytes in, values out.

A line is the record of an ending with `seq`, its number, and `prev`, the hash of the line before (its bytes without the line
feed); null in the very first. Where a file was deleted by somebody a new chain begins: `chain` is "new" and `prev` null.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.json_text import dumps, loads

if TYPE_CHECKING:
    from watcher.model import Record

NEW_CHAIN: Final = "new"


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """Where a chain stands: the number of its last line and that line's hash (None: the next line begins a chain)."""

    seq: int
    hash: str | None


@dataclass(frozen=True, slots=True)
class ChainedLine:
    """A line that is one of ours."""

    seq: int
    prev: str | None
    hash: str
    chain: str | None
    record: Record
    """The ending alone, as the journal has it."""

    @property
    def place(self) -> ChainEnd:
        """Where the chain stands after it."""
        return ChainEnd(self.seq, self.hash)

    def follows(self, place: ChainEnd) -> bool:
        """Whether it is the very next line."""
        return self.seq == place.seq + 1 and self.prev == place.hash


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a file: how many bytes of it are to be kept, and its last line of ours."""

    keep: int
    last: ChainedLine | None


def line_hash(line: bytes) -> str:
    """The hash of a line's bytes, without its line feed."""
    return "sha256:" + hashlib.sha256(line).hexdigest()


def compose(record: Record, seq: int, prev: str | None) -> bytes:
    """The line of the ending number `seq` after the line with the hash `prev`, without a line feed."""
    return dumps(linked(record, seq, prev))


def linked(record: Record, seq: int, prev: str | None) -> Record:
    """The object of that line."""
    links: Record = {"seq": seq, "prev": prev}
    if prev is None and seq > 1:
        links["chain"] = NEW_CHAIN
    return {**record, **links}


def read_line(data: bytes) -> ChainedLine | None:
    """The line in these bytes (without line feed), or None where it is not one of ours."""
    try:
        record = loads(data)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    seq, prev, chain = record.pop("seq", None), record.pop("prev", None), record.pop("chain", None)
    if not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(prev, str | None):
        return None
    return ChainedLine(seq, prev, line_hash(data), chain if isinstance(chain, str) else None, record)


def reaches_back(data: bytes, marked: int) -> bool:
    """Whether this end of a file, which may begin inside a line, holds a whole line of ours with a number up to `marked`."""
    first = data.find(b"\n")
    return any((line := read_line(each)) and line.seq <= marked for each in data[first + 1 :].split(b"\n") if each)


def read_tail(data: bytes, marked: int) -> Tail:
    """Judge the end of a file, `data`, that begins with a whole line. `marked` is the last line known to have been made durable.

    Whole lines stay, whoever wrote them. Lines behind `marked` were being written when something died: from the first one that
    is cut off or has holes (a disk that kept only some of its blocks) everything is to be written again.
    """
    offset, last = 0, None
    while offset < len(data):
        end = data.find(b"\n", offset)
        if end < 0 or b"\0" in data[offset:end]:
            return Tail(offset, last)
        line = read_line(data[offset:end])
        if line is not None:
            if last is not None and last.seq >= marked and not line.follows(last.place) and _has_holes(data[offset:]):
                return Tail(offset, last)
            last = line
        offset = end + 1
    return Tail(offset, last)


def _has_holes(data: bytes) -> bool:
    return b"\0" in data or not data.endswith(b"\n")
