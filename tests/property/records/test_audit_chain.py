"""The end of an audit file, cut and spoilt anywhere: what is judged sound is sound, and nothing sound is thrown away."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from watcher.records.chain import compose, line_hash, read_line, read_tail

RECORDS = st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers() | st.none(), max_size=4), max_size=8)


def chain(records: list[dict[str, object]]) -> list[bytes]:
    lines: list[bytes] = []
    for seq, record in enumerate(records, 1):
        clean = {name: value for name, value in record.items() if name not in ("seq", "prev", "chain")}
        lines.append(compose(clean, seq, line_hash(lines[-1][:-1]) if lines else None) + b"\n")
    return lines


@given(RECORDS, st.data())
def test_cut_anywhere_leaves_whole_lines(records: list[dict[str, object]], data: st.DataObject) -> None:
    """Whatever is kept of a cut file is exactly its whole lines, and the last of them is found."""
    lines = chain(records)
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    marked = data.draw(st.integers(0, len(lines)))

    tail = read_tail(whole[:cut], marked)

    kept = [line for number, line in enumerate(lines) if len(b"".join(lines[: number + 1])) <= cut]
    assert tail.keep == len(b"".join(kept))
    assert (tail.last.seq if tail.last else 0) == len(kept)


@given(RECORDS, st.data())
def test_zeros_at_the_end_never_survive(records: list[dict[str, object]], data: st.DataObject) -> None:
    """From the first byte that a disk left as zero nothing is kept, and every whole line before it is."""
    lines = chain(records)
    whole = b"".join(lines)
    start = data.draw(st.integers(0, len(whole)))
    spoilt = whole[:start] + b"\0" * (len(whole) - start + data.draw(st.integers(0, 50)))

    tail = read_tail(spoilt, 0)

    assert tail.keep == whole[:start].rfind(b"\n") + 1
    assert b"\0" not in spoilt[: tail.keep]


@given(RECORDS)
def test_lines_come_back_as_they_went_in(records: list[dict[str, object]]) -> None:
    """Reading a line gives the record, and each follows the one before."""
    lines = chain(records)
    read = [read_line(line[:-1]) for line in lines]

    assert all(line is not None for line in read)
    assert all(after.follows(before.place) for before, after in pairwise(read) if before and after)


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_judged(data: bytes, marked: int) -> None:
    """No content of a file is an error, and never is more kept than there is."""
    assert 0 <= read_tail(data, marked).keep <= len(data)
