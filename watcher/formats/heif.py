"""HEIC and AVIF (ISO/IEC 14496-12, 23008-12, MIAF): what the boxes say of pictures, wholeness and size. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import Cut
from watcher.model import Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from watcher.formats.bounded_reading import Bytes

_MOST_META: Final = 1 << 25
_AVIF: Final = frozenset({b"avif", b"avis"})
_HEVC: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_GENERAL: Final = frozenset(b"mif1 mif2 mif3 msf1 miaf MiHE MiAn MiHB MiHA 1pic MA1B MA1A tmap".split())
_OTHER_BRANDS: Final = frozenset(b"avci avcs jpeg jpgs j2ki vvic evbi evmi unif".split())
_CODINGS: Final = {b"hvc1": Format.HEIC, b"av01": Format.AVIF}
_DERIVED: Final = frozenset({b"grid", b"iden", b"iovl", b"tmap"})
_OTHER_CODINGS: Final = {
    b"avc1": "H.264",
    b"vvc1": "H.266",
    b"evc1": "EVC",
    b"jpeg": "JPEG",
    b"j2k1": "JPEG 2000",
    b"unci": "uncompressed samples",
    b"lhv1": "layered HEVC",
}
_CUT_BOX: Final = "a box is cut"
_NO_PICTURE: Final = "the boxes with the picture are missing"
_CUT_DATA: Final = "the coded picture goes on behind the end"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the `meta` box. `extents`: offset and length in the file (in `idat` where `inside`)."""

    kind: bytes
    hidden: bool = False
    properties: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] = ()
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """What the boxes say. `references`: kind, from, to. `samples`: of the tracks of a `moov` box."""

    brand: bytes
    primary: int = 0
    items: Mapping[int, Item] = field(default_factory=dict)
    references: tuple[tuple[bytes, int, tuple[int, ...]], ...] = ()
    alternatives: tuple[tuple[int, ...], ...] = ()
    samples: int = 0
    track_size: tuple[int, int] | None = None

    @property
    def pictures(self) -> list[int]:
        """The items that are pictures of their own: no tiles, thumbnails, masks, depth maps, and one of alternatives."""
        below = {each for kind, _, targets in self.references if kind in (b"dimg", b"base") for each in targets}
        below |= {source for kind, source, _ in self.references if kind in (b"thmb", b"auxl")}
        below |= {each for group in self.alternatives for each in group if each != self.primary and self.primary in group}
        kinds = {*_CODINGS, *_DERIVED, *_OTHER_CODINGS}
        shown = (each for each, item in self.items.items() if item.kind in kinds)
        return [each for each in shown if each == self.primary or (each not in below and not self.items[each].hidden)]

    def coding(self, item: int, depth: int = 0) -> bytes:
        """The coding of an item, that of its parts where it is made of others."""
        kind = self.items[item].kind if item in self.items else b""
        if kind not in _DERIVED or depth > 8:
            return kind
        parts = (targets for name, source, targets in self.references if name == b"dimg" and source == item)
        return next((self.coding(each, depth + 1) for targets in parts for each in targets), b"")

    def said(self, kind: bytes, item: int | None = None) -> bytes | None:
        """The content of the first property of a kind of an item (the primary one unless named)."""
        of = self.items.get(self.primary if item is None else item)
        return next((content for name, content in of.properties if name == kind), None) if of is not None else None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the primary picture as it is looked at."""
        item = self.items.get(self.primary)
        found = None
        for kind, content in item.properties if item is not None else ():
            if kind == b"ispe" and len(content) >= 12:
                found = struct.unpack_from(">II", content, 4)
            elif kind == b"clap" and found and len(content) >= 16:
                found = _aperture(content) or found
            elif kind == b"irot" and found and content and content[0] & 1:
                found = found[1], found[0]
        return found or self.track_size


def _aperture(content: bytes) -> tuple[int, int] | None:
    width, across, height, down = struct.unpack_from(">IIII", content)
    return (width // across, height // down) if across and down else None


# --- recognition ------------------------------------------------------------------------------------------------------------


def is_boxed(head: bytes) -> bool:
    """Whether a file begins with the box that names its brands."""
    return head[4:8] == b"ftyp"


def by_brands(head: bytes) -> Format | None:
    """What the brands say: the major one decides; the general ones of HEIF leave it to the compatible ones."""
    brands = _brands(head)
    relevant = brands if brands[0] in _GENERAL else brands[:1]
    if not _AVIF.isdisjoint(relevant):
        return Format.AVIF
    return Format.HEIC if not _HEVC.isdisjoint(relevant) else None


def is_general(head: bytes) -> bool:
    """Whether the brands say that it is a HEIF file, and may not say how its pictures are coded."""
    return _brands(head)[0] in _GENERAL | _OTHER_BRANDS


def _brands(head: bytes) -> list[bytes]:
    length = int.from_bytes(head[:4], "big")
    return [head[position : position + 4] for position in (8, *range(16, min(length, len(head)) - 3, 4))]


def by_items(data: Bytes) -> tuple[Format | None, str]:
    """The format by the coding of the primary picture; or None and the name of another coding ("" where none is said)."""
    try:
        found = structure(data)
    except Cut:
        return None, ""
    coding = found.coding(found.primary)
    return _CODINGS.get(coding), _OTHER_CODINGS.get(coding, "")


# --- reading ----------------------------------------------------------------------------------------------------------------


def structure(data: Bytes) -> Structure:
    """What the boxes say. Raises Cut where the describing boxes are cut or contradict themselves."""
    found = Structure(data.some(8, 4))
    try:
        for kind, start, end in _boxes(data):
            if kind == b"meta" and not found.items:
                found = _read_meta(found, data.exactly(start, min(end, start + _MOST_META) - start, _CUT_BOX))
            elif kind == b"moov":
                found = _read_movie(found, data.exactly(start, min(end, start + _MOST_META) - start, _CUT_BOX))
    except (struct.error, IndexError):
        raise Cut("the boxes that describe the picture are damaged") from None
    return found


def _boxes(data: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of every top-level box; a box may end behind the file."""
    position = 0
    while position + 8 <= data.size:
        header = data.exactly(position, 8, _CUT_BOX)
        length, kind, start = int.from_bytes(header[:4], "big"), header[4:], position + 8
        if length == 1:
            length, start = data.number(position + 8, 8, _CUT_BOX, ">"), position + 16
        end = data.size if length == 0 else position + max(length, start - position)
        yield kind, start, end
        position = end


def _children(content: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes in a box."""
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        begin = start + 8
        if length == 1:
            length, begin = struct.unpack_from(">Q", content, begin)[0], begin + 8
        end = len(content) if length == 0 else start + max(length, begin - start)
        yield kind, content[begin:end]
        start = end


def _read_meta(found: Structure, content: bytes) -> Structure:
    boxes = dict(_children(content, 4))
    kinds = dict(_item_kinds(boxes.get(b"iinf", b"")))
    places = dict(_item_places(boxes.get(b"iloc", b"")))
    properties = _item_properties(boxes.get(b"iprp", b""))
    items = {
        number: Item(kind, hidden, properties.get(number, ()), *places.get(number, ((), False)))
        for number, (kind, hidden) in kinds.items()
    }
    primary = boxes.get(b"pitm", b"")
    number = int.from_bytes(primary[4:8] if primary[:1] == b"\1" else primary[4:6], "big")
    return Structure(
        found.brand,
        number,
        items,
        tuple(_item_references(boxes.get(b"iref", b""))),
        tuple(_alternatives(boxes.get(b"grpl", b""))),
        found.samples,
        found.track_size,
    )


def _item_kinds(content: bytes) -> Iterator[tuple[int, tuple[bytes, bool]]]:
    for kind, entry in _children(content, 6 if content[:1] == b"\0" else 8):
        if kind != b"infe" or entry[:1] not in (b"\2", b"\3"):
            continue
        wide = entry[0] == 3
        number = int.from_bytes(entry[4 : 8 if wide else 6], "big")
        yield number, (entry[10:14] if wide else entry[8:12], bool(entry[3] & 1))


class _Cursor:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def number(self, count: int) -> int:
        if self.place + count > len(self._content):
            raise struct.error
        value = int.from_bytes(self._content[self.place : self.place + count], "big")
        self.place += count
        return value


def _item_places(content: bytes) -> Iterator[tuple[int, tuple[tuple[tuple[int, int], ...], bool]]]:
    """For every item its extents, and whether they lie in `idat`."""
    if not content:
        return
    cursor = _Cursor(content)
    version = cursor.number(4) >> 24
    sizes = cursor.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(cursor.number(2 if version < 2 else 4)):
        number = cursor.number(2 if version < 2 else 4)
        method = cursor.number(2) & 15 if version else 0
        cursor.number(2)
        base, extents = cursor.number(base_size), []
        for _ in range(cursor.number(2)):
            cursor.number(index_size if version else 0)
            offset = base + cursor.number(offset_size)
            extents.append((offset, cursor.number(length_size)))
        yield number, (tuple(extents) if method < 2 else (), method == 1)


def _item_properties(content: bytes) -> dict[int, tuple[tuple[bytes, bytes], ...]]:
    boxes = dict(_children(content))
    every = list(_children(boxes.get(b"ipco", b"")))
    found: dict[int, tuple[tuple[bytes, bytes], ...]] = {}
    for kind, associations in _children(content):
        if kind == b"ipma":
            for number, indexes in _associations(associations):
                found[number] = (*found.get(number, ()), *(every[index - 1] for index in indexes if 0 < index <= len(every)))
    return found


def _associations(content: bytes) -> Iterator[tuple[int, list[int]]]:
    cursor = _Cursor(content)
    flags = cursor.number(4)
    wide = flags & 1
    for _ in range(cursor.number(4)):
        number = cursor.number(4 if flags >> 24 else 2)
        indexes = (cursor.number(2 if wide else 1) for _ in range(cursor.number(1)))
        yield number, [index & (0x7FFF if wide else 0x7F) for index in indexes]


def _item_references(content: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    wide = 4 if content[:1] == b"\1" else 2
    for kind, entry in _children(content, 4):
        cursor = _Cursor(entry)
        source = cursor.number(wide)
        yield kind, source, tuple(cursor.number(wide) for _ in range(cursor.number(2)))


def _alternatives(content: bytes) -> Iterator[tuple[int, ...]]:
    for kind, entry in _children(content):
        if kind == b"altr" and len(entry) >= 12:
            count = min(struct.unpack_from(">I", entry, 8)[0], (len(entry) - 12) // 4)
            yield struct.unpack_from(f">{count}I", entry, 12)


def _read_movie(found: Structure, content: bytes) -> Structure:
    """The most samples that any track has, and the size of the first one that has one."""
    samples, size = 0, None
    for kind, track in _children(content):
        if kind == b"trak":
            samples = max(samples, _track_samples(track))
            size = size or _track_size(track)
    return Structure(found.brand, found.primary, found.items, found.references, found.alternatives, samples, size)


def _track_samples(track: bytes) -> int:
    table = _inside(track, b"mdia", b"minf", b"stbl", b"stsz")
    return int(struct.unpack_from(">I", table, 8)[0]) if len(table) >= 12 else 0


def _track_size(track: bytes) -> tuple[int, int] | None:
    header = _inside(track, b"tkhd")
    width, height = struct.unpack_from(">II", header, len(header) - 8) if len(header) >= 8 else (0, 0)
    return (width >> 16, height >> 16) if width >> 16 and height >> 16 else None


def _inside(content: bytes, *path: bytes) -> bytes:
    for kind in path:
        content = dict(_children(content)).get(kind, b"")
    return content


# --- wholeness --------------------------------------------------------------------------------------------------------------


def check(data: Bytes) -> None:
    """Every extent of every item lies within the file, and so do the samples of a sequence; what follows them is not asked.

    Where nothing says where the data lie, every box up to the data must be whole.
    """
    found = structure(data)
    extents = [extent for item in found.items.values() if not item.inside for extent in item.extents]
    for offset, length in extents:
        data.reaches(offset + length, _CUT_DATA)
    described = extents or any(item.inside for item in found.items.values())
    if not described or found.samples:
        _check_boxes(data)


def _check_boxes(data: Bytes) -> None:
    kinds: set[bytes] = set()
    for kind, start, end in _boxes(data):
        if {b"meta", b"mdat"} <= kinds or {b"moov", b"mdat"} <= kinds:
            return
        data.reaches(end, f"the box `{kind.decode('latin-1')}` goes on behind the end")
        kinds.add(kind)
        if kind == b"meta" and _holds_data(data.exactly(start, min(end - start, _MOST_META), _CUT_BOX)):
            kinds.add(b"mdat")
    if not kinds & {b"meta", b"moov"} or b"mdat" not in kinds:
        raise Cut(_NO_PICTURE)


def _holds_data(meta: bytes) -> bool:
    """Whether there is an `idat` box: small pictures live in `meta` itself."""
    return any(kind == b"idat" for kind, _ in _children(meta, 4))
