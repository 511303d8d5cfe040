"""`tail`: the audit file for people, as it grows."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from watcher.commands.printing import flush, note, write_bytes, write_text
from watcher.commands.terminal import terminal_look
from watcher.errors import Unavailable
from watcher.log.console import render
from watcher.records.chain import read_line
from watcher.records.place import is_file
from watcher.records.rotated import READ_ERRORS, audit_files, open_lines
from watcher.shown.links import stored_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from watcher.config.schema import Settings

TailForm = Literal["people", "json", "urls"]

POLL_SECONDS: Final = 0.2
_BLOCK: Final = 1 << 16


def tail_audit(settings: Settings, *, lines: int, form: TailForm, follow: bool) -> int:
    """Print the last lines, then those that come, across rotation, until Ctrl-C (or not, where `follow` is False)."""
    path = settings.audit_path
    if not is_file(path):
        note(f"there is no audit file at {path} yet" + (": waiting for the first ending" if follow else ""))
    show = {"json": write_bytes, "urls": _show_url}.get(form) or _shower(settings)
    follower = Follower(path)
    try:
        for data in follower.last(lines):
            show(data)
        flush()
        while follow:
            for data in follower.new():
                show(data)
                flush()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return 0
    finally:
        follower.close()
    return 0


class Follower:
    """Reads an audit file as it grows: whole lines (with their line feeds), each once, when it is rotated or truncated too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._offset = 0
        self._rest = b""
        self._seq = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def last(self, count: int) -> list[bytes]:
        """The last so many lines there are now, those of rotated files included; `new` goes on behind them."""
        kept: deque[bytes] = deque(self._read_end(count), maxlen=count)
        older = [each for each in audit_files(self._path) if each != self._path]
        while older and len(kept) < count:
            before = deque(_lines_of(older.pop()), maxlen=count - len(kept))
            kept.extendleft(reversed(before))
        return list(kept)

    def new(self) -> Iterator[bytes]:
        """The lines that came since the last call."""
        if self._descriptor is None and not self._open():
            return
        yield from self._read()
        if self._moved():
            # whoever wrote may have gone on between our last look and the rename
            yield from self._read()
            yield from self._missed()
            self.close()

    def _open(self) -> bool:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}", "run this as the daemon's user or as root") from None
        self._offset, self._rest = 0, b""
        return True

    def _read_end(self, count: int) -> list[bytes]:
        """Open the file, and give its last lines."""
        if not self._open() or self._descriptor is None:
            return []
        size = os.fstat(self._descriptor).st_size
        start, data = size, b""
        while start > 0 and data.count(b"\n") <= count:
            length = min(_BLOCK, start)
            start -= length
            data = os.pread(self._descriptor, length, start) + data
        lines = data.splitlines(keepends=True)
        self._offset = size
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if lines:
            self._note(lines[-1])
        return lines[-count:] if count else []

    def _read(self) -> Iterator[bytes]:
        if self._descriptor is None:
            return
        while data := os.pread(self._descriptor, _BLOCK, self._offset):
            self._offset += len(data)
            *whole, self._rest = (self._rest + data).split(b"\n")
            for each in whole:
                self._note(each)
                yield each + b"\n"

    def _note(self, data: bytes) -> None:
        if (line := read_line(data)) is not None:
            self._seq = max(self._seq, line.seq)

    def _moved(self) -> bool:
        """Whether the path leads to another file, or this one was cut."""
        if self._descriptor is None:
            return False
        ours = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino) or ours.st_size < self._offset

    def _missed(self) -> Iterator[bytes]:
        """Lines that went straight into rotated files: two rotations since the last look, or a copy that was truncated."""
        seen, missed = self._seq, []
        for file in reversed([each for each in audit_files(self._path) if each != self._path]):
            numbered = [(line.seq, data) for data in _lines_of(file) if (line := read_line(data)) is not None]
            missed.append([data for seq, data in numbered if seq > seen])
            if not numbered or numbered[0][0] <= seen:
                break
        for data in (each for lines in reversed(missed) for each in lines):
            self._note(data)
            yield data


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        with open_lines(path) as lines:
            yield from (data for data in lines if data.endswith(b"\n"))
    except READ_ERRORS as error:
        note(f"{path} cannot be read: {error}")


def _show_url(data: bytes) -> None:
    """Print where the output of a stored line lies: the `link` where the folder has one. Nothing for other lines."""
    line = read_line(data)
    if line is not None and (where := stored_address(line.record)):
        write_text(where + "\n")


def _shower(settings: Settings) -> Callable[[bytes], None]:
    """Prints a line of the file for people: when, how, which file, what it saved, where to or why not."""
    look = terminal_look(settings, sys.stdout, dated=True)

    def show(data: bytes) -> None:
        line = read_line(data)
        if line is not None:
            write_text(render(line.record, look) + "\n")

    return show
