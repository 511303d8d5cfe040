"""Watching: watchdog's observers turned into hints, and found out when they have gone deaf.

What watchdog 7.1 tells is never more than a hint. It loses events when the kernel's queue overflows, does not say when
directories went unwatched for want of watches, and a reader that died of an exception still says that it is alive. So a
handler only notes where to look; every sign of trouble ends in throwing the observer away, a new one, and a scan.
"""

from __future__ import annotations

import ctypes
import errno
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
from watchdog.observers.inotify_c import InotifyFD, Watch, inotify_add_watch, inotify_init
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from watcher.intake.durable import OWN_PREFIX
from watcher.intake.pools import made_progress

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
_PAIRING_SECONDS: Final = 0.02

# A file moved out of a folder (our own on_success does it) would hold up everything behind it for half a second while its
# other half is waited for. Both halves of a rename are written to the queue at once and are read together.
InotifyMoveEventGrouper.delay = _PAIRING_SECONDS


def _short_name(watch: object) -> str:
    return f"<Watch {watch.wd}>" if isinstance(watch, Watch) else object.__repr__(watch)


# A directory that is watched twice is worth a warning to watchdog, into which it writes all its watches: hundreds of kilobytes,
# thousands of times where a tree is moved, and an error where another thread changes them meanwhile.
Watch.__repr__ = _short_name  # type: ignore[method-assign]


class Trouble(Enum):
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
class Watched:
    """A root that an observer watches."""

    real_root: bytes
    recursive: bool
    handler: Handler


@dataclass(eq=False, slots=True)
class ObserverSlot:
    """One observer and the roots it watches, by folder name."""

    observer: InotifyObserver
    watched: dict[str, Watched] = field(default_factory=dict)
    scheduled: dict[str, ObservedWatch] = field(default_factory=dict)
    retired: bool = False

    def threads(self) -> Iterable[threading.Thread]:
        """The dispatcher, the reader of the inotify descriptor, and one emitter for each root."""
        return (self.observer, self.observer._inotify_fd, *self.observer.emitters)  # noqa: SLF001 - the reader has no public name

    def is_alive(self) -> bool:
        """Whether all its threads run. watchdog's own answer leaves the reader out."""
        return all(thread.is_alive() for thread in self.threads())


class Observers:
    """Hands roots to observers, and replaces observers. Its methods block; one thread at a time may call them.

    `on_trouble` is called from watchdog's threads, once for each observer.
    """

    def __init__(self, on_trouble: Callable[[ObserverSlot, Trouble], None], limit: int = OBSERVERS) -> None:
        self._on_trouble = on_trouble
        self._limit = limit
        self._posts: list[ObserverSlot] = []
        self._ears = _DirectoryReader(self._overheard)

    def open(self) -> None:
        """Begin to listen to what watchdog logs and to threads that die."""
        self._ears.open()

    def close(self) -> None:
        """Stop all observers."""
        for post in list(self._posts):
            self.retire(post)
        self._ears.close()

    @property
    def posts(self) -> tuple[ObserverSlot, ...]:
        """The observers in use."""
        return tuple(self._posts)

    def arm(self, folder: str, watched: Watched) -> ObserverSlot:
        """Watch a root. Raises OSError: no inotify instance (EMFILE) or watch (ENOSPC) left, or no such directory."""
        post = self._roomiest()
        path = os.fsdecode(watched.real_root)
        post.scheduled[folder] = post.observer.schedule(
            watched.handler, path, recursive=watched.recursive, event_filter=EVENT_FILTER
        )
        post.watched[folder] = watched
        return post

    def disarm(self, folder: str) -> None:
        """Watch a root no more. Where watchdog's books are in disorder its observer is reported as dead."""
        post = next((each for each in self._posts if folder in each.watched), None)
        if post is None:
            return
        del post.watched[folder]
        watch = post.scheduled.pop(folder)
        if not post.watched:
            self.retire(post)
            return
        try:
            post.observer.unschedule(watch)
        except Exception:  # noqa: BLE001 - watchdog raises whatever its books give (KeyError, OSError); the observer goes
            self._report(post, Trouble.DIED)

    def retire(self, post: ObserverSlot) -> None:
        """Stop an observer, in whatever state it is, and give its inotify instance back."""
        post.retired = True
        if post in self._posts:
            self._posts.remove(post)
        reader = post.observer._inotify_fd  # noqa: SLF001 - the reader has no public name
        with suppress(Exception):  # watchdog in disorder raises anything; what matters is done below
            post.observer.stop()
        post.observer.join(_JOIN_SECONDS)
        made_progress()
        reader.join(_JOIN_SECONDS)
        made_progress()
        if not reader.is_alive() and not _has_closed(reader):
            reader._close_resources()  # noqa: SLF001 - a reader that died leaves the instance open

    def check(self) -> None:
        """Report the observers of which a thread has ended."""
        for post in tuple(self._posts):
            if not post.is_alive():
                self._report(post, Trouble.DIED)

    def watches(self, folder: str) -> bool:
        """Whether an observer in use has the folder."""
        return any(folder in post.watched for post in tuple(self._posts))

    def distrust(self, folder: str) -> None:
        """The folder's observer does not hear everything."""
        for post in tuple(self._posts):
            if folder in post.watched:
                self._report(post, Trouble.DEAF)

    def unwatched(self, folder: str, inodes: Iterable[int]) -> set[int]:
        """Those of a folder's directories (inode numbers) that the kernel does not watch for us."""
        post = next((each for each in self._posts if folder in each.watched), None)
        if post is None:
            return set()
        return set(inodes) - watched_inodes(post.observer._inotify_fd._inotify_fd)  # noqa: SLF001 - no public name

    def _roomiest(self) -> ObserverSlot:
        if len(self._posts) < self._limit:
            try:
                observer = InotifyObserver()
            except OSError:
                if not self._posts:
                    raise
            else:
                observer.start()
                self._posts.append(ObserverSlot(observer))
                return self._posts[-1]
        return min(self._posts, key=lambda post: (post.retired, len(post.watched)))

    def _overheard(self, thread: threading.Thread, trouble: Trouble) -> bool:
        """A thread logged an overflow or died. Whether it was one of ours."""
        for post in list(self._posts):
            if thread in post.threads():
                self._report(post, trouble)
                return True
        return False

    def _report(self, post: ObserverSlot, trouble: Trouble) -> None:
        if not post.retired:
            post.retired = True
            self._on_trouble(post, trouble)


class _DirectoryReader(logging.Handler):
    """Hears what watchdog does not tell its handlers: its warnings (an overflow), and threads that end by an exception."""

    def __init__(self, overheard: Callable[[threading.Thread, Trouble], bool]) -> None:
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
            self._overheard(threading.current_thread(), Trouble.OVERFLOW)

    def _thread_died(self, arguments: threading.ExceptHookArgs) -> None:
        thread = arguments.thread
        if thread is None or not self._overheard(thread, Trouble.DIED):
            self._hook(arguments)


def watched_inodes(descriptor: int) -> set[int]:
    """The inodes that an inotify descriptor of this process watches (proc_pid_fdinfo(5))."""
    inodes = set()
    with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
        for line in lines:
            if line.startswith(b"inotify "):
                inodes.add(int(line.split(b"ino:", 1)[1].split(b" ", 1)[0], 16))
    return inodes


def _has_closed(reader: InotifyFD) -> bool:
    """Whether a reader whose thread has ended gave its descriptors back: it does so after `close`, when it does not read.

    Their numbers tell nothing: another thread may have been given them since, and would lose its file to a second close.
    """
    return reader._closed and not reader._is_reading  # noqa: SLF001 - no public names


def watches_left(path: bytes) -> bool:
    """Whether one more directory could be watched now: asked of the kernel, since the count of other programs cannot be seen."""
    descriptor = inotify_init()
    if descriptor < 0:
        return False
    try:
        return inotify_add_watch(descriptor, path, 0x00000100) >= 0 or ctypes.get_errno() != errno.ENOSPC
    finally:
        os.close(descriptor)


def watch_limit() -> int:
    """How many directories this user may watch: the smaller of the system's and the user namespace's limit."""
    limits = []
    for name in ("/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"):
        with suppress(OSError, ValueError), open(name, "rb") as text:
            limits.append(int(text.read()))
    return min(limits, default=0)
