"""A machine with a real systemd, for the tests of the service: namespaces over this machine's own files (tests/tools/sdbox.sh).

What is written in it is gone with it. It shares the network, so that the API stand-in on loopback is there for both sides.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemon import to_toml, wait_until
from tests.support.standin import DEFAULT_KEY

REPOSITORY = Path(__file__).parents[2]
SDBOX = REPOSITORY / "tests/tools/sdbox.sh"
SOURCE = "/opt/source"
WHEELS = "/opt/wheels"
UNIT = "compressor-watcher"
PYTHON = Path("/usr/bin/python3")
LIFE_SECONDS = 1800
MAKE_SECONDS = 600
"""Packages are installed, on a machine that others use as well."""
ETC = "/etc/compressor-watcher"
STATE = "/var/lib/compressor-watcher"
AUDIT = "/var/log/compressor-watcher/audit.jsonl"
DROP = "/srv/drop/products"


def why_no_box() -> str:
    """What this machine lacks for a box; empty where it has all."""
    if os.geteuid() != 0:
        return "root is needed"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    tools = ("unshare", "nsenter", "findmnt", "pgrep", "ip", "setpriv", "logrotate", "make", "systemd-analyze")
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing"
    if subprocess.run(["findmnt", "-t", "cgroup2"], capture_output=True).returncode != 0:
        return "no cgroup2 is mounted"
    if (
        not PYTHON.exists()
        or subprocess.run([PYTHON, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]).returncode != 0
    ):
        return f"{PYTHON} is not Python 3.11 with its venv module"
    return ""


def wheels() -> Path:
    """The locked packages as wheels for the system's Python, made once and kept below .cache."""
    locked = REPOSITORY / "requirements.txt"
    directory = REPOSITORY / ".cache" / f"wheels-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    if not directory.exists():
        making = directory.with_suffix(f".{os.getpid()}")
        make: list[str | Path] = [sys.executable, "-m", "pip", "--python", PYTHON, "--disable-pip-version-check", "wheel"]
        make += ["--quiet", "--no-deps", "--require-hashes", "-r", locked, "--wheel-dir", making]
        made = subprocess.run(make, text=True, capture_output=True)
        assert made.returncode == 0, f"no wheels could be made: {made.stderr}"
        making.rename(directory)
    return directory


@dataclass
class Box:
    """The machine. Paths in it are written as they are there; `path` leads to them from here."""

    name: str
    cursor: str = ""
    pid: int = field(default=0, init=False)

    def call(self, *arguments: str | Path, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run sdbox.sh."""
        environment = {**os.environ, "SDBOX_NAME": self.name, "SDBOX_LIFE": str(LIFE_SECONDS)}
        done = subprocess.run([SDBOX, *arguments], env=environment, text=True, capture_output=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def sh(self, *command: str | Path, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root."""
        return self.call("sh", *command, check=check, timeout=timeout)

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """systemctl"""
        return self.call("ctl", *arguments, check=check)

    def make(self, target: str, source: str = SOURCE, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`make install` or `make uninstall`, from the sources in the box."""
        words = ("make", "--no-print-directory", "-C", source, target, f"WHEELS={WHEELS}")
        return self.sh(*words, check=check, timeout=MAKE_SECONDS)

    def path(self, inside: str) -> Path:
        """A file in the box, from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def write(self, inside: str, content: bytes | str, mode: int = 0o644) -> Path:
        """Write a file in the box in one step, as a move into its folder does."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        making = path.with_name(f".{path.name}.making")
        making.write_bytes(content.encode() if isinstance(content, str) else content)
        making.chmod(mode)
        making.rename(path)
        return path


@contextmanager
def running_box(root: Path | None = None) -> Iterator[Box]:
    """A box that is up, over this machine's own files with the sources and the wheels in it, or over the files of another root;
    down afterwards, whatever happens.
    """
    box = Box(f"watcher-{os.getpid()}" + (f"-{root.name}" if root is not None else ""))
    binds = (f"{REPOSITORY}:{SOURCE}", f"{wheels()}:{WHEELS}") if root is None else ()
    below = () if root is None else ("--root", root)
    try:
        box.call("up", "--net", "host", *below, *(argument for bind in binds for argument in ("--bind-ro", bind)))
        box.pid = int(box.call("pid").stdout)
        if root is None:  # what others write at home, browsers above all, would show there as written by us
            box.sh("mount", "-t", "tmpfs", "-o", "mode=700", "home", "/root")
        yield box
    finally:
        box.call("down", check=False)


class Service:
    """The installed service (or one instance of its template) in a box, from a clean slate."""

    def __init__(self, box: Box, instance: str = "") -> None:
        self.box = box
        self.unit = f"{UNIT}@{instance}" if instance else UNIT
        self.etc = f"{ETC}/{instance}" if instance else ETC
        self.state = f"{STATE}-{instance}" if instance else STATE
        self.log = f"/var/log/{UNIT}-{instance}" if instance else f"/var/log/{UNIT}"
        self.audit = f"{self.log}/audit.jsonl"
        self.cursor = box.sh("journalctl", "-n0", "--show-cursor", "--quiet").stdout.strip().removeprefix("-- cursor: ")
        self.clean()

    def clean(self) -> None:
        """Nothing remembered, nothing dropped, nothing changed about the unit."""
        dropins = f"/etc/systemd/system/{self.unit}.service.d"
        empty = f"rm -rf {self.state} {self.log} /srv/drop {dropins} && mkdir -p {DROP}"
        stop = f"systemctl stop {self.unit}; systemctl reset-failed {self.unit}"
        self.box.sh("sh", "-c", f"{{ {stop}; }} 2>/dev/null; {empty} && install -d -m 700 {self.etc}/credentials")
        self.set_key(DEFAULT_KEY)

    def set_key(self, key: str) -> None:
        """Put the API key where the operator puts it."""
        self.box.write(f"{self.etc}/credentials/compressor_api_key", key, 0o600)

    def configure(self, url: str, **changes: Any) -> None:
        """Write a configuration for the API at `url`."""
        data: dict[str, Any] = {
            "state_dir": self.state,
            "compressor": {"url": url},
            "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
            "folders": [{"path": DROP}],
            "log": {"audit": self.audit},
        }
        self.box.write(f"{self.etc}/config.toml", to_toml({**data, **changes}))

    def drop_in(self, *lines: str) -> None:
        """Add to the unit, as `systemctl edit` does."""
        self.box.write(f"/etc/systemd/system/{self.unit}.service.d/test.conf", "\n".join(("[Service]", *lines, "")))
        self.box.ctl("daemon-reload")

    def start(self) -> None:
        """Start it; returns when it is ready."""
        self.box.ctl("start", self.unit)

    def show(self, name: str) -> str:
        """One of systemd's properties of the unit."""
        return self.box.ctl("show", self.unit, "-p", name, "--value").stdout.strip()

    def process_status(self) -> dict[str, str]:
        """What the kernel says of the main process (proc_pid_status(5))."""
        text = self.box.path(f"/proc/{self.show('MainPID')}/status").read_text()
        return dict(row.split(":\t", 1) for row in text.splitlines() if ":\t" in row)

    def records(self) -> list[dict[str, Any]]:
        """What journald has of the unit since this object was made."""
        found = self.box.call("log", "-u", self.unit, "-o", "json", "--no-pager", f"--after-cursor={self.cursor}")
        return [json.loads(line) for line in found.stdout.splitlines()]

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The daemon's own lines of an event, as journald has them, whose fields have these values."""
        texts = [record["MESSAGE"] for record in self.records() if record.get("_TRANSPORT") == "stdout"]
        lines = [json.loads(text) for text in texts if isinstance(text, str) and text.startswith("{")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def wait_for(self, event: str, count: int = 1, seconds: float = 120, **fields: Any) -> list[dict[str, Any]]:
        """Wait for so many lines of an event; gives them."""
        try:
            wait_until(lambda: len(self.lines(event, **fields)) >= count, seconds, pause=0.25)  # a process each
        except AssertionError:
            told = "\n".join(str(record.get("MESSAGE")) for record in self.records()[-30:])
            raise AssertionError(
                f"{event} {fields}: {len(self.lines(event, **fields))} of {count}; the journal:\n{told}"
            ) from None
        return self.lines(event, **fields)

    def audit_lines(self) -> list[dict[str, Any]]:
        """The audit file and what logrotate made of it, oldest first by number."""
        files = self.box.path(self.log).glob("audit.jsonl*")
        texts = [gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files]
        return sorted((json.loads(line) for text in texts for line in text.splitlines()), key=lambda line: int(line["seq"]))
