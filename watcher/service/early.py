"""The first and the last moments of the process. Imports as little as possible.

First: standard streams that nobody opened, names in UTF-8 whatever the locale, signals before anybody can deal with them.
Last: an exit that waits for no thread that hangs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Self

seen: Final[set[int]] = set()
"""Signals that came before the daemon could answer them."""

_PATIENCE_SECONDS: Final = 1.0
"""For threads that are about to end."""


def require_linux(platform: str = sys.platform) -> None:
    """End with one sentence on other systems, before something that only Linux has breaks in a traceback."""
    if platform != "linux":
        sys.exit(
            f"compressor-watcher needs Linux (inotify, leases, /proc); this is {platform}. "
            "Run it in a Linux machine or container; folders of other systems reach it as shares (docs/howto/nas.md)."
        )


def open_standard_streams() -> None:
    """Lead what was closed by who started us to /dev/null: else a journal or a socket gets the number that is written to."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


def insist_on_utf_8() -> None:
    """Start anew in UTF-8 mode where the environment would have file names, and so the keys of objects, read in another way."""
    if sys.getfilesystemencoding().lower() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606 - ourselves


def catch_signals() -> None:
    """Until the daemon catches them itself: a reload is remembered, a request to stop ends the process in order."""

    def remember(number: int, _: FrameType | None) -> None:
        seen.add(number)

    def stop(*_: object) -> None:
        sys.exit(0)

    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, remember)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


class Loading:
    """A context in which modules are loaded, a fifth faster: without what nobody needs, and without looking for garbage.

    What is loaded stays: the collector neither looks at it again and again meanwhile nor ever after.
    """

    def __enter__(self) -> Self:
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # httpx's own command, with all of pygments
        gc.disable()
        return self

    def __exit__(self, *_: object) -> None:
        gc.freeze()
        gc.enable()


def leave(work: Callable[[], None]) -> None:
    """Do the work and end the process with its status, whatever threads hang."""
    status: int | str | None = 0
    try:
        work()
    except SystemExit as leaving:
        status = leaving.code if leaving.code is None or isinstance(leaving.code, int) else 1
    if _threads_hang():
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(int(status or 0))
    gc.freeze()  # the interpreter would look through everything once more, for a quarter of what a start costs
    sys.exit(status)


def _threads_hang() -> bool:
    """Whether the interpreter would wait for threads at its end, and longer than a moment."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    others = [each for each in threading.enumerate() if each is not threading.current_thread() and not each.daemon]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    return any(thread.is_alive() for thread in others)
