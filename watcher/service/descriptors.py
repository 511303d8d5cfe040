"""File descriptors: all that the system grants are taken, and no more work is begun than they suffice for."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from watcher.errors import Unavailable

MOST_DESCRIPTORS: Final = 1_048_576
"""More are not asked for, even where there is no limit."""
OF_ONE_REQUEST: Final = 6
"""Two originals that are open, one of them served, the connections for that and to the API, and one to spare."""
OF_ONE_REQUEST_TO_ENGINE: Final = 12
"""The same with the other ends in this process: the engine's connections and files."""
RESERVE: Final = 24
"""For scans, journal, audit file, notifications and whatever comes now and then."""
FEW_DESCRIPTORS: Final = 512
LEAST_DESCRIPTORS: Final = 64
"""With fewer no image comes to its end."""


def take_all() -> None:
    """Raise the soft limit of descriptors to the hard one. Where that is not granted, it stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def require_descriptors() -> None:
    """Raises Unavailable where not even one image at a time can be done with what the system grants."""
    if granted() < LEAST_DESCRIPTORS:
        message = f"only {granted()} files may be open at once, and {LEAST_DESCRIPTORS} are the least"
        raise Unavailable(message, "raise LimitNOFILE= of the service, or the hard limit of the shell (ulimit -Hn)")


def granted() -> int:
    """How many this process may have, once it took all."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)


def in_use() -> int:
    """How many are open now."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def affordable(wanted: int, *, of_one: int, limit: int, used: int) -> int:
    """How many of the `wanted` requests may be out at once: half of `limit` is for connections of strangers. Pure."""
    left = limit - limit // 2 - used - RESERVE
    return max(1, min(wanted, left // of_one))
