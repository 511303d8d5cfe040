"""SIGTERM and Ctrl-C for commands that run until they are stopped."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def stop_on_signals(stop: Callable[[signal.Signals], None]) -> None:
    """Have `stop` called with the signal, in the running loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
