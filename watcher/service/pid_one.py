"""PID 1 of a container: hands on signals, and reaps what orphaned processes leave. The daemon itself is its child.

The kernel gives PID 1 every process whose parent has gone, and ignores signals that PID 1 has no handler for. A daemon that
waits for its own children cannot reap those of others as well.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

HANDED_ON: Final = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCONT,
        signal.SIGWINCH,
    }
)
_OF_THE_TERMINAL: Final = 0x80
"""`si_code` of a signal that the kernel sent: Ctrl-C reaches the child by itself, and must not come twice."""


def stand_in() -> None:
    """Where this process is PID 1, go on in a child, and end as it ends. Elsewhere nothing happens. Call it before any thread."""
    if os.getpid() != 1:
        return
    watched = HANDED_ON | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        return
    _close_all_but_standard()
    os._exit(_watch(child, watched))


def _watch(child: int, watched: frozenset[signal.Signals]) -> int:
    """Until the child has ended; its exit status as a shell gives it."""
    while True:
        information = signal.sigwaitinfo(watched)
        if information.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                return status
        elif information.si_code != _OF_THE_TERMINAL:
            os.kill(child, information.si_signo)


def _reap(child: int) -> int | None:
    """Take in all that has ended; the child's status if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code


def _close_all_but_standard() -> None:
    """What the daemon opens is its own; what was handed down stays open there."""
    sys.stdout.flush()
    os.closerange(3, 1024)
