"""GIF (GIF89a appendix A): wholeness and size. Pure."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.formats.bounded_reading import Bytes, Cut, NoFormalEnd
from watcher.formats.gif_ground import ground

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_TRAILER: Final = "the trailer is missing"
_DAMAGED: Final = "its blocks are damaged"
_TRAILER, _IMAGE, _EXTENSION, _PADDING = 0x3B, 0x2C, 0x21, 0x00
_GRAPHIC_CONTROL: Final = 0xF9
_COMMENT, _APPLICATION = 0xFE, 0xFF
_NEEDED: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
"""Programs whose blocks say how often to repeat, and which colours are meant."""
_XMP: Final = b"\x21\xff\x0bXMP DataXMP"
_XMP_CLOSING: Final = 258
_ROOM: Final = b"\1\0"


def check(data: Bytes) -> None:
    """Raises Cut where the blocks do not reach a trailer; NoFormalEnd where they end behind a whole picture."""
    _, missing = end_of_pictures(data)
    if missing:
        raise NoFormalEnd(missing)


def end_of_pictures(data: Bytes) -> tuple[int, str]:
    """Where the trailer is, or belongs, and why it is not there ("": it is). Raises Cut where pictures are missing."""
    position = _behind_color_table(data, 13, data.number(10, 1, _NO_TRAILER, "<"))
    pictures, announced = 0, False
    while True:
        header = data.some(position, 2)
        kind = header[0] if header else -1
        if kind == _TRAILER:
            return position, ""
        if kind == _PADDING:  # some encoders pad between blocks, and decoders step over it
            position += 1
            continue
        if kind not in (_IMAGE, _EXTENSION):
            reason = _NO_TRAILER if kind < 0 else _DAMAGED
            if announced or not pictures:
                raise Cut(reason)
            return position, reason
        position = _behind_blocks(data, _behind_picture_header(data, position) if kind == _IMAGE else position + 2)
        pictures += kind == _IMAGE
        announced = kind == _EXTENSION and (announced or header[1:2] == bytes([_GRAPHIC_CONTROL]))


def size(data: Bytes) -> tuple[int, int]:
    """Width and height of the screen that the frames are drawn on: large enough for the first frame, whatever is said of it."""
    width, height = struct.unpack("<HH", data.exactly(6, 4, "cut"))
    with suppress(Cut):
        left, top, across, down = _box(data, _first_frame(data))
        return max(width, left + across), max(height, top + down)
    return width, height


def _first_frame(data: Bytes) -> int:
    """Where the header of the first frame is. Raises Cut where there is none."""
    position = _behind_screen(data)
    while (kind := data.number(position, 1, _NO_TRAILER, "<")) != _IMAGE:
        if kind not in (_EXTENSION, _PADDING):
            raise Cut(_DAMAGED)
        position = _behind_blocks(data, position + 2) if kind == _EXTENSION else position + 1
    return position


def _box(data: Bytes, frame: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of the frame at this position."""
    left, top, width, height = struct.unpack("<HHHH", data.exactly(frame + 1, 8, _NO_TRAILER))
    return left, top, width, height


def _behind_picture_header(data: Bytes, position: int) -> int:
    return _behind_color_table(data, position + 10, data.number(position + 9, 1, _NO_TRAILER, "<")) + 1


def _behind_blocks(data: Bytes, position: int) -> int:
    while length := data.number(position, 1, _NO_TRAILER, "<"):
        position += 1 + length
    return position + 1


def _behind_color_table(data: Bytes, position: int, flags: int) -> int:
    end = position + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    data.reaches(end, _NO_TRAILER)
    return end


def comments(data: Bytes) -> list[bytes]:
    """The texts of the comment blocks before the first picture."""
    found: list[bytes] = []
    position = _behind_color_table(data, 13, data.number(10, 1, _NO_TRAILER, "<"))
    while (header := data.some(position, 2))[:1] == bytes([_EXTENSION]):
        end = _behind_blocks(data, position + 2)
        if header[1:] == bytes([_COMMENT]):
            found.append(_joined(data, position + 2))
        position = end
    return found


def xmp(data: Bytes) -> bytes:
    """The XMP packet that stands in the file as it is, before a row of bytes that closes it; empty where there is none."""
    with suppress(Cut):
        for kind, start, end in _blocks(data):
            if kind == _EXTENSION and data.some(start, len(_XMP)) == _XMP:
                return data.some(start + len(_XMP), max(end - start - len(_XMP) - _XMP_CLOSING, 0))
    return b""


def without_metadata(content: bytes) -> bytes:
    """Without comments, metadata of programs and what stands behind the trailer. Raises Cut where the blocks are damaged."""
    data = Bytes(lambda offset, size: content[offset : offset + size], len(content))
    kept, done = [content[: _behind_screen(data)]], _behind_screen(data)
    for kind, start, end in _blocks(data):
        label, program = content[start + 1], content[start + 3 : start + 14]
        if kind != _EXTENSION or (label != _COMMENT and (label != _APPLICATION or program in _NEEDED)):
            kept.append(content[start:end])
        done = end
    if content[done : done + 1] != bytes([_TRAILER]):
        raise Cut(_NO_TRAILER)
    return b"".join([*kept, bytes([_TRAILER])])


def _joined(data: Bytes, position: int) -> bytes:
    text = b""
    while length := data.number(position, 1, _NO_TRAILER, "<"):
        text += data.exactly(position + 1, length, _NO_TRAILER)
        position += 1 + length
    return text


@dataclass(frozen=True, slots=True)
class Readable:
    """A GIF as strict readers take it, and how many frames in front are none of its own."""

    content: bytes
    grounds: int = 0


def readable(content: bytes) -> Readable:
    """Without padding between blocks, with two bytes more behind the codes of each picture, and on a ground where one is needed.

    A reader that looks ahead loses the last pixels of pictures whose codes do not end in the code that says so.
    """
    data = Bytes(lambda offset, size: content[offset : offset + size], len(content))
    kept: list[bytes] = []
    done, grounded = 0, b""
    with suppress(Cut):
        for kind, start, end in _blocks(data):
            if kind == _IMAGE and not any(part.startswith(b",") for part in kept):
                screen = size(data)
                grounded = _ground(screen, _box(data, start))
                kept.insert(0, content[:6] + struct.pack("<HH", *screen) + content[10 : _behind_screen(data)] + grounded)
            kept += _rewritten(content, kind, start, end)
            done = end
    if not any(part.startswith(b",") for part in kept):
        return Readable(content)
    return Readable(b"".join([*kept, content[done:]]), grounds=int(bool(grounded)))


def _rewritten(content: bytes, kind: int, start: int, end: int) -> list[bytes]:
    if kind == _PADDING:
        return []
    return [content[start : end - 1], _ROOM, content[end - 1 : end]] if kind == _IMAGE else [content[start:end]]


def _behind_screen(data: Bytes) -> int:
    return _behind_color_table(data, 13, data.number(10, 1, _NO_TRAILER, "<"))


def _ground(screen: tuple[int, int], frame: tuple[int, int, int, int]) -> bytes:
    """What the first frame does not cover of the screen, as a frame; nothing where it covers all."""
    left, top, width, height = frame
    covered = not left and not top and width >= screen[0] and height >= screen[1]
    return b"" if covered or not all(screen) else ground(*screen)


def _blocks(data: Bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of every block, up to the trailer or to what is no block."""
    position = _behind_screen(data)
    while (kind := data.number(position, 1, _NO_TRAILER, "<")) in (_IMAGE, _EXTENSION, _PADDING):
        end = position + 1
        if kind != _PADDING:
            end = _behind_blocks(data, _behind_picture_header(data, position) if kind == _IMAGE else position + 2)
        yield kind, position, end
        position = end
