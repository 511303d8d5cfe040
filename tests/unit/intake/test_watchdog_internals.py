"""What is relied on of watchdog's insides. When one of these fails, watchdog has changed: see watchdog_internals.py."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import FileCreatedEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver, InotifyWatchGroup
from watchdog.observers.inotify_c import InotifyFD, Watch
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper, PathedInotifyEvent

from tests.support.kernel import descriptors_left
from watcher.intake import watchdog_internals
from watcher.intake.rename_halves import RenameHalves

CHANGED = "watchdog has changed its insides; adapt watcher/intake/watchdog_internals.py:"


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[InotifyObserver]:
    """An observer that watches `tmp_path`."""
    made = InotifyObserver()
    made.start()
    made.schedule(FileSystemEventHandler(), str(tmp_path), recursive=True, event_filter=[FileCreatedEvent])
    yield made
    made.stop()
    made.join(5)


def test_the_reader_and_its_flags_are_where_they_were(observer: InotifyObserver) -> None:
    """The thread that reads, whether it was closed, whether it reads, its descriptor, and how to close what it left."""
    reader = getattr(observer, "_inotify_fd", None)
    assert isinstance(reader, InotifyFD), f"{CHANGED} an observer has no `_inotify_fd`"
    assert isinstance(reader, threading.Thread), f"{CHANGED} the reader is no thread any more"
    for name, kind in {"_closed": bool, "_is_reading": bool, "_inotify_fd": int}.items():
        assert isinstance(getattr(reader, name, None), kind), f"{CHANGED} the reader has no `{name}` of type {kind.__name__}"
    assert callable(getattr(reader, "_close_resources", None)), f"{CHANGED} the reader has no `_close_resources`"


def test_the_patched_names_are_in_use(tmp_path: Path) -> None:
    """A patch of something that nobody looks at would do nothing, silently."""
    watchdog_internals.apply_patches()
    observer = InotifyObserver()
    observer.start()
    observer.schedule(FileSystemEventHandler(), str(tmp_path))
    (emitter,) = observer.emitters
    group = getattr(emitter, "_inotify", None)
    observer.stop()
    observer.join(5)
    assert isinstance(group, InotifyWatchGroup), f"{CHANGED} an emitter has no `_inotify`"
    grouper = getattr(group, "_move_event_grouper", None)
    assert isinstance(grouper, RenameHalves), f"{CHANGED} a root's events do not go through `_move_event_grouper`"
    assert "wd" in Watch.__dataclass_fields__, f"{CHANGED} a Watch has no `wd`"


def test_the_queue_that_is_replaced_has_no_other_methods() -> None:
    """One that watchdog calls and ours lacks would end its threads."""
    theirs = {name for name in vars(InotifyMoveEventGrouper) if not name.startswith("_")} - {"delay"}
    ours = {name for name in vars(RenameHalves) if not name.startswith("_")}
    assert theirs == ours, f"{CHANGED} InotifyMoveEventGrouper has other methods: {sorted(theirs ^ ours)}"
    assert {"ev", "path"} == set(PathedInotifyEvent._fields), f"{CHANGED} a PathedInotifyEvent has other fields"


def test_the_kernel_is_asked_what_it_watches(observer: InotifyObserver, tmp_path: Path) -> None:
    """The root is among the watched inodes, a directory elsewhere is not."""
    inodes = watchdog_internals.watched_inodes(observer)
    assert tmp_path.stat().st_ino in inodes
    assert tmp_path.parent.stat().st_ino not in inodes
    assert watchdog_internals.watches_left(os.fsencode(tmp_path))


def test_a_reader_that_ended_in_order_is_left_alone(tmp_path: Path) -> None:
    """It closed its descriptors; their numbers may be another file's by now."""
    observer = InotifyObserver()
    observer.start()
    observer.schedule(FileSystemEventHandler(), str(tmp_path))
    reader = watchdog_internals.reader_of(observer)
    number = reader._inotify_fd
    observer.stop()
    observer.join(5)
    reader.join(5)
    taken = os.open(tmp_path, os.O_RDONLY)
    os.dup2(taken, number)
    try:
        watchdog_internals.give_back(reader)
        assert os.fstat(number).st_ino == tmp_path.stat().st_ino, f"{CHANGED} a reader that has ended looks as if it had not"
    finally:
        os.close(number)
        if taken != number:
            os.close(taken)


@pytest.mark.parametrize("left", [1, 2])
def test_descriptors_that_run_out_in_the_middle_are_given_back(left: int) -> None:
    """The next try finds as many as this one."""
    watchdog_internals.apply_patches()
    before = len(os.listdir("/proc/self/fd"))
    with descriptors_left(left), pytest.raises(OSError, match="Too many open files"):
        InotifyObserver()
    assert len(os.listdir("/proc/self/fd")) == before, f"{CHANGED} a reader is made in another way"


def test_a_version_without_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog that lacks a class is an error that says what to install, not a traceback about a name."""
    monkeypatch.delattr("watchdog.observers.inotify_c.InotifyFD")
    monkeypatch.delitem(sys.modules, "watcher.intake.watchdog_internals")
    with pytest.raises(ImportError, match=r"watchdog 7\.\d+.* is not as compressor-watcher knows it .*install watchdog>=7\.1,<8"):
        importlib.import_module("watcher.intake.watchdog_internals")
