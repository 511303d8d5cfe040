"""What an operator or the service manager asks of the daemon by signals: stop, reload, look at the journal."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from watcher.service import early

if TYPE_CHECKING:
    from collections.abc import Callable


class Control:
    """Keeps what was asked before the daemon was up until somebody can do it."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._wake: Callable[[], None] | None = None
        self._reload: Callable[[], None] | None = None
        self._reload_asked = False

    def catch_signals(self) -> None:
        """Stop at SIGTERM and Ctrl-C, reload at SIGHUP, look at the journal at SIGUSR1."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR1, self.wake)
        self._reload_asked = signal.SIGHUP in early.seen

    def stop(self, number: signal.Signals) -> None:
        """The first signal ends the daemon in order; a second one ends the process at once."""
        if self.stopping.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            os._exit(128 + number)  # only process 1 of a container gets here: the kernel keeps such signals from it
        self.stopping.set()

    def wake(self) -> None:
        """There may be something to do. Before anybody can do it there is no need to say so."""
        if self._wake is not None:
            self._wake()

    def reload(self) -> None:
        """Reload now, or once everything is up: the configuration may have been read before it was changed."""
        self._reload_asked = self._reload is None
        if self._reload is not None:
            self._reload()

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Call `wake` from now on."""
        self._wake = wake

    def on_reload(self, reload: Callable[[], None]) -> None:
        """Call `reload` from now on, and at once where it was asked for before."""
        self._reload = reload
        if self._reload_asked:
            self.reload()
