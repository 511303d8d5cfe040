"""Watching: watchdog's observers turned into hints, and found out when they have gone deaf.

What watchdog 7.1 tells is never more than a hint. It loses events when the kernel's queue overflows, does not say when
directories went unwatched for want of watches, and a reader that died of an exception still says that it is alive. So a
handler only notes where to look; every sign of trouble ends in throwing the observer away, a new one, and a scan.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyObserver

from watcher.intake.files import OWN_PREFIX
from watcher.intake.pools import made_progress
from watcher.intake.watchdog_internals import apply_patches, give_back, reader_of, threads_of, watched_inodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from watchdog.observers.api import ObservedWatch

    from watcher.intake.hints import Hints

OBSERVERS: Final = 16
"""Each costs an inotify instance, of which a user has 128 by default; more folders than this share."""
EVENT_FILTER: Final[list[type[FileSystemEvent]]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]
"""The same for every watch, since a second filter for a directory replaces the first. Narrow: with opens in it, reading
directories fills the queue, and an overflow in a tree of 4,000 directories never ends."""
_JOIN_SECONDS: Final = 5.0


class ObserverFault(Enum):
    """Why an observer cannot be believed any more."""

    OVERFLOW = "overflow"
    """The kernel dropped events."""
    DIED = "died"
    """One of its threads ended."""
    DEAF = "deaf"
    """A canary was not heard."""


class Handler(FileSystemEventHandler):
    """Notes where to look; files of our own making are told apart. Runs in watchdog's threads: no I/O, never waits or raises."""

    def __init__(self, real_root: bytes, hints: Hints, own_heard: Callable[[bytes], None]) -> None:
        self._prefix = real_root + b"/"
        self._hints = hints
        self._own_heard = own_heard

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for every event that passed the filter."""
        path = os.fsencode(event.dest_path or event.src_path)
        if not path.startswith(self._prefix):
            return  # moved out of the folder, or the root itself
        relative = path[len(self._prefix) :]
        if event.is_directory:
            self._hints.tree(relative)
        elif relative.rpartition(b"/")[2].startswith(OWN_PREFIX):
            self._own_heard(relative)
        else:
            self._hints.file(relative)


@dataclass(frozen=True, slots=True)
class WatchedRoot:
    """A root that an observer watches."""

    real: bytes
    recursive: bool
    handler: Handler


@dataclass(eq=False, slots=True)
class ObserverSlot:
    """One observer and the roots it watches, by folder name.

    `scheduling` counts the roots that are being walked to be watched: a walk may hang, and keeps the observer locked then.
    """

    observer: InotifyObserver
    watched: dict[str, WatchedRoot] = field(default_factory=dict)
    scheduled: dict[str, ObservedWatch] = field(default_factory=dict)
    scheduling: int = 0
    retired: bool = False

    def is_alive(self) -> bool:
        """Whether all its threads run. watchdog's own answer leaves the reader out."""
        return all(thread.is_alive() for thread in threads_of(self.observer))


class Observers:
    """Hands roots to observers, and replaces observers. Its methods may be called from any thread.

    `arm`, `disarm` and `retire` block: `arm` walks the root's tree, the others wait for threads.
    `on_fault` is called from watchdog's threads, once for each observer.
    """

    def __init__(self, on_fault: Callable[[ObserverSlot, ObserverFault], None], limit: int = OBSERVERS) -> None:
        self._on_fault = on_fault
        self._limit = limit
        self._lock = threading.RLock()
        self._slots: list[ObserverSlot] = []
        self._listener = _FaultListener(self._overheard)

    def open(self) -> None:
        """Begin to listen to what watchdog logs and to threads that die."""
        apply_patches()
        self._listener.open()

    def close(self) -> None:
        """Listen no more. The observers are for `retire`."""
        self._listener.close()

    @property
    def slots(self) -> tuple[ObserverSlot, ...]:
        """The observers in use. Asked by the event loop, so without the lock: observers are started under it."""
        return tuple(self._slots)

    def arm(self, folder: str, root: WatchedRoot) -> ObserverSlot:
        """Watch a root. Raises OSError: no inotify instance (EMFILE) or watch (ENOSPC) left, or no such directory."""
        with self._lock:
            slot = self._roomiest()
            slot.watched[folder] = root
            slot.scheduling += 1
        try:
            path = os.fsdecode(root.real)
            watch = slot.observer.schedule(root.handler, path, recursive=root.recursive, event_filter=EVENT_FILTER)
        except BaseException:  # whatever went wrong, the folder is not watched
            with self._lock:
                slot.watched.pop(folder, None)
            raise
        finally:
            with self._lock:
                slot.scheduling -= 1
        with self._lock:
            slot.scheduled[folder] = watch
            too_late = slot.retired and slot not in self._slots
        if too_late:  # it was given up while the tree was walked
            self.retire(slot)
        return slot

    def disarm(self, folder: str) -> None:
        """Watch a root no more. Where watchdog's books are in disorder its observer is reported as dead."""
        with self._lock:
            slot = self._slot_of(folder)
            if slot is None:
                return
            del slot.watched[folder]
            watch = slot.scheduled.pop(folder, None)
            last = not slot.watched
        if last:
            self.retire(slot)
        elif watch is None:  # its tree is being walked still, and perhaps forever
            self._report(slot, ObserverFault.DIED)
        else:
            self._unschedule(slot, watch)

    def _unschedule(self, slot: ObserverSlot, watch: ObservedWatch) -> None:
        try:
            slot.observer.unschedule(watch)
        except Exception:  # noqa: BLE001 - watchdog raises whatever its books give (KeyError, OSError); the observer goes
            self._report(slot, ObserverFault.DIED)

    def retire(self, slot: ObserverSlot) -> None:
        """Stop an observer, in whatever state it is, and give its inotify instance back.

        One that is walking a tree is left to stop itself when the walk is over: it is locked until then.
        """
        with self._lock:
            slot.retired = True
            if slot in self._slots:
                self._slots.remove(slot)
            if slot.scheduling:
                return
        reader = reader_of(slot.observer)
        with suppress(Exception):  # watchdog in disorder raises anything; what matters is done below
            slot.observer.stop()
        slot.observer.join(_JOIN_SECONDS)
        made_progress()
        reader.join(_JOIN_SECONDS)
        made_progress()
        give_back(reader)

    def check(self) -> None:
        """Report the observers of which a thread has ended."""
        for slot in self.slots:
            if not slot.is_alive():
                self._report(slot, ObserverFault.DIED)

    def watches(self, folder: str) -> bool:
        """Whether an observer in use has the folder."""
        return self._slot_of(folder) is not None

    def distrust(self, folder: str) -> None:
        """The folder's observer does not hear everything."""
        slot = self._slot_of(folder)
        if slot is not None:
            self._report(slot, ObserverFault.DEAF)

    def unwatched(self, folder: str, inodes: Iterable[int]) -> set[int]:
        """Those of a folder's directories (inode numbers) that the kernel does not watch for us."""
        with self._lock:
            slot = self._slot_of(folder)
        return set() if slot is None else set(inodes) - watched_inodes(slot.observer)

    def _slot_of(self, folder: str) -> ObserverSlot | None:
        return next((slot for slot in self.slots if folder in slot.watched), None)

    def _roomiest(self) -> ObserverSlot:
        """One that has nothing to do, or a new one; where there may be no more, the one with the fewest roots."""
        for slot in self._slots:
            if not (slot.watched or slot.retired or slot.scheduling):
                return slot
        if len(self._slots) < self._limit:
            try:
                observer = InotifyObserver()
            except OSError:
                if not self._slots:
                    raise
            else:
                observer.start()
                self._slots.append(ObserverSlot(observer))
                return self._slots[-1]
        return min(self._slots, key=lambda slot: (slot.retired, slot.scheduling, len(slot.watched)))

    def _overheard(self, thread: threading.Thread, fault: ObserverFault) -> bool:
        """A thread logged an overflow or died. Whether it was one of ours."""
        for slot in self.slots:
            if thread in threads_of(slot.observer):
                self._report(slot, fault)
                return True
        return False

    def _report(self, slot: ObserverSlot, fault: ObserverFault) -> None:
        with self._lock:
            if slot.retired:
                return
            slot.retired = True
        self._on_fault(slot, fault)


class _FaultListener(logging.Handler):
    """Hears what watchdog does not tell its handlers: its warnings (an overflow), and threads that end by an exception."""

    def __init__(self, overheard: Callable[[threading.Thread, ObserverFault], bool]) -> None:
        super().__init__(logging.WARNING)
        self._overheard = overheard
        self._logger = logging.getLogger("watchdog.observers")
        self._before = (self._logger.level, self._logger.propagate)
        self._hook = threading.excepthook

    def open(self) -> None:
        self._before = (self._logger.level, self._logger.propagate)
        self._logger.setLevel(logging.WARNING)
        self._logger.propagate = False
        self._logger.addHandler(self)
        self._hook = threading.excepthook
        threading.excepthook = self._thread_died
        warnings.filterwarnings(
            "ignore", category=RuntimeWarning, module="watchdog"
        )  # where they are errors they end its threads

    def close(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]
        threading.excepthook = self._hook
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        if "overflowed" in record.getMessage():
            self._overheard(threading.current_thread(), ObserverFault.OVERFLOW)

    def _thread_died(self, arguments: threading.ExceptHookArgs) -> None:
        thread = arguments.thread
        if thread is None or not self._overheard(thread, ObserverFault.DIED):
            self._hook(arguments)


def watch_limit() -> int:
    """How many directories this user may watch: the smaller of the system's and the user namespace's limit."""
    limits = []
    for name in ("/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"):
        with suppress(OSError, ValueError), open(name, "rb") as text:
            limits.append(int(text.read()))
    return min(limits, default=0)
