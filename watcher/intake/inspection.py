"""One look at a file: may it be taken, and is it whole? What follows from it is for `settle`. Blocks."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watcher.config.rules import PARTNER_SUFFIXES
from watcher.errors import CANNOT_TELL
from watcher.formats.containers import judge
from watcher.intake.files import GONE, NotThere, first_hole, followed, open_expected, reader_of, writers_of
from watcher.intake.settle import Inspection, NotYet, Writers
from watcher.model import IgnoredReason, Observation

if TYPE_CHECKING:
    from watcher.formats.containers import ContainerFacts
    from watcher.intake.roots import Place


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """Not for us, whatever it holds: no regular file, a link that leads nowhere good, or not readable.

    `lasting` is False where the reason may pass without a change of the file (an I/O error): nothing is remembered then.
    """

    observation: Observation
    reason: IgnoredReason
    message: str = ""
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Inspector:
    """How a file is looked at. `place`: what it lies on. `leases`: a lease can be believed there. `before`: what the last look
    left. `still`: that version, if it is still there, has stood long enough to be read although writers cannot be seen."""

    place: Place
    leases: bool
    before: NotYet | None = None
    still: bool = False


def inspect_file(real_root: bytes, relative: bytes, inspector: Inspector) -> Inspection | Unsuitable | None:
    """One look at a file, for `settle`; None where nothing is there (any more).

    Raises OSError where this process has nothing left to look with.
    """
    path = real_root + b"/" + relative
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return _inspect_link(real_root, path, status, inspector)
        return _inspect_regular(path, status, inspector)
    except NotThere:
        return None
    except OSError as error:
        if error.errno in CANNOT_TELL:
            raise
        return _unreadable(path, inspector.place, error)


def _inspect_link(real_root: bytes, path: bytes, status: os.stat_result, inspector: Inspector) -> Inspection | Unsuitable | None:
    link = inspector.place.observe(status)
    try:
        path, _ = followed(real_root, path)
        target = os.lstat(path)
    except NotThere:
        return Unsuitable(link, IgnoredReason.SYMLINK_OUTSIDE)
    except FileNotFoundError:
        return Unsuitable(link, IgnoredReason.SYMLINK_BROKEN)
    if stat.S_ISLNK(target.st_mode):
        return Unsuitable(link, IgnoredReason.SYMLINK_BROKEN)  # it leads to itself
    return _inspect_regular(path, target, inspector)


def _inspect_regular(path: bytes, status: os.stat_result, inspector: Inspector) -> Inspection | Unsuitable:
    seen = inspector.place.observe(status)
    if not stat.S_ISREG(status.st_mode):
        return Unsuitable(seen, IgnoredReason.NOT_REGULAR)
    if status.st_size == 0:
        return Inspection(seen, Writers.UNKNOWN)
    if not inspector.leases and not (inspector.still and inspector.before is not None and inspector.before.observation == seen):
        return Inspection(seen, Writers.UNKNOWN)  # shares are not to be bothered with opens before the file stands still
    descriptor, opened = open_expected(path)
    try:
        return _inspect_content(descriptor, opened, path, inspector)
    finally:
        os.close(descriptor)


def _inspect_content(descriptor: int, opened: os.stat_result, path: bytes, inspector: Inspector) -> Inspection:
    observation = inspector.place.observe(opened)
    writers = writers_of(descriptor, opened, inspector.place) if inspector.leases else Writers.UNKNOWN
    before = inspector.before if inspector.before is not None and inspector.before.observation == observation else None
    if writers is Writers.SOME or (writers is Writers.UNKNOWN and not (before is not None and inspector.still)):
        return Inspection(observation, writers)
    verdict = before.verdict if before is not None else None
    if verdict is None:
        verdict = judge(reader_of(descriptor), observation.size)
    if inspector.place.observe(os.fstat(descriptor)) != observation:
        return Inspection(observation, Writers.SOME)
    return Inspection(observation, writers, verdict, _unfinished(descriptor, path, observation.size, verdict))


def _unfinished(descriptor: int, path: bytes, size: int, verdict: ContainerFacts) -> str:
    """What speaks against a file that has all its pixels: the sign of a download that has not ended. Empty where nothing does."""
    if not verdict.has_pixels:
        return ""
    for suffix in PARTNER_SUFFIXES:
        if os.path.lexists(path + suffix.encode()):
            name = os.fsdecode(os.path.basename(path)) + suffix
            return f"{name} lies beside it: its download has not ended"
    if (hole := first_hole(descriptor, size)) is not None:
        return f"from byte {hole} on it has a part that was never written: its download has not ended"
    return ""


def _unreadable(path: bytes, place: Place, error: OSError) -> Unsuitable | None:
    if error.errno in GONE:
        return None
    rights = error.errno in (errno.EACCES, errno.EPERM)
    return _unsuitable(path, place, error.strerror or str(error), lasting=rights)


def uninspected(real_root: bytes, relative: bytes, place: Place, message: str) -> Unsuitable | None:
    """For a file that cannot be looked at for another reason than its own; None where it is not there."""
    return _unsuitable(real_root + b"/" + relative, place, message, lasting=False)


def _unsuitable(path: bytes, place: Place, message: str, *, lasting: bool) -> Unsuitable | None:
    try:
        observation = place.observe(os.lstat(path))
    except OSError:
        return None  # what cannot even be asked about is found again by the next scan
    return Unsuitable(observation, IgnoredReason.UNREADABLE, message, lasting=lasting)
