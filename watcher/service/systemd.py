"""Tells systemd how the service is: the sd_notify protocol over its datagram socket, without a library.

Source: sd_notify(3). Without $NOTIFY_SOCKET everything here does nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Sends states to the service manager, if there is one. No call waits or raises."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog = _watchdog_seconds(environment)
        self._status = ""

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between signs of life, half of what the manager allows; None where it asks for none."""
        return self._watchdog / 2 if self._watchdog else None

    def ready(self, status: str) -> None:
        """The service is up (also: the reload is done)."""
        self._send("READY=1", self._changed(status))

    def starting(self, status: str, seconds: float) -> None:
        """The service is not up yet, and goes on trying for so many seconds even where TimeoutStartSec= is shorter."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", self._changed(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, seconds: float) -> None:
        """The service is on its way down, which may take so many seconds even where TimeoutStopSec= is shorter."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}", self._changed(status))

    def status(self, status: str) -> None:
        """One line for `systemctl status`. The same line again is not sent."""
        if status != self._status:
            self._send(self._changed(status))

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    def _changed(self, status: str) -> str:
        self._status = status
        return f"STATUS={status}"

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        flags = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # the manager may be restarting, or have a full queue; the next sign of life will find it again
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, flags) as sender:
            sender.sendto("\n".join(assignments).encode(), address)


def confinement(environment: Mapping[str, str]) -> str:
    """How folders are opened to this process where it is a confined service; empty where it is none."""
    if not environment.get("INVOCATION_ID") or not environment.get("NOTIFY_SOCKET"):
        return ""
    unit = unit_of(Path("/proc/self/cgroup").read_text(encoding="utf-8")) or "compressor-watcher.service"
    return (
        f"a service sees and changes only what its drop-in opens: `systemctl edit {unit}`, ReadOnlyPaths= or ReadWritePaths= "
        "(BindReadOnlyPaths= or BindPaths= below /home), SupplementaryGroups=, then restart it"
    )


def unit_of(cgroups: str) -> str | None:
    """The service in the text of /proc/self/cgroup (cgroups(7)). Pure."""
    for line in cgroups.splitlines():
        for part in reversed(line.rpartition(":")[2].split("/")):
            if part.endswith(".service"):
                return part
    return None


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1_000_000
