"""How a message gets to a receiver: the Protocol of the ways there are, and what they raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from watcher.notify.messages import Message


class NotConfirmed(Exception):
    """The receiver did not take the message, or did not say so. `message` says why, `hint` what to do; neither holds a secret."""

    def __init__(self, message: str, hint: str = "", retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the receiver asks for."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after


class Sender(Protocol):
    """A way to one receiver."""

    async def send(self, message: Message) -> str:
        """Returns once the receiver has confirmed it, with its answer in words. Raises NotConfirmed. Bounded in time."""

    async def aclose(self) -> None:
        """Let go of everything."""
