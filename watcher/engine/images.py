"""The image work of one order: read the header, decide, render, encode, choose what is stored. Runs only in a worker process.

Where nothing but compression was asked, the output is never larger than the input: the input's own pixels are then stored,
its metadata taken out. What must be encoded anew all the same (to be turned upright, to be sRGB) tries lower qualities first,
and stays as it was meant (with its orientation and profile) where that does not help.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pyvips

from watcher.engine import rasters
from watcher.engine.encoding import LADDER, Encoding, can_be_lowered, encode, quality_of
from watcher.engine.formats import ACCEPTED
from watcher.engine.geometry import place
from watcher.engine.headers import check_limits, read_picture, reading
from watcher.engine.lossless import DamagedContainer, with_rights, without_metadata
from watcher.engine.refusal import Refusal, corrupt, unprocessable, unreadable, unsupported
from watcher.engine.rendering import render
from watcher.engine.rights import exif_block, read_rights
from watcher.engine.work import Outcome
from watcher.formats.containers import judge_bytes
from watcher.formats.formal_end import completed, with_full_window
from watcher.formats.sniffing import sniff, unreadable_kind
from watcher.formats.targets import article, target
from watcher.model import Format

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.engine.geometry import Placement
    from watcher.engine.headers import PictureHeader
    from watcher.engine.rights import Rights
    from watcher.engine.work import ImageOrder, Task

_MOST_SIDES: Final = {Format.WEBP: 16_383, Format.AVIF: 16_384, Format.JPEG: 65_500}
_CANNOT: Final = re.compile(
    r"unsupported|not supported|not configured|unimplemented|not implemented|excessive depth|exceeded", re.IGNORECASE
)


def process(task: Task) -> Outcome:
    """Do what the task asks. Raises Refusal for what cannot be done."""
    format_name = recognise(task.source)
    _complete(task.source)
    try:
        return _processed(task, format_name)
    except pyvips.Error as error:
        if not _is_mended(task.source, format_name):
            raise _refused(format_name, error) from None
    try:
        return _processed(task, format_name)
    except pyvips.Error as error:
        raise _refused(format_name, error) from None


def _processed(task: Task, format_name: str) -> Outcome:
    picture = read_picture(task.source, format_name, task.limits)
    placement = place(picture.width, picture.height, task.image.resize)
    made = placement.worked_on if picture.frames > 1 else (placement.crop_width, placement.crop_height)
    check_limits(*made, picture.frames, task.limits)
    encoding = _encoding(picture, task.image)
    content = _content(picture, placement, encoding)
    task.target.write_bytes(content)
    return Outcome(
        input_format=format_name,
        output_format=encoding.format,
        width=placement.crop_width,
        height=placement.crop_height,
        size=len(content),
        sha1=hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        input_width=picture.width,
        input_height=picture.height,
    )


def _is_mended(source: Path, format_name: str) -> bool:
    """Whether the file had a fault that browsers step over and libvips does not; it is gone then."""
    if format_name != "png":
        return False
    content = source.read_bytes()
    mended = with_full_window(content)
    source.write_bytes(mended)
    return mended != content


def _complete(source: Path) -> None:
    """Gives the file its formal end where nothing but that is missing: libraries and the taking out of metadata need it."""
    with reading(source) as data:
        verdict = judge_bytes(data)
    if verdict.format is not None and verdict.formal:
        source.write_bytes(completed(verdict.format, source.read_bytes()))


def _refused(format_name: str, error: pyvips.Error) -> Refusal:
    """What a library cannot do is not called damage."""
    if _CANNOT.search(f"{error.message} {error.detail}"):
        return unreadable(format_name)
    return corrupt(format_name)


def recognise(source: Path) -> str:
    """The format that the bytes show. Raises Refusal (422) for what is no image, or none of a kind that can be done."""
    with source.open("rb") as file:

        def read_at(offset: int, count: int) -> bytes:
            return os.pread(file.fileno(), count, offset)

        size = os.fstat(file.fileno()).st_size
        kind = sniff(read_at, size)
        words = kind.unsupported or (unreadable_kind(read_at, size, kind.format) if kind.format else "")
    if words:
        raise unsupported(words)
    if kind.format is None:
        raise unprocessable(f"the source is no image of an accepted format ({ACCEPTED})")
    return kind.format.value


def _encoding(picture: PictureHeader, order: ImageOrder) -> Encoding:
    stored = target(Format(picture.format), order.output.format, pictures=picture.frames, animated=picture.animated)
    if stored.problem:
        raise unsupported(stored.problem)
    format_name = stored.format.value
    return Encoding(
        format=format_name,
        compression=order.compression,
        quality=quality_of(format_name, order.compression),
        lossless=picture.lossless and format_name == picture.format and order.compression != "ultra",
        background=order.output.background,
        rights=picture.rights,
    )


def _content(picture: PictureHeader, placement: Placement, encoding: Encoding) -> bytes:
    changed = _is_changed(picture, placement)
    if picture.sequence:
        return _sequence(picture, changed=changed)
    most = _MOST_SIDES.get(Format(encoding.format))
    if most is not None and max(placement.crop_width, placement.crop_height) > most:
        if changed or encoding.format != picture.format:
            raise unprocessable(f"{article(Format(encoding.format))} holds at most {most} x {most} pixels here")
        return _as_it_is(picture)
    if encoding.format == "ico" and not changed:
        return rasters.repack_ico(picture.path)
    content = _encoded(picture, placement, encoding)
    if changed or encoding.format != picture.format:
        return content
    original = picture.path.read_bytes()
    if len(content) < len(original):
        return content
    if not _must_change(picture) and (kept := _kept(picture, original)) is not None:
        return kept
    content = _lowered(picture, placement, encoding, content, len(original))
    if len(content) <= len(original):
        return content
    kept = _kept(picture, original)  # as it was meant: with its orientation and profile
    return content if kept is None else kept


def _sequence(picture: PictureHeader, *, changed: bool) -> bytes:
    """An animation that can only stay as it is, so that no frame of it is lost."""
    if changed:
        raise unsupported(f"an animated {picture.format.upper()} cannot be resized; GIF and WebP can")
    return _as_it_is(picture)


def _as_it_is(picture: PictureHeader) -> bytes:
    kept = _kept(picture, picture.path.read_bytes())
    if kept is None:
        raise corrupt(picture.format)
    return kept


def _is_changed(picture: PictureHeader, placement: Placement) -> bool:
    return (placement.crop_width, placement.crop_height) != (picture.width, picture.height)


def _must_change(picture: PictureHeader) -> bool:
    """Whether the pixels need their orientation or profile to be looked at as they are meant."""
    return picture.foreign_colours or any(
        each != 1 for each in (picture.orientation, *(page.orientation for page in picture.pages))
    )


def _encoded(picture: PictureHeader, placement: Placement, encoding: Encoding) -> bytes:
    return encode(render(picture, placement), encoding)


def _kept(picture: PictureHeader, original: bytes) -> bytes | None:
    """The input's own pixels without metadata, orientation and profile kept; None where they cannot be freed of metadata."""
    try:
        stripped = without_metadata(picture.format, original, exif_block(picture.rights, picture.orientation))
    except DamagedContainer:
        return None
    if stripped is None and not picture.metadata:
        return original
    if stripped is not None and picture.format == "gif":
        return with_rights("gif", stripped, picture.rights)
    if stripped is not None and picture.format == "tiff" and (lost := _beyond(picture.rights, read_rights(stripped))):
        return with_rights("tiff", stripped, lost)
    return stripped


def _beyond(rights: Rights, kept: Rights) -> Rights:
    """What of author and notice stood only where it was taken out."""
    return tuple(each for each in rights if each[0] not in dict(kept))


def _lowered(picture: PictureHeader, placement: Placement, encoding: Encoding, content: bytes, limit: int) -> bytes:
    """The first quality at which the output is no larger than `limit` bytes, else the smallest found."""
    if not can_be_lowered(encoding):
        return content
    for factor in LADDER:
        if len(content) <= limit:
            break
        lower = replace(encoding, quality=round(encoding.quality * factor))
        content = min(content, _encoded(picture, placement, lower), key=len)
    return content
