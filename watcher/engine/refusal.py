"""How the engine says no: the HTTP status, and words for the caller. Pure."""

from __future__ import annotations

import errno
from typing import Final

from watcher.errors import CANNOT_TELL, WatcherError


class Refusal(WatcherError):
    """A request or job that gets no result. `code` is the HTTP status; `retry_after` (seconds) asks the caller to wait.

    The message goes to the caller as it is: it names the cause, and never a secret, a query string or a path of this machine.
    """

    def __init__(self, code: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


def unsupported(words: str) -> Refusal:
    """422 for an image that is valid and of a kind that cannot be done: `words` say which, and what to do."""
    return Refusal(422, f"unsupported: {words}")


def unreadable(format_name: str) -> Refusal:
    """422 for an image in whose format a library knows its limits."""
    return unsupported(f"a kind of {format_name.upper()} that cannot be read here: save it anew with another program")


def corrupt(format_name: str) -> Refusal:
    """422 for an image whose bytes are damaged or not all there."""
    return Refusal(422, f"the image is corrupt or cut off ({format_name})")


DISK_TROUBLE: Final = 507
"""The code of a trouble of the engine's own: no fault of the image or of who asks, and it may pass."""
_OWN_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT})


def disk_trouble(error: OSError) -> Refusal | None:
    """What an error of the engine's own files, or the want of descriptors, means for the caller; None where it is neither."""
    if error.errno in CANNOT_TELL:
        return Refusal(DISK_TROUBLE, f"the engine has no descriptor or memory left: {error.strerror}", retry_after=2)
    if error.errno not in _OWN_DISK:
        return None
    return Refusal(DISK_TROUBLE, f"the engine cannot work with its own files: {error.strerror}", retry_after=30)


def unprocessable(message: str) -> Refusal:
    """422: the request is well formed, but cannot be done."""
    return Refusal(422, message)
