"""The audit file on the disk: appended to durably, whole lines only, through rotation, truncation and deletion.

Nothing here is asynchronous; the recorder calls it from a thread of its own. Every trouble of the disk is an OSError, and
leaves the file without a torn line as far as the disk allows; what it does not allow, the next `resume` repairs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from watcher.records.chain import ChainedLine, ChainEnd, compose, line_hash
from watcher.records.rotated import last_rotated_line, newest_is_unreadable, read_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from watcher.records.queries import NumberedEnding

MODE: Final = 0o640
"""Readable for the group: who audits is seldom who runs the service."""


class Disturbed(Exception):
    """The file at the path is not what we left there: rotated, truncated, deleted or written to by somebody else."""


class AuditFile:
    """The end of the audit file, held open. `place` is where the chain stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = ChainEnd(0, None)
        self._descriptor: int | None = None
        self._end = 0
        self._before_last = 0
        """The number of the last line before the newest append: what a compressor can be late for."""

    def resume(self) -> bool:
        """Open the file at the path (again), cut off what is torn, and set `place` to where the chain goes on.

        That may lie before where it stood: the lines behind it are lost and have to be written again. Or beyond it: they were
        written, but nobody had noted it. False where there is no trace of the last line: a new chain begins after it.
        """
        first_time = self._descriptor is None
        truncated = not first_time and not self._replaced()
        self.close()
        created = self._open()
        last, torn = self._cut_torn()
        if last is None:
            repair = torn or truncated or (first_time and not created)
            return self._go_on_after_rotation(repair=repair, torn=torn)
        self.place = last.place
        return True

    def append(self, endings: Sequence[NumberedEnding]) -> list[tuple[int, str | None]]:
        """Write the lines of those endings that come after `place`, durably; all of them or none.

        Gives the number and the `prev` of each line that was written.
        Raises Disturbed where the file is not what we left, OSError where the disk does not take them.
        """
        seq, hashed = self.place.seq, self.place.hash
        lines, links = [], []
        for ending in endings:
            if ending.seq > self.place.seq:
                line = compose(ending.record, ending.seq, hashed)
                lines.append(line + b"\n")
                links.append((ending.seq, hashed))
                seq, hashed = ending.seq, line_hash(line)
        if lines:
            self._write(b"".join(lines))
            self._before_last = self.place.seq
            self.place = ChainEnd(seq, hashed)
        return links

    def check(self) -> None:
        """Raises Disturbed where the file at the path is not what we left there."""
        if self._descriptor is None or self._replaced() or os.fstat(self._descriptor).st_size != self._end:
            raise Disturbed

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise Disturbed
        return self._descriptor

    def _open(self) -> bool:
        """True where there was no file."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            self._descriptor = os.open(self.path, flags | os.O_CREAT, MODE)
            os.fchmod(self._descriptor, MODE)
            _sync_directory(self.path.parent)
            return True
        return False

    def _write(self, data: bytes) -> None:
        self.check()
        descriptor = self._open_descriptor
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.fdatasync(descriptor)
        except OSError:
            self._undo(self._end)
            raise
        end = os.fstat(descriptor).st_size
        if end != self._end + len(data):
            # truncated by logrotate between the look and the write: lines before ours were lost and have to come first
            self._undo(max(0, end - len(data)))
            raise Disturbed
        self._end = end

    def _undo(self, end: int) -> None:
        """Take back what was written of lines that are not whole, or not in their place."""
        if os.fstat(self._open_descriptor).st_size > end:
            os.ftruncate(self._open_descriptor, end)

    def _replaced(self) -> bool:
        """Whether the path leads to another file, or to none."""
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        ours = os.fstat(self._open_descriptor)
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _cut_torn(self) -> tuple[ChainedLine | None, bool]:
        """Judge the end of the file, cut off what is to be written again; give the last line, and whether there was a cut."""
        descriptor = self._open_descriptor
        size = os.fstat(descriptor).st_size
        tail = read_end(descriptor, size, self.place.seq)
        if tail.keep < size:
            os.ftruncate(descriptor, tail.keep)
            os.fsync(descriptor)
        self._end = tail.keep
        return tail.last, tail.keep < size

    def _go_on_after_rotation(self, *, repair: bool, torn: bool) -> bool:
        """The file holds no line: the last one is in a rotated file, or gone.

        `repair`: what was after the last line of a rotated file is to be written again. `torn`: there was a line, so that
        without any rotated file everything is.
        """
        if self.place.hash is None:
            return True
        before = last_rotated_line(self.path)
        if before is not None and (repair or before.seq >= (self._before_last or self.place.seq)):
            self.place = before.place
            return True
        if newest_is_unreadable(self.path):
            return True  # the journal says where the chain stands
        if torn and before is None:
            self.place = ChainEnd(0, None)
            return True
        self.place = ChainEnd(self.place.seq, None)
        return False


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
