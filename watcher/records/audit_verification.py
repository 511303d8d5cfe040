"""`audit verify`: whether the audit file, with its rotated ones, holds what was written, all of it, once, in order."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from watcher.records.chain import NEW_CHAIN, ChainedLine, read_line
from watcher.records.ranges import Ranges
from watcher.records.rotated import READ_ERRORS, audit_files, how_to_read, open_lines, rotated_files, unreadable_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from watcher.model import Record
    from watcher.records.views import JournalViews

AT_ONCE: Final = 500
"""Lines that the journal is asked about together."""
TRIES: Final = 3
"""How often files that change under the check are checked."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. `notes` are worth knowing and no problem."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    lines: int
    files: tuple[Path, ...]
    first_seq: int | None
    last_seq: int | None

    @property
    def sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def verify(path: Path, journal: JournalViews | None) -> Verification:
    """Check the audit file at `path` and the rotated files beside it; against the journal where there is one.

    Older files may have been removed: the first line there is may have any number. The file may grow meanwhile, and be rotated:
    a problem counts where the files stood still, or where it is found again.
    """
    for _ in range(TRIES - 1):
        before = _shapes(path)
        found = _verify(path, journal)
        if found.sound or _shapes(path) == before:
            return found
    return _verify(path, journal)


def _shapes(path: Path) -> set[tuple[Path, int, int]]:
    """Which files there are, and how long they are."""
    shapes = set()
    for each in (path, *rotated_files(path)):
        with suppress(OSError):
            status = each.stat()
            shapes.add((each, status.st_ino, status.st_size))
    return shapes


def _verify(path: Path, journal: JournalViews | None) -> Verification:
    audited = (
        journal.outbox_cursor().audited if journal is not None else 0
    )  # before the files, which hold all of that and may hold more
    files = audit_files(path)
    unreadable = unreadable_files(path)
    check = Check(journal, something_hidden=bool(unreadable))
    check.problems += [f"{each.name}: cannot be read: {how_to_read(each)}" for each in unreadable]
    for file in files:
        check.file(file)
    if journal is not None:
        check.against_journal(journal, audited)
    return Verification(tuple(check.problems), tuple(check.notes), check.lines, tuple(files), check.seen.first, check.seen.last)


@dataclass(slots=True)
class Check:
    """The walk along the lines, and what it has found so far."""

    journal: JournalViews | None = None
    something_hidden: bool = False
    """Whether there are rotated files that cannot be read: what is not here may be there."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: int = 0
    seen: Ranges = field(default_factory=Ranges)
    _last: ChainedLine | None = None
    _outputs: set[bytes] = field(default_factory=set)

    def file(self, path: Path) -> None:
        """Every line of one file, in order."""
        try:
            with open_lines(path) as lines:
                first = 1
                for some in _portions(lines):
                    self._some(path.name, first, some)
                    first += len(some)
        except READ_ERRORS as error:
            self.problems.append(f"{path.name}: cannot be read to its end: {error}")
            self.something_hidden = True

    def _some(self, name: str, first: int, some: Sequence[bytes]) -> None:
        """Lines of a file that follow each other; the first of them has the number `first`."""
        lines = [read_line(data[:-1]) if data.endswith(b"\n") else None for data in some]
        known = self.journal.records([line.seq for line in lines if line is not None]) if self.journal is not None else {}
        for number, (data, line) in enumerate(zip(some, lines, strict=True), first):
            place = f"{name}, line {number}"
            if line is not None:
                self._line(place, line, known.get(line.seq))
            elif data.endswith(b"\n"):
                self.problems.append(f"{place}: is no line of ours")
            else:
                self.problems.append(f"{place}: is cut off")

    def _line(self, place: str, line: ChainedLine, known: Record | None) -> None:
        self.lines += 1
        self._order(place, line)
        self._once(place, line)
        self._content(place, line, known)
        self._last = line

    def _order(self, place: str, line: ChainedLine) -> None:
        last = self._last
        if line.chain == NEW_CHAIN and line.prev is None:
            gone = "may be in a file that cannot be read" if self.something_hidden else "were deleted by somebody"
            self.notes.append(f"{place}: a new chain begins at number {line.seq}; the lines before it {gone}")
        elif last is None:
            self._first(place, line)
        elif line.seq != last.seq + 1 or line.prev != last.hash:
            self.problems.append(f"{place}: {_break(line, last)}")

    def _first(self, place: str, line: ChainedLine) -> None:
        if line.prev is not None:
            self.notes.append(f"{place}: begins with number {line.seq}; older files are not here")
        elif line.seq != 1:
            self.problems.append(f"{place}: number {line.seq} says that nothing came before it")

    def _once(self, place: str, line: ChainedLine) -> None:
        if not self.seen.add(line.seq):
            self.problems.append(f"{place}: number {line.seq} is there twice")
        identity = f"{line.record.get('id')}\0{line.record.get('rendition')!r}".encode()
        digest = hashlib.blake2b(identity, digest_size=12).digest()
        if digest in self._outputs:
            self.problems.append(
                f"{place}: image {line.record.get('id')} has ended before (rendition {line.record.get('rendition')})"
            )
        self._outputs.add(digest)

    def _content(self, place: str, line: ChainedLine, known: Record | None) -> None:
        """Compare with the journal's record, as far back as it remembers."""
        if known is not None and known != line.record:
            self.problems.append(f"{place}: number {line.seq} is not what the journal says")
        elif known is None and self.journal is not None and line.seq > self.journal.last_seq():
            self.problems.append(f"{place}: the journal knows nothing of number {line.seq}")

    def against_journal(self, journal: JournalViews, audited: int) -> None:
        """What the journal has and the file has not, though it was to hold the lines up to `audited`."""
        missing, waiting = Ranges(), Ranges()
        for number in journal.ending_numbers():
            if number not in self.seen and self._should_be_here(number):
                (missing if number <= audited else waiting).add(number)
        if missing.first is not None:
            hidden = "; they may be in a file that cannot be read" if self.something_hidden else ""
            self.problems.append(f"missing lines, by their number: {missing}{hidden}")
        if waiting.first is not None:
            self.notes.append(f"not written yet, the daemon will do it: {waiting}")
        for identity, rendition in journal.ended_without_line():
            self.problems.append(f"image {identity} (rendition {rendition}) has ended and has no line")

    def _should_be_here(self, number: int) -> bool:
        """Lines before the first one that is here may have been rotated away."""
        return self.seen.first is None or number > self.seen.first


def _portions(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines in lists; what could be read before an error comes before the error."""
    some: list[bytes] = []
    try:
        for data in lines:
            some.append(data)
            if len(some) == AT_ONCE:
                yield some
                some = []
    except READ_ERRORS:
        yield some
        raise
    yield some


def _break(line: ChainedLine, last: ChainedLine) -> str:
    """What is wrong between two lines."""
    if line.seq > last.seq + 1:
        return f"number {last.seq} is followed by {line.seq}: lines between were removed"
    if line.seq <= last.seq:
        return f"number {line.seq} comes after {last.seq}: lines were moved or written twice"
    return f"does not continue line {last.seq}: that line was changed, or one was removed or added here"
