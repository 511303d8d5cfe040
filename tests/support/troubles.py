"""A machine in trouble, for the soak: a share that hangs, a full disk, an unread log, few descriptors, a clock that is set."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.clocks import SettableClock
from tests.support.daemon import Daemon, wait_until
from tests.support.disks import SmallDisk
from tests.support.fuse import Mounted
from tests.support.soak import Soak, settings
from tests.support.world import KEY

LONGEST_SECONDS = 5.0
LONGEST_HANG_SECONDS = 15.0
"""Longer than it takes the daemon to say that a share does not answer."""
SMALLEST_PIPE = 4096
HOUR = 3600.0
OFFSETS = (-24 * HOUR, -2 * HOUR, -50.0, 0.0, 50.0, 2 * HOUR, 24 * HOUR)
F_SETPIPE_SZ = 1031
SAID = ("log lines were lost: nobody read them for a while", "does not answer; its path is taken as it is written")
UNAVAILABLE = 69
"""What a start ends with where the journal cannot be written; whoever supervises it starts it again."""


class DeafDaemon(Daemon):
    """A daemon whose log is not read while `hears` is not set. Its last line is cut where it was killed while it wrote."""

    def __init__(self, config: Path, environment: dict[str, str]) -> None:
        self.hears = threading.Event()
        self.hears.set()
        super().__init__(config, environment)
        assert self.process.stdout is not None
        fcntl.fcntl(self.process.stdout, F_SETPIPE_SZ, SMALLEST_PIPE)

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            self.hears.wait()
            if raw.endswith(b"\n"):
                self.lines.append(json.loads(raw))

    def wait(self, seconds: float = 60.0) -> int:
        """Its end does not wait for whoever reads the log, and the rest of it is read then."""
        self.process.wait(seconds)
        self.hears.set()
        return super().wait(seconds)

    def is_up(self) -> bool:
        """Whether its start is over."""
        return bool(self.events("service.ready"))

    def limit_files(self, spare: int) -> None:
        """Fewer descriptors than it has open and a few more, or none more."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (max(20, self._open_files() + spare), hard))

    def unlimit_files(self) -> None:
        """As many as it may have."""
        if self.process.poll() is None:
            _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (hard, hard))

    def _open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Machine:
    """What the daemon stands on. Files on the share are put below it, where it never hangs."""

    def __init__(self, path: Path, share: Mounted, disk: SmallDisk) -> None:
        self.share = share
        self.disk = disk
        self.clock = SettableClock(path)


@dataclass
class TroubledSoak(Soak):
    """The soak on such a machine. `under_way`: what the machine has trouble with, how it ends, and when."""

    machine: Machine = field(kw_only=True)
    under_way: dict[str, tuple[Callable[[], None], float]] = field(default_factory=dict, kw_only=True)
    said: Counter[str] = field(default_factory=Counter, kw_only=True)
    """What stood on standard error."""
    daemon: DeafDaemon = field(init=False)

    @property
    def folders(self) -> dict[str, Path]:
        """One on this disk, one on the share."""
        return {**super().folders, "nas": self.machine.share.point}

    def lies_at(self, path: Path) -> Path:
        """What is on the share, below it."""
        share = self.machine.share
        return share.below / path.relative_to(share.point) if path.is_relative_to(share.point) else path

    def new_daemon(self) -> DeafDaemon:
        """One that takes the clock of this machine for the time. It does not start on a full disk, and says so."""
        for name in ("starve", "deafen"):
            self.under_way.pop(name, None)
        environment = {**KEY, **self.machine.clock.environment}
        begun = DeafDaemon(self.world.config, environment)
        if "fill" in self.under_way:
            wait_until(lambda: begun.is_up() or begun.process.poll() is not None)
            self.end_troubles("fill")
            if begun.process.poll() is not None:
                assert UNAVAILABLE == begun.wait(), begun.errors
                assert "make room on its disk" in "".join(begun.errors)
                self.lines += begun.lines
                begun = DeafDaemon(self.world.config, environment)
        return begun

    def _end_with(self, number: signal.Signals, status: int) -> None:
        """The share wakes in time, though nothing else is done meanwhile: the kernel keeps who hangs in it, also when killed."""
        _, until = self.under_way.get("hang", (None, 0.0))
        waking = threading.Timer(max(0.0, until - time.monotonic()), self.machine.share.wake)
        waking.start()
        super()._end_with(number, status)
        waking.cancel()

    def may_say(self, line: str) -> bool:
        """What the troubles make it say."""
        found = next((each for each in SAID if each in line), None)
        self.said[found or line] += 1
        return found is not None

    # --- troubles -------------------------------------------------------------------------------------------------------------

    def hang(self) -> None:
        """The share does not answer."""
        self.machine.share.hang()
        self._until_later("hang", self.machine.share.wake, LONGEST_HANG_SECONDS)

    def fill(self) -> None:
        """The disk of the journal and of the audit file is full."""
        self._come_up()
        self.machine.disk.fill()
        self._until_later("fill", self.machine.disk.free)

    def deafen(self) -> None:
        """Nobody reads the log."""
        self._come_up()
        self.daemon.hears.clear()
        self._until_later("deafen", self.daemon.hears.set)

    def starve(self) -> None:
        """Nothing more can be opened, or only few."""
        self._come_up()
        self.daemon.limit_files(self.chance.choice((-10, -3, 0, 2, 5)))
        self._until_later("starve", self.daemon.unlimit_files)

    def set_clock(self) -> None:
        """It is another time from now on, until it is set again."""
        self.machine.clock.set(self.chance.choice(OFFSETS))

    def _come_up(self) -> None:
        if not self.daemon.is_up():
            self.end_troubles()
            self.daemon.wait_for("service.ready")

    def _until_later(self, name: str, end: Callable[[], None], longest: float = LONGEST_SECONDS) -> None:
        self.under_way[name] = (end, time.monotonic() + self.chance.uniform(0.2, longest))

    def end_troubles(self, *names: str) -> None:
        """Those of these names, or all."""
        for name in names or list(self.under_way):
            end, _ = self.under_way.pop(name)
            end()

    # --- what happens when ----------------------------------------------------------------------------------------------------

    def troubles(self) -> list[Callable[[], None]]:
        """Each kind."""
        return [self.hang, self.fill, self.deafen, self.starve, self.set_clock]

    def interruptions(self) -> list[Callable[[], None]]:
        """Also what becomes of the machine."""
        return [*super().interruptions(), *self.troubles()]

    def actions(self) -> list[Callable[[], None]]:
        """Troubles often, and the daemon's ends so rarely that it lives through some of them."""
        return [*self.file_actions() * 6, *self.troubles() * 3, *super().interruptions(), self.verify]

    def _do(self, act: Callable[[], None]) -> None:
        over = [name for name, (_, until) in self.under_way.items() if time.monotonic() > until]
        if over:
            self.end_troubles(*over)
        if act.__name__ not in self.under_way:
            super()._do(act)

    def end(self) -> None:
        """With what the troubles did to it."""
        super().end()
        print(dict(Counter(line["event"] for line in self.lines if line["level"] in ("warning", "error"))), dict(self.said))

    def come_to_rest(self) -> None:
        """With all troubles over, but for the clock, which stays as it is."""
        self.end_troubles()
        super().come_to_rest()


def troubled_settings(path: Path, share: Mounted, disk: SmallDisk) -> dict[str, Any]:
    """Two folders, one of them on the share; the state on a disk that can be filled."""
    folders = [{"name": "products", "path": path / "drop"}, {"name": "nas", "path": share.point}]
    return {**settings(), "state_dir": disk.path / "state", "folders": folders}
