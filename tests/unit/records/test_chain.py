"""Lines, hashes, and the verdict on the end of a file."""

import json

import pytest

from watcher.records.chain import ChainedLine, Tail, compose, line_hash, reaches_back, read_line, read_tail


def chain(count: int) -> list[bytes]:
    """As many lines, with their line feeds."""
    lines: list[bytes] = []
    for seq in range(1, count + 1):
        prev = line_hash(lines[-1][:-1]) if lines else None
        lines.append(compose({"event": "image.stored", "id": f"i{seq}"}, seq, prev) + b"\n")
    return lines


LINES = chain(4)
WHOLE = b"".join(LINES)


def test_line_is_the_record_with_number_and_hash() -> None:
    """Compact JSON, letters of all scripts as they are, `seq` and `prev` at the end; the very first line has no `prev`."""
    line = compose({"event": "image.stored", "file": "/ä.jpg"}, 1, None)

    assert '{"event":"image.stored","file":"/ä.jpg","seq":1,"prev":null}'.encode() == line


def test_new_chain_says_so() -> None:
    """A line without a line before it that is not the first says that a chain begins."""
    assert json.loads(compose({"a": 1}, 7, None)) == {"a": 1, "seq": 7, "prev": None, "chain": "new"}


def test_read_line_gives_back_what_was_composed() -> None:
    """The record, the number and the hashes; the hash is over the line's bytes."""
    line = read_line(LINES[1][:-1])

    assert ChainedLine(2, line_hash(LINES[0][:-1]), line_hash(LINES[1][:-1]), None, {"event": "image.stored", "id": "i2"}) == line


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'{"seq":"1","prev":null}',
        b'{"seq":true,"prev":null}',
        b'{"seq":1,"prev":5}',
        b'{"prev":null}',
        b'{"seq":1,"prev":null',
        b"\xff\xfe",
        b'{"seq":1,"prev":null}\0',
    ],
)
def test_foreign_bytes_are_no_line(data: bytes) -> None:
    """Whatever is not an object with our two fields is not ours, and never an error."""
    assert read_line(data) is None


@pytest.mark.parametrize(
    ("data", "marked", "keep", "last"),
    [
        (b"", 0, 0, None),  # a new file
        (WHOLE, 4, len(WHOLE), 4),  # all is well
        (WHOLE, 2, len(WHOLE), 4),  # written, but not noted
        (WHOLE[:-1], 4, len(WHOLE) - len(LINES[3]), 3),  # the line feed is missing
        (WHOLE + b'{"half', 4, len(WHOLE), 4),
        (WHOLE + b"\0" * 100, 4, len(WHOLE), 4),  # filled with zeros
        (b'{"half', 0, 0, None),
        (LINES[0] + b"\0" * 50 + b"\n" + LINES[3], 1, len(LINES[0]), 1),  # a hole between blocks
        (LINES[0] + LINES[2] + LINES[3][:-5], 1, len(LINES[0]), 1),  # blocks missing, and cut off
        (LINES[0] + LINES[2] + LINES[3], 4, len(WHOLE) - len(LINES[1]), 4),  # somebody removed a line: left for verify
        (WHOLE + b"somebody was here\n", 4, len(WHOLE) + 18, 4),  # somebody added one: left for verify
    ],
)
def test_read_tail(data: bytes, marked: int, keep: int, last: int | None) -> None:
    """What is torn goes, what is whole stays, whoever wrote it; the last line of ours is found."""
    tail = read_tail(data, marked)

    assert (keep, last) == (tail.keep, tail.last.seq if tail.last else None)


def test_tail_is_a_value() -> None:
    """Two verdicts that say the same are the same."""
    assert Tail(0, None) == read_tail(b"", 0)


@pytest.mark.parametrize(("data", "marked", "expected"), [(WHOLE, 2, True), (b"".join(LINES[2:]), 2, False), (b"x", 9, False)])
def test_reaches_back(data: bytes, marked: int, expected: bool) -> None:
    """Whether a piece holds a whole line that was surely durable; its first line may be cut and does not count."""
    assert expected is reaches_back(data, marked)
