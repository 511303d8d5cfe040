"""The errors everybody speaks. Each says what happened and, as `hint`, what to do about it.

WatcherError
|-- ConfigurationError   the configuration is refused whole; holds every problem (exit 78)
|-- Unavailable          something this process needs is not available: port, state, right (exit 69)
|   |-- NotAnswering     a disk or share on which calls hang
|   |-- Away             a server that may be there again in a while
|   `-- Fenced           another host has the work in hand by now
|-- CalledOff            somebody said stop while the daemon was still waiting for what it needs
|-- CallFailed           the Compressor API did not give a result; holds a classified Failure
|-- Paused               somebody paused the folder
|-- SourceChanged        the file is no longer the version that was taken
`-- SourceGone           the file is no longer there
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.model import Failure

CANNOT_TELL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of a call on a file that say nothing of the file: this process, or the machine, has nothing left to ask with."""


NO_DESCRIPTOR: Final = "this process has too few descriptors or too little memory: raise LimitNOFILE= of the service (ulimit -n)"


def reason_of(error: OSError) -> str:
    """The system's words for why a file cannot be had, and what to do where the file is not to blame."""
    words = error.strerror or str(error)
    return f"{words} ({NO_DESCRIPTOR})" if error.errno in CANNOT_TELL else words


class WatcherError(Exception):
    """The root of all our own errors."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigurationError(WatcherError):
    """The configuration cannot be used. `problems` lists every one as "place: what is wrong"; no value of a secret is in them."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Unavailable(WatcherError):
    """A port, the state folder or a right that this process needs is not available."""


class NotAnswering(Unavailable):
    """Calls on a folder's disk or share do not come back. What is asked for waits until they do."""

    @classmethod
    def of(cls, what: object) -> NotAnswering:
        """The error of a path on which calls hang, with what to do."""
        return cls(f"{what} does not answer", "its disk or share hangs: see to it, or unmount it (umount -f, umount -l)")


class Away(Unavailable):
    """A server cannot be reached, or takes nothing now. The same may go well in a while, with nothing changed here."""


class Fenced(Unavailable):
    """This host lost its lease or never had the image: another one may be at work on it, and what this turn found out is void."""


class CalledOff(WatcherError):
    """The daemon was told to stop before it was up."""


class CallFailed(WatcherError):
    """A call of the Compressor API ended without a result; `failure` says of which class it is."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message, failure.hint)


class Paused(WatcherError):
    """The folder is paused: nothing of it is sent until somebody resumes it."""


class SourceChanged(WatcherError):
    """The file at the path is another version than the one that was taken."""


class SourceGone(WatcherError):
    """There is no regular file at the path any more."""
