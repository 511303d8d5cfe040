"""How a message gets to a receiver: the Protocol of the ways there are, and what they raise."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

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


async def confirmation(sending: Awaitable[object]) -> None:
    """Wait until a receiver has confirmed what it is sent. Raises NotConfirmed, whatever went wrong.

    An error that nobody foresaw is shown without its words, in which a secret may stand.
    """
    try:
        await sending
    except NotConfirmed:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of one receiver: a fault of ours must not leave it untold for good
        traceback.print_tb(error.__traceback__, file=sys.stderr)
        words = f"internal error ({type(error).__name__})"
        raise NotConfirmed(words, "this is a fault of compressor-watcher, please report it") from None
