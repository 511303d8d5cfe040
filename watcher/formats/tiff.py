"""TIFF 6.0 and its 64-bit extension (BigTIFF): directories, wholeness, size, and camera raws that wear TIFF's clothes. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import Cut, NoFormalEnd
from watcher.formats.exif import UPRIGHT, upright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from watcher.formats.bounded_reading import Bytes

MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_DIRECTORIES: Final = 10_000
_MAX_VALUES: Final = 1_000_000

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, MAKE = 254, 256, 257, 258, 259, 262, 271
ORIENTATION, SAMPLES, ROWS, PLANES, SUB_DIRECTORIES, INKS, EXTRA, SAMPLE_FORMAT = 274, 277, 278, 284, 330, 332, 338, 339
TILE_OFFSETS, SUBSAMPLING, OLD_JPEG, DNG, PALETTE, PROFILE = 324, 530, 513, 50706, 320, 34675
_STRIPS: Final = 273
_OFFSETS: Final = {_STRIPS: 279, TILE_OFFSETS: 325, OLD_JPEG: 514}
"""Tags with offsets of strips, tiles and an old-style JPEG stream, to the tags with their byte counts."""
_READ: Final = frozenset(
    {SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, ROWS, PLANES, SUB_DIRECTORIES, INKS, EXTRA}
    | {SAMPLE_FORMAT, SUBSAMPLING, DNG, PALETTE, *_OFFSETS, *_OFFSETS.values()}
)
_REDUCED, _MASK = 1, 4
_CUT_STRIP: Final = "a strip or tile lies behind the end"
_CUT_VALUE: Final = "a value lies behind the end"
_CUT_DIRECTORY: Final = "an image directory lies behind the end"


@dataclass(frozen=True, slots=True)
class Directory:
    """One picture of the file. `number`: its place in the chain (from 0); None for one below another (`parent`, `below`)."""

    number: int | None
    values: Mapping[int, tuple[int, ...]]
    make: str = ""
    profile: tuple[int, int] | None = None
    """Where its colour profile lies, and how long it is."""
    parent: int = 0
    below: int = 0

    def first(self, tag: int, otherwise: int) -> int:
        """The first value of a tag."""
        return next(iter(self.values.get(tag, ())), otherwise)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as they are stored."""
        return self.first(WIDTH, 0), self.first(HEIGHT, 0)

    @property
    def orientation(self) -> int:
        """1 to 8; 1 where it is not said or not valid."""
        value = self.first(ORIENTATION, UPRIGHT)
        return value if 1 <= value <= 8 else UPRIGHT

    @property
    def is_page(self) -> bool:
        """Whether it is a picture of its own: no reduced copy and no mask of another one, and of some size."""
        return not self.first(SUBFILE, 0) & (_REDUCED | _MASK) and all(self.size)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    amount: int
    place: int


class Tiff:
    """The directories of a file."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        self.order = "<" if data.some(0, 1) == b"I" else ">"
        self.big = data.number(2, 2, "the header is cut", self.order) == 43
        self._step = 20 if self.big else 12
        self._head = 8 if self.big else 2
        self._width = 8 if self.big else 4

    def number(self, offset: int, count: int) -> int:
        """An unsigned number of so many bytes."""
        return self.data.number(offset, count, _CUT_DIRECTORY, self.order)

    def chain(self) -> Iterator[int]:
        """The positions of the directories, one after the other. Raises NoFormalEnd where the last one is cut at its end."""
        position: int | None = self.number(8, 8) if self.big else self.number(4, 4)
        seen: set[int] = set()
        while position and position not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(position)
            yield position
            following = self.data.some(self.end_of(position), self._width)
            if len(following) < self._width:
                raise NoFormalEnd("the position of the next image directory is missing")
            position = int.from_bytes(following, "little" if self.order == "<" else "big")

    def end_of(self, position: int) -> int:
        """Where a directory ends and the position of the next one stands."""
        return position + self._head + self.number(position, self._head) * self._step

    def entries(self, position: int) -> dict[int, _Entry]:
        """The entries of a directory by tag. Raises Cut where the directory itself is cut."""
        end = self.end_of(position)
        self.data.reaches(end, "an image directory is cut")
        return {self.number(place, 2): self._entry(place) for place in range(position + self._head, end, self._step)}

    def _entry(self, place: int) -> _Entry:
        kind = self.number(place + 2, 2)
        amount = self.number(place + 4, self._width)
        value = place + 4 + self._width
        inline = amount * _SIZES.get(kind, 0) <= self._width
        return _Entry(kind, amount, value if inline else self.number(value, self._width))

    def values(self, entry: _Entry) -> tuple[int, ...]:
        """The numbers of an entry; none where it has too many or they are no numbers. Raises Cut where they are not there."""
        code = _NUMBERS.get(entry.kind)
        if code is None or entry.amount > _MAX_VALUES:
            return ()
        raw = self.data.exactly(entry.place, entry.amount * _SIZES[entry.kind], _CUT_VALUE)
        return struct.unpack(f"{self.order}{entry.amount}{code}", raw)

    def directory(self, position: int, number: int | None) -> Directory:
        """What the directory at a position says."""
        entries = self.entries(position)
        read = {tag: self.values(entry) for tag, entry in entries.items() if tag in _READ}
        make = entries.get(MAKE)
        name = self.data.some(make.place, min(make.amount, 64)) if make is not None and make.kind == 2 else b""
        profile = entries.get(PROFILE)
        place = (profile.place, profile.amount) if profile is not None else None
        return Directory(number, read, name.split(b"\0")[0].decode("latin-1").strip(), place)


def directories(data: Bytes) -> list[Directory]:
    """Every directory that can be read, those below others directly behind them."""
    tiff = Tiff(data)
    found: list[Directory] = []
    try:
        for number, position in enumerate(tiff.chain()):
            own = tiff.directory(position, number)
            found.append(own)
            for place, below in enumerate(own.values.get(SUB_DIRECTORIES, ())[:64]):
                found.append(replace(tiff.directory(below, None), parent=number, below=place))
    except Cut:
        pass  # what is cut is said by `check`
    return found


def pages(found: list[Directory]) -> list[Directory]:
    """The pictures among the directories: the pages; without any, the largest picture of all."""
    proper = [each for each in found if each.is_page]
    chained = [each for each in proper if each.number is not None]
    if chained:
        return chained
    largest = max(proper or [each for each in found if all(each.size)], key=_area, default=None)
    return [largest] if largest is not None else []


def _area(directory: Directory) -> int:
    width, height = directory.size
    return width * height


def size(data: Bytes) -> tuple[int, int] | None:
    """Width and height of the first page, as it is looked at."""
    page = next(iter(pages(directories(data))), None)
    return upright(*page.size, page.orientation) if page is not None else None


# --- wholeness --------------------------------------------------------------------------------------------------------------

_NEEDED: Final = frozenset({WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS, PLANES, SUB_DIRECTORIES, PALETTE, 347})
"""Tags without whose values (a palette, JPEG tables) nobody can read the pixels."""


def check(data: Bytes) -> None:
    """Raises Cut where pixels of any picture lie behind the end; NoFormalEnd where only something else does."""
    tiff = Tiff(data)
    seen: set[int] = set()
    problems: list[str] = []
    try:
        for position in tiff.chain():
            problems += _check_directory(tiff, position, seen)
    except NoFormalEnd as end:
        problems.append(str(end))
    if not seen:
        raise Cut("there is no image directory")
    if problems:
        raise NoFormalEnd(problems[0])


def _check_directory(tiff: Tiff, position: int, seen: set[int]) -> list[str]:
    """What of a directory, and of those below it, lies behind the end without being needed."""
    if position in seen or len(seen) >= _MAX_DIRECTORIES:
        return []
    seen.add(position)
    problems = []
    values: dict[int, tuple[int, ...]] = {}
    for tag, entry in tiff.entries(position).items():
        needed = tag in _NEEDED or tag in _OFFSETS or tag in _OFFSETS.values()
        if entry.place + entry.amount * _SIZES.get(entry.kind, 0) > tiff.data.size:
            if needed:
                raise Cut(_CUT_VALUE)
            problems.append(_CUT_VALUE)
        elif needed:
            values[tag] = tiff.values(entry)
    problems += _check_pixels(tiff, Directory(None, values))
    for below in values.get(SUB_DIRECTORIES, ()):
        problems += _check_directory(tiff, below, seen) if below else []
    return problems


def _check_pixels(tiff: Tiff, directory: Directory) -> list[str]:
    problems = []
    for offsets_tag, counts_tag in _OFFSETS.items():
        counts = directory.values.get(counts_tag, ())
        for number, offset in enumerate(directory.values.get(offsets_tag, ())):
            length = counts[number] if number < len(counts) else 1
            if offset + length <= tiff.data.size:
                continue
            needed = _plain_length(directory, number) if offsets_tag == _STRIPS else None
            if needed is None or offset + needed > tiff.data.size:
                raise Cut(_CUT_STRIP)
            problems.append(_CUT_STRIP)
    return problems


def _plain_length(directory: Directory, number: int) -> int | None:
    """The bytes that a strip needs, whatever the file says; None where it is compressed."""
    if directory.first(COMPRESSION, 1) != 1:
        return None
    width, height = directory.size
    rows = min(directory.first(ROWS, height), height) or 1
    samples = directory.first(SAMPLES, 1) if directory.first(PLANES, 1) == 1 else 1
    start = number % -(-height // rows) * rows if height else 0
    return -(-width * samples * directory.first(BITS, 1) // 8) * min(rows, height - start)


# --- camera raws ------------------------------------------------------------------------------------------------------------

_COLOUR_FILTER, _LINEAR_RAW = 32803, 34892
_RAW_COMPRESSIONS: Final = frozenset({32767, 32769, 32770, 34713, 65000, 65535})
"""Sony ARW, Samsung and Epson, Nikon NEF, Kodak DCR, Pentax PEF."""
_RAWS: Final = {
    "NIKON": "NEF",
    "SONY": "ARW",
    "PENTAX": "PEF",
    "RICOH": "DNG or PEF",
    "CANON": "CR2",
    "SAMSUNG": "SRW",
    "HASSELBLAD": "3FR",
    "PHASE ONE": "IIQ",
    "LEAF": "MOS",
    "MAMIYA": "MEF",
    "EPSON": "ERF",
    "KODAK": "DCR",
    "EASTMAN": "DCR",
    "PANASONIC": "RAW",
    "LEICA": "DNG",
}


def raw_kind(data: Bytes) -> str | None:
    """The kind of camera raw that a TIFF really is ("NEF", or "" where its maker is unknown); None for a TIFF."""
    if data.some(8, 4) in (b"IIII", b"MMMM"):
        return "IIQ"
    try:
        found = directories(data)
    except Cut:
        return None
    if any(DNG in each.values for each in found):
        return "DNG"
    if not any(_is_raw(each) for each in found):
        return None
    make = next((each.make.upper() for each in found if each.make), "")
    return next((kind for maker, kind in _RAWS.items() if make.startswith(maker)), "")


def _is_raw(directory: Directory) -> bool:
    filtered = directory.first(PHOTOMETRIC, -1) in (_COLOUR_FILTER, _LINEAR_RAW)
    return filtered or directory.first(COMPRESSION, 1) in _RAW_COMPRESSIONS
