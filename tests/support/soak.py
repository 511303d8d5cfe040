"""A daemon that is never left in peace: files, failures of the API, ends, reloads, rotations, at random and seeded."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.became import Became, Bucket
from tests.support.daemon import Daemon, command, read_audit, wait_until
from tests.support.standin import DEFAULT_KEY, Fault, rewrap
from tests.support.world import KEY, World, free_address, sha1_of, small_image

REFUSED = Fault("status", status=422, file="refused-*")
"""Always in force: what the API will have nothing to do with."""
FAULTS = (
    Fault("status", status=500, share=0.5),
    Fault("status", status=500, on=("fetch", "job", "account")),
    Fault("status", status=502, html=True, share=0.5),
    Fault("status", status=429, retry_after="1", share=0.3),
    Fault("reset", share=0.4),
    Fault("reset_after", share=0.4),
    Fault("body_after", status=200, body="<html><body>Welcome to our hotel's network</body></html>", html=True, share=0.4),
    Fault("truncated", share=0.4),
    Fault("delay", seconds=0.4, share=0.5),
    Fault("delay_after", seconds=0.4, share=0.5),
    Fault("enqueue", polls=1, share=0.5),
    Fault("job_lost", share=0.5),
    Fault("status", status=503, share=0.4, on=("bucket",)),
)
LASTING = (Fault("reset_after", share=0.05), Fault("enqueue", polls=0, share=0.1), Fault("delay", seconds=0.1, share=0.1))
"""What goes wrong while it is measured whether anything grows: a leak in the way of a failure is a leak."""
LONGEST_FAULT_SECONDS = 1.0
"""Short, since waits after failures double."""
MOST_FILES = 60
CALM_SHARE = 0.45
"""Of the time: without restarts."""
ENDING_SECONDS = 150.0
"""Until all have ended: the longest wait after a failure, twice, and something for a busy machine."""
PATIENT = {"compressor": {"concurrency": 6, "timeout": "4s", "max_attempts": 100}, "settle": "300ms", "rescan": "5s"}


MOST_SOCKETS = 40
"""Those that listen, eight to the API, and the kept ones of those who fetched; every image leaves one where they leak."""


@dataclass(frozen=True)
class Resources:
    """What a process holds. `files`: descriptors of anything but connections."""

    files: int
    sockets: int
    threads: int
    resident_bytes: int

    @classmethod
    def of(cls, pid: int) -> Resources:
        """What this process holds now."""
        process = Path(f"/proc/{pid}")
        pages = int((process / "statm").read_text().split()[1])
        targets = [_target(descriptor) for descriptor in (process / "fd").iterdir()]
        sockets = sum(target.startswith("socket:") for target in targets)
        threads = len(list((process / "task").iterdir()))
        return cls(len(targets) - sockets, sockets, threads, pages * os.sysconf("SC_PAGE_SIZE"))

    def assert_flat_since(self, before: Resources) -> None:
        """The same files and threads but for a few that pools make, as few connections as kept ones are, hardly more memory."""
        assert self.files - before.files <= 2, (before, self)
        assert max(self.sockets, before.sockets) <= MOST_SOCKETS, (before, self)
        assert self.threads - before.threads <= 2, (before, self)
        assert self.resident_bytes - before.resident_bytes < 20_000_000, (before, self)


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


@dataclass
class Soak:
    """A world with a daemon that is never left in peace. `files` are those that lie there now, and what is in them."""

    world: World
    chance: random.Random
    files: dict[Path, bytes] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    secrets: set[str] = field(default_factory=lambda: {DEFAULT_KEY})
    done: Counter[str] = field(default_factory=Counter)
    deck: list[Fault] = field(default_factory=list)
    fault_until: float = 0.0
    numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.world.standin.set_faults(REFUSED)
        self.daemon = self.new_daemon()

    # --- files ----------------------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """A new file, here or in a directory; one of ten is refused."""
        kind = "refused" if self.chance.random() < 0.1 else "image"
        self._put(self._new_path(kind))

    def replace(self) -> None:
        """Other content under a name that is there."""
        if path := self._some_image():
            self._put(path)

    def delete(self) -> None:
        """A file goes, whatever it is at."""
        if path := self._some_file():
            self.lies_at(path).unlink()
            del self.files[path]

    def touch(self) -> None:
        """A file gets another time and keeps its content."""
        if path := self._some_image():
            os.utime(self.lies_at(path))

    def move(self) -> None:
        """A file gets another name."""
        if path := self._some_file():
            target = self._new_path(path.name.partition("-")[0])
            self.lies_at(path).rename(self.lies_at(target))
            self.files[target] = self.files.pop(path)

    def _put(self, path: Path) -> None:
        """Moved in whole, or written in place in two goes."""
        content, lies_at = small_image(next(self.numbers)), self.lies_at(path)
        if self.chance.random() < 0.5:
            self.world.put(path.name, content, lies_at.parent)
        else:
            with lies_at.open("wb", buffering=0) as file:
                file.write(content[:100])
                file.write(content[100:])
        self.files[path] = content

    def _new_path(self, kind: str) -> Path:
        folder = self.chance.choice(list(self.folders.values())) / self.chance.choice(("", "a", "b/c"))
        self.lies_at(folder).mkdir(parents=True, exist_ok=True)
        return folder / f"{kind}-{next(self.numbers)}.jpg"

    @property
    def folders(self) -> dict[str, Path]:
        """The watched folders, by name."""
        return {"products": self.world.drop}

    def lies_at(self, path: Path) -> Path:
        """Where a path of a folder is to be had whatever becomes of the folder."""
        return path

    def _some_file(self) -> Path | None:
        return self.chance.choice(list(self.files)) if self.files else None

    def _some_image(self) -> Path | None:
        images = [path for path in self.files if path.name.startswith("image")]
        return self.chance.choice(images) if images else None

    # --- the daemon and its surroundings --------------------------------------------------------------------------------------

    def fault(self) -> None:
        """Three things begin to go wrong for a while; what went wrong before is over."""
        self._learn_secrets()
        self.deck = self.deck if len(self.deck) >= 3 else self.chance.sample(FAULTS, len(FAULTS))
        drawn, self.deck = self.deck[:3], self.deck[3:]
        self.world.standin.set_faults(REFUSED, *drawn)
        self.fault_until = time.monotonic() + self.chance.uniform(0.2, LONGEST_FAULT_SECONDS)

    def end_fault_in_time(self) -> None:
        """What goes wrong is over when its time has come."""
        if self.fault_until and time.monotonic() > self.fault_until:
            self.set_lasting_faults()

    def set_lasting_faults(self, *faults: Fault) -> None:
        """These go wrong until others are set."""
        self.fault_until = 0.0
        self.world.standin.set_faults(REFUSED, *faults)

    def kill(self) -> None:
        """kill -9, and a new start."""
        self._end_with(signal.SIGKILL, -signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM to a daemon that listens for it, and a new start."""
        self.daemon.wait_for("service.started")
        self._end_with(signal.SIGTERM, 0)

    def _end_with(self, number: signal.Signals, status: int) -> None:
        self.daemon.signal(number)
        assert status == self.daemon.wait(), "".join(self.daemon.errors)
        self._keep_lines()
        self.daemon = self.new_daemon()
        if self.chance.random() < 0.7:
            self.daemon.wait_for("service.ready")

    def new_daemon(self) -> Daemon:
        """One more life of it."""
        return Daemon(self.world.config, KEY)

    def _keep_lines(self) -> None:
        amiss = [line for line in self.daemon.errors if not self.may_say(line)]
        assert "" == "".join(amiss), "".join(amiss)
        self.lines += self.daemon.lines

    def may_say(self, line: str) -> bool:
        """Whether a line of standard error is in order."""
        return False

    def hang_up(self) -> None:
        """SIGHUP to a daemon that listens for it (before that it is the end of any process)."""
        self.daemon.wait_for("service.started")
        self.daemon.signal(signal.SIGHUP)

    def rotate(self) -> None:
        """What logrotate does: older ones are renamed, the file is renamed, the daemon is told."""
        path = self.world.audit_path
        if path.exists():
            for number in range(len(self.audit_paths()) - 1, 0, -1):
                path.with_name(f"{path.name}.{number}").rename(path.with_name(f"{path.name}.{number + 1}"))
            path.rename(path.with_name(f"{path.name}.1"))
            self.hang_up()

    def verify(self) -> None:
        """The audit file is whole at any time, also beside a daemon that writes it."""
        if self.world.audit_path.exists():
            verified = command("audit", "verify", "--config", self.world.config)
            assert 0 == verified.returncode, verified.stdout + verified.stderr

    def _learn_secrets(self) -> None:
        for body in self.world.standin.report()["last_bodies"]:
            self.secrets |= {body["url"].split("/")[-2], *body.get("headers", {}).values()}

    # --- what became of it ----------------------------------------------------------------------------------------------------

    def audit_paths(self) -> list[Path]:
        """All audit files, the oldest first."""
        path = self.world.audit_path
        rotated = [path.with_name(f"{path.name}.{number}") for number in range(1, 1_000)]
        return [*reversed([each for each in rotated if each.exists()]), *([path] if path.exists() else [])]

    def audit(self) -> list[dict[str, Any]]:
        """The lines of all audit files, in order."""
        return [line for path in self.audit_paths() for line in read_audit(path)]

    def is_quiet(self) -> bool:
        """Whether every file that lies there has ended as it is now, and nothing waits."""
        assert self.daemon.process.poll() is None, self.daemon.errors
        last = {line["file"]: line for line in self.audit()}
        return not any(self.figures().values()) and not self.unended(last)

    def unended(self, last: dict[str, dict[str, Any]]) -> list[Path]:
        """Files whose content is not that of the last ending, or that are refused and have no ending."""
        return [path for path in self.files if not self._has_ended(path, last.get(str(path), {}))]

    def _has_ended(self, path: Path, line: dict[str, Any]) -> bool:
        if path.name.startswith("refused"):
            return line.get("event") == "image.failed"
        return line.get("event") == "image.stored" and line["input"]["sha1"] == sha1_of(self.lies_at(path))

    def figures(self) -> dict[str, int]:
        """How much waits, and how much is on its way."""
        with urllib.request.urlopen(f"http://{self.world.changes['admin']['listen']}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: int(float(values[f"compressor_watcher_{name}"])) for name in ("waiting", "in_flight")}

    def come_to_rest(self) -> None:
        """Nothing goes wrong any more; wait until everything has ended."""
        self.set_lasting_faults()
        self.daemon.wait_for("service.ready")
        try:
            wait_until(self.is_quiet, ENDING_SECONDS, pause=0.2)
        except AssertionError:
            print(f"{self.figures()}, without their ending: {self.unended({line['file']: line for line in self.audit()})}")
            raise
        self._learn_secrets()

    # --- its two parts --------------------------------------------------------------------------------------------------------

    def rage(self, seconds: float) -> None:
        """Everything mixed."""
        until = time.monotonic() + seconds
        for act in self.first_of_each():
            self._do(act)
        actions = self.actions()
        while time.monotonic() < until:
            self._do(self.chance.choice(actions))
            if not self.fault_until and self.chance.random() < 0.3:
                self._do(self.fault)
            time.sleep(self.chance.uniform(0.0, 0.1))
        self.come_to_rest()

    def first_of_each(self) -> list[Callable[[], None]]:
        """Each action once, while something goes wrong, so that none is left to chance; with files to do it to."""
        each = [self.replace, self.delete, self.touch, self.move, *self.interruptions()]
        mixed = [act for one in self.chance.sample(each, len(each)) for act in (self.fault, self.drop, one)]
        return [*[self.drop] * 10, *mixed, self.verify]

    def actions(self) -> list[Callable[[], None]]:
        """What happens, as often as it does."""
        return [*self.file_actions() * 4, *self.interruptions(), self.verify]

    def interruptions(self) -> list[Callable[[], None]]:
        """What becomes of the daemon."""
        return [self.kill, self.terminate, self.hang_up, self.rotate]

    def file_actions(self) -> list[Callable[[], None]]:
        """What people do to files."""
        return [self.drop, self.drop, self.drop, self.replace, self.delete, self.touch, self.move]

    def _do(self, act: Callable[[], None]) -> None:
        self.end_fault_in_time()
        act = self.delete if act == self.drop and len(self.files) >= MOST_FILES else act
        act()
        self.done[act.__name__] += 1

    def stay_flat(self, seconds: float) -> None:
        """No restarts: the same load again and again; what the process holds after the last is what it held after the first."""
        self.load(seconds * 0.4)
        before = Resources.of(self.daemon.process.pid)
        self.load(seconds * 0.6)
        after = Resources.of(self.daemon.process.pid)
        print(f"{before}\n{after}")
        after.assert_flat_since(before)

    def load(self, seconds: float) -> None:
        """People's actions, some failures and some reloads, then rest."""
        until = time.monotonic() + seconds
        self.set_lasting_faults(*LASTING)
        while time.monotonic() < until:
            for act in self.file_actions():
                self._do(act)
                time.sleep(0.03)
            if self.chance.random() < 0.1:
                self._do(self.rotate)
        self.come_to_rest()

    def end(self) -> None:
        """The daemon's stop."""
        assert 0 == self.daemon.stop()
        self._keep_lines()


def settings() -> dict[str, Any]:
    """A daemon that says everything, with its ports where they stay the same."""
    listen = {"publish": {"serve": {"listen": free_address()}}, "admin": {"listen": free_address()}}
    return {**PATIENT, **listen, "log": {"level": "debug"}, "drain": "500ms"}


def run(soak: Soak, seconds: float) -> None:
    """So much time of everything, and then all that must be true."""
    standin = soak.world.standin
    try:
        soak.rage(seconds * (1 - CALM_SHARE))
        soak.stay_flat(seconds * CALM_SHARE)
        soak.end()
    finally:
        if soak.daemon.process.poll() is None:
            soak.daemon.kill()
    print(f"{dict(soak.done)}, {standin.report()['struck']}, {len(soak.audit())} endings in {len(soak.audit_paths())} files")
    assert len(standin.report()["struck"]) >= 4
    assert_files_are_stored(soak)
    assert_one_ending_each(soak)
    assert_nothing_secret_is_said(soak)
    soak.world.assert_nothing_left_over()


def assert_files_are_stored(soak: Soak) -> None:
    """What lies in the folders is untouched, and its content is in the bucket under its key; what is refused is not."""
    with Bucket(soak.world.standin) as bucket:
        for name, root in soak.folders.items():
            lying = {root / path.relative_to(soak.lies_at(root)) for path in soak.lies_at(root).rglob("*") if path.is_file()}
            assert lying == {path for path in soak.files if path.is_relative_to(root)}
            for path in lying:
                stored = None if path.name.startswith("refused") else rewrap(soak.files[path])
                assert soak.lies_at(path).read_bytes() == soak.files[path]
                assert bucket.get(f"{name}/{path.relative_to(root)}") == stored, path


def assert_one_ending_each(soak: Soak) -> None:
    """Each version that was taken, by the log and by the journal, has one line over all audit files, and these are whole."""
    audit = soak.audit()
    ended = Counter(line["id"] for line in audit)
    became = Became.of(soak.lines)
    listing = command("list", "--json", "--limit", "0", "--config", soak.world.config)
    known = {row["id"]: row["state"] for row in map(json.loads, listing.stdout.splitlines())}
    # a kill between commit and log takes the line "unchanged" with it; the journal still knows
    unchanged = {row for row, state in known.items() if state == "unchanged"} | set(became.unchanged)
    logged = {identity for each in became.detected.values() for identity in each} - unchanged
    assert set(ended.values()) == {1}
    assert {"open": set(), "no line": set()} == {
        "open": {row for row, state in known.items() if state in ("waiting", "requested", "enqueued")},
        "no line": (logged | {row for row, state in known.items() if state != "unchanged"}) - set(ended),
    }
    assert set(ended) <= set(known)
    assert [line["seq"] for line in audit] == list(range(1, len(audit) + 1))
    failed = [line for line in audit if line["event"] == "image.failed"]
    assert [] == [line for line in failed if not Path(line["file"]).name.startswith("refused")]
    soak.verify()


def assert_nothing_secret_is_said(soak: Soak) -> None:
    """No key, token or header's value stands in a line of the log or of the audit file."""
    assert len(soak.secrets) > 10
    said_lines = [json.dumps(line) for line in (*soak.lines, *soak.audit())]
    assert [] == [line for line in said_lines if any(secret in line for secret in soak.secrets)]
