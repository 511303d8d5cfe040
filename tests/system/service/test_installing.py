"""`sudo make install`: what it puts, what it leaves alone, and how it upgrades."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import threading
from pathlib import Path
from typing import Self

import pytest

from tests.support.box import ETC, REPOSITORY, SOURCE, UNIT, Box, Service
from tests.support.daemon import wait_until
from tests.support.pictures import jpeg
from tests.support.standin import StandinProcess
from tests.system.service.conftest import Installation, listing

pytestmark = pytest.mark.timeout(900)  # the first test waits for the machine to be built
PUT = {
    "/opt/compressor-watcher",
    "/usr/local/bin/compressor-watcher",
    "/usr/local/share/man/man1",
    "/usr/local/share/man/man1/compressor-watcher.1",
    "/etc/systemd/system/compressor-watcher.service",
    "/etc/compressor-watcher",
    "/etc/compressor-watcher/config.toml",
    "/etc/compressor-watcher/credentials",
    "/etc/logrotate.d/compressor-watcher",
    "/etc/sysctl.d/60-compressor-watcher.conf",
}
USER_DATABASE = {f"/etc/{name}{suffix}" for name in ("passwd", "group", "shadow", "gshadow") for suffix in ("", "-")}


def outside(paths: set[str]) -> set[str]:
    """Without what lies in the environment's own directory."""
    return {path for path in paths if not path.startswith("/opt/compressor-watcher/")}


def test_it_puts_what_it_says_and_nothing_else(installation: Installation) -> None:
    """New files are the ones of the documentation; files that were there stay as they were, but for the new user's entries."""
    before, after = installation.before, installation.after
    changed = {path for path in before if before[path] != after.get(path)}

    assert outside(after.keys() - before.keys()) - USER_DATABASE - {"/etc/.pwd.lock"} == PUT
    assert changed <= USER_DATABASE | {"/etc/.pwd.lock"}


def test_it_enables_nothing_and_says_what_to_do(box: Box, installation: Installation) -> None:
    """After installing, nothing runs and nothing will at boot; the operator is told the next steps."""
    assert box.ctl("is-enabled", UNIT, check=False).stdout.strip() == "disabled"
    assert box.ctl("is-active", UNIT, check=False).stdout.strip() == "inactive"
    for words in ("config.toml", "credentials/compressor_api_key", "systemctl edit", "check", "systemctl enable --now"):
        assert words in installation.said


def test_only_root_reads_the_credentials_and_only_the_service_the_configuration(installation: Installation) -> None:
    """The directory of secrets is root's alone; the configuration can be read by root and the service."""
    assert installation.after[f"{ETC}/credentials"].startswith("d 700 root:root ")
    assert installation.after[f"{ETC}/config.toml"].startswith(f"f 640 root:{UNIT} ")


def test_the_configuration_is_the_example_with_the_service_s_places(box: Box) -> None:
    """State and audit file are set where commands beside the service will look for them; all else is the example."""
    example = (REPOSITORY / "config.example.toml").read_text(encoding="utf-8").splitlines()
    put = box.path(f"{ETC}/config.toml").read_text(encoding="utf-8").splitlines()

    added = [line[2:] for line in difflib.ndiff(example, put) if line.startswith("+ ")]

    assert added == [
        'state_dir = "/var/lib/compressor-watcher"',
        'audit = "/var/log/compressor-watcher/audit.jsonl"',
    ]


def test_again_changes_nothing(box: Box, service: Service) -> None:
    """A second install of the same sources touches no file, and keeps configuration and limits that were edited."""
    box.write(f"{ETC}/config.toml", "# mine\n")
    box.write("/etc/sysctl.d/60-compressor-watcher.conf", "fs.inotify.max_user_watches = 5\n")
    before = listing(box)

    said = box.make("install").stdout

    assert listing(box) == before
    assert "60-compressor-watcher.conf is left as you changed it" in said
    box.sh("cp", "/opt/compressor-watcher/share/60-compressor-watcher.conf", "/etc/sysctl.d/")


def test_what_somebody_else_put_there_is_not_overwritten(box: Box) -> None:
    """A command of that name which is not ours stops the install before anything is done."""
    command = box.path("/usr/local/bin/compressor-watcher")
    target = os.readlink(command)
    command.unlink()
    command.write_text("theirs")

    done = box.make("install", check=False)

    assert done.returncode != 0
    assert "was not made by this" in done.stderr
    assert command.read_text() == "theirs"
    command.unlink()
    command.symlink_to(target)


def test_without_root_it_says_so(box: Box) -> None:
    """Nobody is left with half an installation for want of sudo."""
    done = box.sh("setpriv", "--reuid=65534", "--clear-groups", f"{SOURCE}/systemd/install.sh", "install", check=False)

    assert done.returncode != 0
    assert "root is needed: sudo make install" in done.stderr


def test_an_upgrade_under_load_loses_nothing(box: Box, service: Service, standin: StandinProcess) -> None:
    """While images are dropped the new release is built and put into force; the old daemon works on until the restart, and every
    image is stored once."""
    old = os.readlink(box.path("/opt/compressor-watcher/current"))
    newer = _newer_sources(box)
    service.configure(standin.url, verify={"url": standin.verify_url})
    service.start()
    pid = service.show("MainPID")

    with _Dropping(box) as dropping:
        box.make("install", newer)
        still_old = box.path(f"/proc/{pid}/maps").read_text()
        installed = dropping.count
        wait_until(lambda: standin.report()["paid"].keys() > {f"{number}.jpg" for number in range(installed)})
        box.ctl("restart", UNIT)

    wait_until(lambda: len(standin.report()["paid"]) == dropping.count)
    service.wait_for("image.stored", dropping.count)
    current = os.readlink(box.path("/opt/compressor-watcher/current"))
    assert f"/opt/compressor-watcher/{old}/" in still_old
    assert current != old
    assert f"/opt/compressor-watcher/{current}/" in box.path(f"/proc/{service.show('MainPID')}/maps").read_text()
    assert "9.9.9" in box.sh("compressor-watcher", "--version").stdout
    assert set(standin.report()["paid"].values()) == {1}
    assert sorted(line["file"] for line in service.audit_lines()) == sorted(dropping.files)


def test_releases_that_nobody_uses_are_removed(box: Box) -> None:
    """Releases do not pile up: what no process has open goes at the next install."""
    box.make("install", "/srv/newer" if box.path("/srv/newer").exists() else SOURCE)

    releases = os.listdir(box.path("/opt/compressor-watcher/releases"))

    assert releases == [os.readlink(box.path("/opt/compressor-watcher/current")).removeprefix("releases/")]


def _newer_sources(box: Box) -> str:
    """A copy of what is installed from, with another version number."""
    parts = "watcher systemd docs Makefile README.md LICENSE pyproject.toml requirements.txt config.example.toml"
    box.sh("sh", "-c", f"rm -rf /srv/newer && mkdir -p /srv/newer && cd {SOURCE} && cp -r {parts} /srv/newer")
    version = box.path("/srv/newer/watcher/__init__.py")
    text, changes = re.subn(r'__version__ = "[^"]*"', '__version__ = "9.9.9"', version.read_text())
    assert changes == 1
    version.write_text(text)
    return "/srv/newer"


class _Dropping:
    """Drops an image five times a second while the context lasts."""

    def __init__(self, box: Box) -> None:
        self.files: list[str] = []
        self._box = box
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drop)

    @property
    def count(self) -> int:
        """How many were dropped so far."""
        return len(self.files)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _drop(self) -> None:
        while not self._stop.wait(0.2):
            number = len(self.files)
            file = f"/srv/drop/products/{number}.jpg"
            self._box.write(file, jpeg(64 + number % 64, 48 + number // 64))
            self.files.append(file)


@pytest.mark.parametrize("name", ["compressor-watcher.service", "compressor-watcher@.service"])
def test_units_differ_in_their_paths_only(name: str) -> None:
    """The template for several instances has every line of the unit, with the instance in its paths."""
    lines = (REPOSITORY / "systemd" / name).read_text(encoding="utf-8").splitlines()
    plain = (REPOSITORY / "systemd/compressor-watcher.service").read_text(encoding="utf-8").splitlines()

    def settings(lines: list[str]) -> list[str]:
        return [line.replace("/%i", "").replace("-%i", "").replace(" %i", "") for line in lines if line and line[0] not in "#["]

    assert settings(lines) == settings(plain)


@pytest.mark.parametrize("name", ["compressor-watcher.service", "compressor-watcher@.service"])
def test_every_hardening_line_has_its_reason(name: str) -> None:
    """From the first right on, each group of settings stands below a comment that says why."""
    lines = Path(REPOSITORY / "systemd" / name).read_text(encoding="utf-8").partition("# --- rights")[2].splitlines()[1:]
    unexplained = [line for above, line in itertools.pairwise(lines) if "=" in line and line[0] not in "#[" and above == ""]

    assert unexplained == []
