"""Looks at files from a child process: with another user's rights, and given up where a disk or share hangs.

A thread would not do: a change of rights waits for all threads of its process, and one that hangs would never follow.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from watcher.commands.checks.identity import acting_as
from watcher.errors import NotAnswering

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    Moved = Callable[[object], None]
    """Called by the work with what it looks at next."""

T = TypeVar("T")

PATIENCE_SECONDS: Final = 3.0
"""A look that makes no progress for so long is given up."""
_SAID_EVERY_SECONDS: Final = 0.2
_END_TRIES: Final = 40


class ChildLook(Generic[T]):
    """One look, begun when this is made. `first`: what it begins with, for people."""

    def __init__(self, first: object, work: Callable[[Moved], T], user: pwd.struct_passwd | None = None) -> None:
        self._at = str(first)
        self._here, there = Pipe(duplex=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of ours hold no lock: they hang in a system call
            self._pid = os.fork()
        if not self._pid:
            _in_child(there, work, user)
        there.close()

    def result(self, patience: float = PATIENCE_SECONDS) -> T:
        """What came of it. Raises NotAnswering where it makes no progress, and what the work raised."""
        try:
            while self._here.poll(patience):
                kind, value = self._here.recv()
                if kind == "result":
                    return value  # type: ignore[no-any-return]
                if kind == "error":
                    raise value
                self._at = value
        except EOFError:
            raise NotAnswering(f"the look at {self._at} broke off", "try again; where it stays so, report it") from None
        finally:
            self._end()
        raise NotAnswering.of(self._at)

    def _end(self) -> None:
        """Let the child go. One that hangs so that not even SIGKILL ends it now is not waited for."""
        self._here.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            for _ in range(_END_TRIES):
                if os.waitpid(self._pid, os.WNOHANG)[0]:
                    return
                time.sleep(0.005)


def _in_child(pipe: Connection, work: Callable[[Moved], Any], user: pwd.struct_passwd | None) -> None:
    said_at = float("-inf")

    def moved(at: object) -> None:
        nonlocal said_at
        if time.monotonic() - said_at > _SAID_EVERY_SECONDS:
            said_at = time.monotonic()
            pipe.send(("at", str(at)))

    try:
        with acting_as(user):
            answer = ("result", work(moved))
        pipe.send(answer)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the parent
        with suppress(Exception):  # the parent is gone, or cannot be sent this error: it hears of an end without a word
            pipe.send(("error", error))
    finally:
        os._exit(0)
