"""How the engine says no: the HTTP status, and words for the caller. Pure."""

from __future__ import annotations

from watcher.errors import WatcherError


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


def corrupt(format_name: str) -> Refusal:
    """422 for an image whose bytes are damaged or not all there."""
    return Refusal(422, f"the image is corrupt or cut off ({format_name})")


def unprocessable(message: str) -> Refusal:
    """422: the request is well formed, but cannot be done."""
    return Refusal(422, message)
