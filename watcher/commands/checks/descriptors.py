"""How many files and connections the daemon may have open at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from watcher.commands.checks.finding import ok, warn
from watcher.errors import Unavailable
from watcher.service.descriptors import FEW_DESCRIPTORS, OF_ONE_REQUEST, OF_ONE_REQUEST_TO_ENGINE, affordable, granted
from watcher.service.instance import running_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.commands.checks.finding import Finding
    from watcher.config.schema import Settings

USUALLY_USED = 60
"""Descriptors of an idle daemon, about."""


def check_descriptors(settings: Settings) -> Iterator[Finding]:
    """Whether they suffice for `compressor.concurrency`, by the limit of a running daemon, or else by our own."""
    limit, whose = _limit_of_daemon(settings.state_dir), "the running daemon's"
    if limit is None:
        limit, whose = granted(), "of this shell; a service has its own"
    of_one = OF_ONE_REQUEST_TO_ENGINE if settings.compressor.embedded else OF_ONE_REQUEST
    wanted = settings.compressor.concurrency
    possible = affordable(wanted, of_one=of_one, limit=limit, used=USUALLY_USED)
    found = f"{limit} at most ({whose})"
    if possible < wanted or limit < FEW_DESCRIPTORS:
        found = f"{found}: enough for {possible} of {wanted} requests at once (compressor.concurrency)"
        yield warn("open files", found, "raise LimitNOFILE= of the service, or the hard limit of the shell (ulimit -Hn)")
    else:
        yield ok("open files", found)


def _limit_of_daemon(state_dir: Path) -> int | None:
    """The hard limit of the running daemon; None where none runs, or it may not be looked at."""
    try:
        pid = running_pid(state_dir)
        text = Path(f"/proc/{pid}/limits").read_text(encoding="ascii") if pid is not None else ""
    except (Unavailable, OSError):
        return None
    found = re.search(r"^Max open files +\S+ +(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None
